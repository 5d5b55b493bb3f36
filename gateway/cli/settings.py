"""`pressroom settings`: of the environment, and of operators."""

import json
import os
from typing import Annotated, Any

import orjson
import typer
from pydantic import SecretStr, ValidationError
from rich.console import Group
from rich.markup import escape

from gateway.cli.actor import cli_actor
from gateway.cli.console import USAGE, fail, make_table, notes, out, print_json, run
from models.audit import Action, note_act
from models.errors import DatabaseUnavailable
from models.setting import delete_setting, get_settings, lock_settings, put_setting
from workers.operator_settings import OperatorSettings
from workers.runtime import Runtime
from workers.settings import Settings

settings_app = typer.Typer(help="Show settings, and change those of operators.")


@settings_app.callback(invoke_without_command=True)
def settings(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show every setting: of the environment, and those that operators change as it runs.

    Examples:

        pressroom settings

        pressroom settings set max_attempts 5

        pressroom settings set limits '{"my-endpoint": {"run": {"concurrent": 20}}}'
    """
    if context.invoked_subcommand is not None:
        return

    async def body(runtime: Runtime) -> None:
        try:
            async with runtime.database.begin() as session:
                changed: dict[str, Any] | None = await get_settings(session)
        except DatabaseUnavailable:
            changed = None
        environment = describe_environment(runtime.settings)
        operators = describe_operators(changed or {})
        if as_json:
            print_json({"environment": environment, "operators": operators})
            return
        out.print(Group(_table(environment), "", _table(operators)), highlight=False)
        if changed is None:
            notes.print("the database is out of reach: operators' settings are shown as by default")

    run(body)


@settings_app.command("set")
def set_(name: str, value: Annotated[str, typer.Argument(help="JSON if it parses.")]) -> None:
    """Change an operators' setting; workers see it within seconds.

    Examples:

        pressroom settings set on_unknown fail

        pressroom settings set limits '{"my-endpoint": {"run": {"concurrent": 20}}}'
    """
    try:
        parsed = orjson.loads(value)
    except orjson.JSONDecodeError:
        parsed = value

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            await lock_settings(session)
            before = await get_settings(session)
            try:
                OperatorSettings.model_validate({**before, name: parsed})
            except ValidationError as error:
                fail(_say_invalid(name, error), code=USAGE)
            await put_setting(session, name=name, value=parsed)
            await note_act(
                session,
                cli_actor(),
                Action.SETTING_SET,
                name,
                before={"value": before[name]} if name in before else None,
                after={"value": parsed},
            )
        notes.print(escape(f"{name} is {json.dumps(parsed)}; workers see it within seconds"))

    run(body)


@settings_app.command()
def unset(name: str) -> None:
    """Put an operators' setting back to its default.

    Example:

        pressroom settings unset max_attempts
    """

    async def body(runtime: Runtime) -> None:
        if name not in OperatorSettings.model_fields:
            fail(_say_names(name), code=USAGE)
        async with runtime.database.begin() as session:
            await lock_settings(session)
            before = await get_settings(session)
            await delete_setting(session, name=name)
            if name in before:
                told = {"value": before[name]}
                await note_act(session, cli_actor(), Action.SETTING_UNSET, name, before=told)
        notes.print(f"{name} is back to its default")

    run(body)


def describe_environment(values: Settings) -> list[dict[str, Any]]:
    """Each setting of the environment; secrets are masked."""
    described = []
    for name, field in Settings.model_fields.items():
        value = getattr(values, name)
        variable = f"PRESSROOM_{name.upper()}"
        described.append(
            {
                "name": variable,
                "value": "********" if isinstance(value, SecretStr) else _plain(value),
                "default": _plain(field.default),
                "set": variable in os.environ,
                "description": field.description,
            }
        )
    return described


def describe_operators(changed: dict[str, Any]) -> list[dict[str, Any]]:
    values = OperatorSettings.model_validate(changed).model_dump(mode="json")
    defaults = OperatorSettings().model_dump(mode="json")
    return [
        {
            "name": name,
            "value": values[name],
            "default": defaults[name],
            "set": name in changed,
            "description": field.description,
        }
        for name, field in OperatorSettings.model_fields.items()
    ]


def _table(described: list[dict[str, Any]]) -> Any:  # noqa: ANN401 -- Rich's
    table = make_table("setting", "value", "what it is")
    for one in described:
        value = "-" if one["value"] is None else escape(str(one["value"]))
        table.add_row(
            one["name"], f"[bold]{value}[/bold]" if one["set"] else value, one["description"]
        )
    return table


def _plain(value: Any) -> Any:  # noqa: ANN401 -- any setting
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or None
    return value if value is None or isinstance(value, int | float | str) else str(value)


def _say_names(name: str) -> str:
    return f"there is no setting {name!r}; there are {', '.join(OperatorSettings.model_fields)}"


def _say_invalid(name: str, error: ValidationError) -> str:
    if name not in OperatorSettings.model_fields:
        return _say_names(name)
    return "; ".join(
        f"{'.'.join(map(str, one['loc']))}: {one['msg']} (came {one['input']!r})"
        for one in error.errors(include_url=False)
    )
