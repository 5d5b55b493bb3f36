"""`pressroom endpoints`: what the catalogue knows."""

import json
from typing import Annotated, Any

import typer

from endpoints.catalogue import Endpoint, Kind, Operation, estimate, load_catalogue
from gateway.cli.console import (
    USAGE,
    fail,
    make_table,
    notes,
    out,
    print_json,
    say_estimate,
    shorten,
)
from gateway.endpoint_facts import describe_endpoint, sample_input
from gateway.words import say_seconds

endpoints_app = typer.Typer(help="List and show endpoints.", no_args_is_help=True)


@endpoints_app.command("list")
def list_(
    kind: Annotated[Kind | None, typer.Option(help="Only this kind.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List the endpoints of the catalogue. Others work too, without check and price.

    Example:

        pressroom endpoints list --kind video
    """
    listed = [one for one in load_catalogue() if kind in {None, one.kind}]
    if as_json:
        print_json([_describe(endpoint) for endpoint in listed])
        return
    table = make_table("endpoint", "kind", ">takes about", "task", "a job with defaults")
    for endpoint in listed:
        table.add_row(
            endpoint.id,
            endpoint.kind,
            say_seconds(endpoint.typical_seconds),
            endpoint.task,
            say_estimate(estimate(endpoint, sample_input(endpoint))),
        )
    out.print(table, highlight=False)


@endpoints_app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="ENDPOINT", help="Its id.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show what an endpoint takes, costs, and how often it may be called.

    Examples:

        pressroom endpoints show p-video

        pressroom endpoints show p-video --json | jq .input_schema
    """
    catalogue = load_catalogue()
    endpoint = catalogue.find(name)
    if endpoint is None:
        suggestions = catalogue.suggest(name)
        meant = f"; did you mean {' or '.join(suggestions)}?" if suggestions else ""
        fail((catalogue.retired(name) or f"{name} is not in the catalogue") + meant, code=USAGE)
    if as_json:
        print_json(_describe(endpoint))
        return
    out.print(f"[bold]{endpoint.id}[/bold]  {endpoint.name}: {endpoint.about}", highlight=False)
    out.print(
        f"{endpoint.kind}, {', '.join((endpoint.task, *endpoint.also))}; "
        f"takes about {say_seconds(endpoint.typical_seconds)}; a job with defaults: "
        f"{say_estimate(estimate(endpoint, sample_input(endpoint)))}\n",
        highlight=False,
    )
    table = make_table("field", "type", "required", "default", "allowed")
    required = endpoint.schema.get("required", [])
    for field, schema in endpoint.schema["properties"].items():
        table.add_row(
            field,
            schema["type"],
            "yes" if field in required else "",
            json.dumps(schema["default"]) if "default" in schema else "",
            say_allowed(schema),
        )
    out.print(table, highlight=False)
    limit = catalogue.limit(endpoint.id, Operation.RUN)
    if limit:
        notes.print(
            f"\n/run: at most {limit.per_window:,} in {limit.window_seconds:g} s, "
            f"{limit.concurrent:,} at once; `pressroom settings set limits ...` overrides it"
        )


def _describe(endpoint: Endpoint) -> dict[str, Any]:
    return {**describe_endpoint(endpoint), "input_schema": dict(endpoint.schema)}


def say_allowed(schema: dict[str, Any]) -> str:
    """What a field takes, in words."""
    if "enum" in schema:
        return shorten(", ".join(map(str, schema["enum"])), 90)
    said = []
    if "minimum" in schema and "maximum" in schema:
        said.append(f"{schema['minimum']:g} to {schema['maximum']:g}")
    elif "minimum" in schema:
        said.append(f"at least {schema['minimum']:g}")
    for rule in (schema, *schema.get("anyOf", ())):
        if "multipleOf" in rule:
            said.append(f"multiples of {rule['multipleOf']:g}")
        elif "enum" in rule:
            said.append(", ".join(map(str, rule["enum"])))
    if "maxItems" in schema:
        said.append(f"{schema.get('minItems', 0)} to {schema['maxItems']} items")
    if schema.get("format") == "uri":
        said.append("a URL, or a data: URL")
    if "examples" in schema:
        said.append("such as " + ", ".join(map(str, schema["examples"])))
    return shorten(", ".join(said) or schema.get("description", ""), 90)
