"""The console: a module for each room."""

from gateway.web.console import floor, job, jobs  # noqa: F401 -- their pages
