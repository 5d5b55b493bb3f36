"""What may be made to go wrong, and when it does.

A fault is armed by `POST /admin/faults` and strikes requests until its `count` is used up, each
with its `probability`. It strikes at one of five moments, by its kind:

    before the request is looked at   busy  error  html  hang  slow  reset_before
    when a job is accepted            lose_job  fail_job  odd_status  unknown_shape
                                      forget_early  webhook_storm  webhook_silent
    when a status is asked            not_found
    when the reply is sent            reset_after  error_after  garbage  truncated  drip
    when a file is downloaded         broken_file  file_error  (drip)

Without an `operation` it strikes every one of the job API's, and downloads only if its kind is one
of theirs; `operation: files` aims any of the first row at downloads.
"""

import dataclasses
import difflib
import enum
import itertools
import random
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from endpoints.emulator.limits import OPERATIONS

FILES: Final = "files"  # the operation name of a download


class FaultKind(enum.StrEnum):
    """What goes wrong."""

    BUSY = "busy"  # 429
    ERROR = "error"  # any other HTTP error
    HTML = "html"  # a page for people, with any status; nothing was accepted
    HANG = "hang"  # no answer, ever
    SLOW = "slow"  # an answer after some real seconds
    RESET_BEFORE = "reset_before"  # the connection drops; nothing was accepted
    LOSE_JOB = "lose_job"  # accepted with an id that nobody knows afterwards
    FAIL_JOB = "fail_job"  # the job ends FAILED
    ODD_STATUS = "odd_status"  # the job ends in a state of no list
    UNKNOWN_SHAPE = "unknown_shape"  # the output looks like no documented one
    FORGET_EARLY = "forget_early"  # the result is kept for some emulated seconds only
    WEBHOOK_STORM = "webhook_storm"  # many copies of each webhook, one of them early
    WEBHOOK_SILENT = "webhook_silent"  # no webhook at all
    NOT_FOUND = "not_found"  # 404 about a job that lives
    RESET_AFTER = "reset_after"  # accepted and billed, and the connection drops
    ERROR_AFTER = "error_after"  # accepted and billed, and answered with an HTTP error
    GARBAGE = "garbage"  # 200 with a body that cannot be used
    TRUNCATED = "truncated"  # 200 with the first half of the reply, as if that were all
    DRIP = "drip"  # the reply comes one byte a second, until the fault is taken away
    BROKEN_FILE = "broken_file"  # a download breaks off half-way
    FILE_ERROR = "file_error"  # a download is answered with 503


OF_FILES: Final = {FaultKind.BROKEN_FILE, FaultKind.FILE_ERROR}
SETTINGS: Final[Mapping[FaultKind, frozenset[str]]] = {
    FaultKind.BUSY: frozenset({"retry_after"}),
    FaultKind.ERROR: frozenset({"status", "body"}),
    FaultKind.HTML: frozenset({"status"}),
    FaultKind.SLOW: frozenset({"seconds"}),
    FaultKind.FORGET_EARLY: frozenset({"seconds"}),
    FaultKind.FAIL_JOB: frozenset({"body"}),
    FaultKind.ERROR_AFTER: frozenset({"status", "body"}),
    FaultKind.WEBHOOK_STORM: frozenset({"times"}),
}
AIM: Final = frozenset({"kind", "endpoint", "operation", "probability", "count"})
LOWEST_ERROR_STATUS: Final = 400
HIGHEST_ERROR_STATUS: Final = 599


class FaultError(ValueError):
    """A fault that cannot be armed as it was asked for."""


@dataclass(slots=True, kw_only=True)
class Fault:
    """One armed fault; `fired` counts the requests that it struck.

    Attributes:
        endpoint: the one endpoint that it strikes; None is every one.
        operation: the one operation that it strikes; None is as the module says.
        probability: of striking a request that it could strike.
        count: how often it strikes before it is spent; None is without end.
        seconds: of `slow`, real seconds; of `forget_early`, emulated ones.
        status: of `error`, `error_after` and `html`, which may have a 200.
        body: the text of the error.
        retry_after: of `busy`, the header's seconds; None sends no header.
        times: of `webhook_storm`, copies of each webhook.
    """

    id: str
    kind: FaultKind
    endpoint: str | None = None
    operation: str | None = None
    probability: float = 1.0
    count: int | None = None
    seconds: float = 2.0
    status: int = 502
    body: str | None = None
    retry_after: float | None = None
    times: int = 5
    fired: int = 0

    @property
    def spent(self) -> bool:
        """Whether it has struck as often as it may."""
        return self.count is not None and self.fired >= self.count

    def aims_at(self, endpoint: str, operation: str) -> bool:
        """Whether it could strike this operation of this endpoint."""
        if self.endpoint is not None and self.endpoint != endpoint:
            return False
        if self.operation is not None:
            return self.operation == operation
        return (operation == FILES) == (self.kind in OF_FILES)


