"""Which commands there are. Only the one that is called is imported, so that each starts fast."""

import importlib
import sys
from collections.abc import Sequence

import typer

INTERRUPTED = 130
HELP = "A durable job queue for image, video, audio and text generation on hosted endpoints."

# Command: the module, what of it, and a line for the list.
COMMANDS = {
    "up": ("stack", "up", "Start everything on this machine."),
    "down": ("stack", "down", "Stop everything that `up` started."),
    "status": ("stack", "status", "Show the processes of the stack."),
    "demo": ("demo", "demo", "Run a small campaign on a stack of its own."),
    "doctor": ("doctor", "doctor", "Check every part, and say what to do."),
    "generate": ("generate", "generate", "Generate one image, clip, recording or text."),
    "campaign": ("campaign", "campaign_app", "Run and follow many jobs as one."),
    "budget": ("budgets", "budgets_app", "Set, show and remove budgets."),
    "spend": ("spend", "spend", "Show what was spent, by day, key, campaign, endpoint or tag."),
    "schedules": ("schedules", "schedules_app", "Run campaigns again and again, by a cron."),
    "jobs": ("jobs", "jobs_app", "List and show jobs; cancel, retry and move them."),
    "artifacts": ("artifacts", "artifacts_app", "List, fetch and verify stored files."),
    "endpoints": ("endpoints", "endpoints_app", "List and show endpoints."),
    "keys": ("keys", "keys_app", "Make, list, rotate and revoke API keys."),
    "lanes": ("lanes", "lanes_app", "List lanes; pause, limit, drain and resume them."),
    "workers": ("workers", "workers_app", "List workers; drain and restart them."),
    "maintenance": ("maintenance", "maintenance_app", "Submit nothing new for a while."),
    "audit": ("audit", "audit_app", "List who did what, and when."),
    "settings": ("settings", "settings_app", "Show settings, and change those of operators."),
    "backup": ("backup", "backup_app", "Back up the database and the stored files."),
    "restore": ("backup", "restore", "Put a backup in the place of what is there."),
    "run": ("stack", "run_app", "Run one process in the foreground."),
}


def make_cli(arguments: Sequence[str]) -> typer.Typer:
    """The command line for `arguments`: the command they name is real, the others are lines."""
    cli = typer.Typer(
        name="pressroom",
        help=HELP,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    called = next((word for word in arguments if not word.startswith("-")), None)
    for name, (module, attribute, line) in COMMANDS.items():
        if name != called:
            cli.command(name, help=line)(_do_nothing)
            continue
        found = getattr(importlib.import_module(f"gateway.cli.{module}"), attribute)
        if isinstance(found, typer.Typer):
            cli.add_typer(found, name=name)
        else:
            cli.command(name)(found)
    return cli


def main() -> None:
    try:
        make_cli(sys.argv[1:])()
    except KeyboardInterrupt:  # while a command was still being imported
        sys.exit(INTERRUPTED)


def _do_nothing() -> None:
    """Stands in the list of commands for one that was not called."""
