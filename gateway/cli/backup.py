"""`pressroom backup` and `pressroom restore`: the database and the stored files."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from typer.core import TyperGroup

from gateway.cli.actor import cli_actor
from gateway.cli.console import (
    FAILED,
    INTERRUPTED,
    confirm,
    fail,
    make_table,
    notes,
    out,
    print_json,
    read_settings,
)
from gateway.words import say_bytes
from models.errors import PressroomError
from workers.backup.errors import BackupDamaged
from workers.backup.folder import (
    Backup,
    Report,
    StoredFile,
    describe,
    list_names,
    open_backup,
    verify_backup,
)
from workers.backup.make import make_backup
from workers.backup.restore import Options, Present, Restored, restore_backup

T = TypeVar("T")
NAMED_MOST = 5


class BackupGroup(TyperGroup):
    """`backup FOLDER` is short for `backup create FOLDER`."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        first = next((word for word in args if not word.startswith("-")), None)
        if first is not None and first not in self.commands:
            args = ["create", *args]
        return super().parse_args(ctx, args)


backup_app = typer.Typer(
    cls=BackupGroup,
    help="Back up the database and the stored files: `pressroom backup FOLDER`.",
    no_args_is_help=True,
)

Folder = Annotated[Path, typer.Argument(help="A folder of backups; they share their files in it.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


@backup_app.command()
def create(
    folder: Folder,
    no_files: Annotated[
        bool, typer.Option("--no-files", help="The database alone, without stored files.")
    ] = False,
    with_secret: Annotated[
        bool,
        typer.Option(
            "--with-secret",
            help="The installation's secret, too: whoever has it can sign links to files, and "
            "read what is kept of s3Config.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a backup, of a stack that is up or down. Nobody waits for it.

    Files that are in FOLDER already are not copied again. API keys are in it as hashes.

    Examples:

        pressroom backup /mnt/backups/press

        pressroom backup /mnt/backups/press --with-secret --json
    """
    settings = read_settings()
    made = say_errors(
        lambda report: make_backup(
            settings, folder, report, with_files=not no_files, with_secret=with_secret
        )
    )
    facts = made.manifest
    if as_json:
        print_json(describe(made))
    else:
        files = f"{facts.files:,} files" if facts.with_files else "no files"
        secret = (
            "with the secret"
            if facts.with_secret
            else "without the secret (keep DATA_DIR/secret apart, or --with-secret)"
        )
        out.print(
            escape(
                f"{made.folder}: {sum(facts.jobs.values()):,} jobs "
                f"({say_bytes(facts.dump_bytes)}), {files} ({say_bytes(facts.files_bytes)}), "
                f"{secret}"
            ),
            highlight=False,
            soft_wrap=True,
        )
    _say_keys(facts.missing, "not in the store, so not in the backup")
    _say_keys(facts.damaged, "not what was stored, so not in the backup")
    if facts.missing or facts.damaged:
        raise typer.Exit(FAILED)


@backup_app.command("list")
def list_(folder: Folder, as_json: Json = False) -> None:
    """List the backups in a folder, the oldest first.

    Example:

        pressroom backup list /mnt/backups/press
    """
    try:
        backups = [open_backup(folder, name) for name in list_names(folder)]
    except PressroomError as error:
        fail(error)
    if as_json:
        print_json([describe(one) for one in backups])
        return
    if not backups:
        notes.print(escape(f"{folder} holds no backup"))
        return
    table = make_table("name", ">jobs", ">dump", ">files", ">bytes", "secret", "version")
    for one in backups:
        facts = one.manifest
        table.add_row(
            one.name,
            f"{sum(facts.jobs.values()):,}",
            say_bytes(facts.dump_bytes),
            f"{facts.files:,}" if facts.with_files else "none",
            say_bytes(facts.files_bytes),
            "yes" if facts.with_secret else "no",
            f"{facts.program}, tables {facts.schema_version}",
        )
    out.print(table, highlight=False)


@backup_app.command()
def verify(
    folder: Folder,
    name: Annotated[
        str | None, typer.Argument(help="One backup, as `list` names it; all if it is not given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Read backups again, and hold every SHA-256 against what was written.

    A file that is damaged can be deleted: the next backup copies it anew.

    Example:

        pressroom backup verify /mnt/backups/press
    """

    def body(report: Report) -> dict[str, list[str]]:
        known: dict[StoredFile, str | None] = {}
        names = [name] if name else list_names(folder) or [open_backup(folder).name]
        found = {}
        for one in names:
            try:
                backup = open_backup(folder, one)
                found[backup.name] = verify_backup(backup, report, known=known)
            except BackupDamaged as error:
                found[one] = [str(error)]
        return found

    problems = say_errors(body)
    if as_json:
        print_json([{"name": one, "problems": said} for one, said in problems.items()])
    else:
        for one, said in problems.items():
            out.print(f"{one}: {'as it was written' if not said else f'{len(said)} problems'}")
            for problem in said:
                out.print(f"  [red]{escape(problem)}[/red]", highlight=False, soft_wrap=True)
    if any(problems.values()):
        raise typer.Exit(FAILED)


def restore(
    folder: Folder,
    name: Annotated[
        str | None, typer.Argument(help="Which backup, as `backup list` names it; else the newest.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Try it, say what would come of it, undo it.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    no_files: Annotated[
        bool, typer.Option("--no-files", help="The database alone, without stored files.")
    ] = False,
    forget_present: Annotated[
        bool,
        typer.Option(
            "--forget-present",
            help="Take nothing over from the database that is replaced, because it is damaged, or "
            "to be rid of what came since. What is queued is then held.",
        ),
    ] = False,
    send_queued: Annotated[
        bool,
        typer.Option(
            "--send-queued",
            help="Pause no lane: send what is queued, though some may have been paid for since.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Put a backup in the place of what is there. The stack must be down.

    What the present database knows of jobs that were sent since the backup is taken over, so that
    they are not paid again. Where it cannot tell, the lanes that would send them are paused. If
    anything fails, the database is as it was.

    Examples:

        pressroom restore /mnt/backups/press --dry-run

        pressroom restore /mnt/backups/press 2026-02-03T04-05-06Z
    """
    settings = read_settings()
    options = Options(
        dry_run=dry_run,
        forget_present=forget_present,
        send_queued=send_queued,
        with_files=not no_files,
        by=cli_actor(),
    )
    try:
        backup = open_backup(folder, name)
    except PressroomError as error:
        fail(error)

    def agree(present: Present, line: ProgressLine) -> None:
        if dry_run or not present.job_count:
            return
        newest = f", the newest of {present.newest_at:%Y-%m-%d %H:%M}" if present.newest_at else ""
        since = "are forgotten" if forget_present else "are kept where they are newer"
        with line.hidden():
            confirm(
                f"The database holds {present.job_count:,} jobs{newest}; they {since}, and "
                f"{sum(backup.manifest.jobs.values()):,} of "
                f"{backup.manifest.taken_at:%Y-%m-%d %H:%M} take their place. Go on?",
                yes=yes,
            )

    done = say_errors(
        lambda line: restore_backup(
            settings, backup, options, line, agree=lambda present: agree(present, line)
        )
    )
    if as_json:
        print_json({"backup": describe(backup), "dry_run": dry_run, **dataclasses.asdict(done)})
    else:
        _say_restored(backup, done, dry_run=dry_run)
    if done.held and done.paused:
        for one in done.held:
            notes.print(
                escape(f"  pressroom lanes resume submit {one.endpoint}   # {one.jobs:,} jobs"),
                soft_wrap=True,
            )
    if not done.secret_fits:
        notes.print(
            "[yellow]the secret is another than it was[/yellow]: links to files that were handed "
            "out are void, webhooks are signed anew, and jobs that brought an s3Config cannot be "
            "sent. If you have the old one, put it into DATA_DIR/secret or PRESSROOM_SECRET",
            soft_wrap=True,
        )
    _say_keys(done.files_lacking, "neither in the backup nor in the store")


def _say_restored(backup: Backup, done: Restored, *, dry_run: bool) -> None:
    states = ", ".join(f"{count:,} {state}" for state, count in done.jobs.items()) or "no jobs"
    would = "would be " if dry_run else ""
    out.print(f"{would}restored as of {backup.manifest.taken_at:%Y-%m-%d %H:%M:%S} UTC: {states}")
    out.print(f"files {would}copied: {done.files_copied:,}; the secret: {done.secret}")
    if done.carried is None:
        why = done.present.unusable
        out.print(
            escape(
                f"nothing {would}taken over from the present database" + (f": {why}" if why else "")
            ),
            soft_wrap=True,
        )
    else:
        out.print(
            f"{would}taken over from the present database: {done.carried.newer_jobs:,} newer jobs, "
            f"{done.carried.later_jobs:,} that were sent or ended since, "
            f"{done.carried.attempts:,} attempts",
            soft_wrap=True,
        )
        if done.carried.ledger_damaged:
            notes.print(
                "[yellow]the present ledger lacks attempts that the backup knows[/yellow]: "
                "it is not relied on",
                soft_wrap=True,
            )
    if done.held:
        jobs = sum(one.jobs for one in done.held)
        if done.paused:
            notes.print(
                f"[yellow]{jobs:,} jobs may have been sent since the backup[/yellow], and nobody "
                f"can tell: their submit lanes {would or 'are '}paused, so that nothing is paid "
                "twice. Look at the upstream's own list of requests; then cancel those that ran "
                "(`pressroom jobs cancel`), and let the others go:",
                soft_wrap=True,
            )
        else:
            notes.print(f"{jobs:,} jobs that may have been sent since the backup are sent (again)")


def _say_keys(keys: object, what: str) -> None:
    listed = list(keys) if isinstance(keys, (list, tuple)) else []
    if not listed:
        return
    notes.print(f"[red]{len(listed):,} files are {what}[/red]:", soft_wrap=True)
    for key in listed[:NAMED_MOST]:
        notes.print(escape(f"  {key}"), soft_wrap=True)
    if len(listed) > NAMED_MOST:
        notes.print("  ... --json lists all")


class ProgressLine:
    """A line that says what is done now, and how far it is."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID | None = None
        self._what = ""

    def __call__(self, what: str, done: int, total: int | None) -> None:
        if self._task is None or what != self._what:
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._task, self._what = self._progress.add_task(what, total=total), what
        self._progress.update(self._task, completed=done, total=total)

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Something is asked meanwhile."""
        self._progress.stop()
        yield
        self._progress.start()


def say_errors(body: Callable[[ProgressLine], T]) -> T:
    """Run it with a line of progress; what goes wrong is said, not traced."""
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn())
    try:
        with Progress(*columns, console=notes, transient=True) as progress:
            return body(ProgressLine(progress))
    except PressroomError as error:
        fail(error)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
