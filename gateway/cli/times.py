"""Times as people type them: a moment, or how long ago."""

import datetime as dt

from gateway.cli.inputs import BadInput
from tasks.campaigns.span import parse_span


def read_time(option: str, said: str | None, *, now: dt.datetime) -> dt.datetime | None:
    """A moment; one without a zone is of this machine's.

    Raises:
        BadInput: it is neither.
    """
    if said is None:
        return None
    try:
        return now - dt.timedelta(seconds=parse_span(said))
    except ValueError:
        pass
    try:
        return dt.datetime.fromisoformat(said).astimezone()
    except ValueError as error:
        wanted = "a time such as 2026-11-28T14:00, or how long ago, such as 2h, was wanted"
        raise BadInput(f"{option}: {wanted}, {said!r} came") from error
