"""The console: a module for each room."""

from gateway.web.console import (  # noqa: F401 -- their pages
    audit,
    budgets,
    floor,
    job,
    jobs,
    keys,
    money,
)
