"""The command line."""

import typer

from gateway.cli.stack import down, run_app, status, up

app = typer.Typer(name="pressroom", no_args_is_help=True, pretty_exceptions_enable=False)
app.command()(up)
app.command()(down)
app.command()(status)
app.add_typer(run_app, name="run")
