"""The console: a module for each room."""

from gateway.web.console import audit, budgets, floor, keys, money  # noqa: F401 -- its pages
