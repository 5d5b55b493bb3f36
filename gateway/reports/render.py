"""Pages of reports: one file each, with what others wrote escaped."""

import jinja2

from gateway.words import say_bytes, say_seconds, say_usd


def render(page: str, **values: object) -> str:
    """A page of this folder, that needs nothing beside it."""
    environment = jinja2.Environment(
        autoescape=True,
        loader=jinja2.PackageLoader("gateway.reports", ""),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"usd": say_usd, "seconds": say_seconds, "bytes": say_bytes}
    return environment.get_template(page).render(**values)