class Faults:
    """The armed faults, oldest first."""

    def __init__(self, *, seed: int) -> None:
        self._random = random.Random(f"{seed}:faults")  # noqa: S311 -- draws, not secrets
        self._armed: dict[str, Fault] = {}
        self._numbers = itertools.count(1)

    def arm(self, wanted: Mapping[str, object]) -> Fault:
        """Arm the fault that a request body describes.

        Raises:
            FaultError: a field is unknown, missing or of no use to the kind.
        """
        kind = _kind(wanted.get("kind"))
        allowed = AIM | SETTINGS.get(kind, frozenset())
        for field in wanted:
            if field not in allowed:
                raise FaultError(f"{field}: unknown to {kind}; wanted {', '.join(sorted(allowed))}")
        fault = Fault(id=f"fault-{next(self._numbers)}", kind=kind)
        for field in wanted.keys() - {"kind"}:
            setattr(fault, field, wanted[field])
        _check(fault)
        self._armed[fault.id] = fault
        return fault

    def disarm(self, fault_id: str) -> bool:
        """Take one fault away; return whether there was one."""
        return self._armed.pop(fault_id, None) is not None

    def is_armed(self, fault: Fault) -> bool:
        """Whether it was not taken away."""
        return fault.id in self._armed

    def clear(self) -> None:
        """Take every fault away."""
        self._armed.clear()

    def list_armed(self) -> list[dict[str, object]]:
        """Return every fault, the spent ones too, with how often it struck."""
        return [dataclasses.asdict(fault) for fault in self._armed.values()]

    def strike(self, *kinds: FaultKind, endpoint: str, operation: str) -> Fault | None:
        """Return the oldest fault of these kinds that strikes this request, and count it."""
        for fault in self._armed.values():
            if (
                fault.kind in kinds
                and not fault.spent
                and fault.aims_at(endpoint, operation)
                and self._random.random() < fault.probability
            ):
                fault.fired += 1
                return fault
        return None


def _kind(came: object) -> FaultKind:
    try:
        return FaultKind(str(came))
    except ValueError:
        kinds = [kind.value for kind in FaultKind]
        near = difflib.get_close_matches(str(came), kinds, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"wanted one of {', '.join(kinds)}"
        raise FaultError(f"kind: {came!r} is unknown; {hint}") from None


def _check(fault: Fault) -> None:
    for name, wanted in {
        "endpoint": str | None,
        "operation": str | None,
        "probability": int | float,
        "count": int | None,
        "seconds": int | float,
        "status": int,
        "body": str | None,
        "retry_after": int | float | None,
        "times": int,
    }.items():
        came = getattr(fault, name)
        if not isinstance(came, wanted) or isinstance(came, bool):
            raise FaultError(f"{name}: {came!r} is of the wrong type")
    if fault.operation not in {None, FILES, *OPERATIONS}:
        wanted_words = ", ".join(sorted({FILES, *OPERATIONS}))
        raise FaultError(f"operation: {fault.operation!r} is not one of {wanted_words}")
    if not 0 <= fault.probability <= 1:
        raise FaultError(f"probability: {fault.probability} is not between 0 and 1")
    page = fault.kind is FaultKind.HTML and fault.status == HTTPStatus.OK
    if not page and not LOWEST_ERROR_STATUS <= fault.status <= HIGHEST_ERROR_STATUS:
        raise FaultError(f"status: {fault.status} is not an HTTP error, 400 to 599")
    if fault.seconds < 0 or fault.times < 0 or (fault.count is not None and fault.count < 0):
        raise FaultError("seconds, times and count must be at least 0")
