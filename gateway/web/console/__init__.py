"""The console: a module for each room."""

from gateway.web.console import floor  # noqa: F401 -- its pages
