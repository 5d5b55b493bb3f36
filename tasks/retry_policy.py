"""How a job may end, how that is told, and what is sent again, how often and how far apart.

The one table of it. README.md shows it as `write_table` writes it; a test holds the two together.
"""

import random
from dataclasses import dataclass

from models.job import JobState, Reason


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a job is sent in all because of one cause, and how long is waited in between.

    Attributes:
        sends: in all, the first among them; operators may allow fewer (`max_attempts`).
        first_seconds: before the second; twice as long before each more, with jitter.
        longest_seconds: the most.
        after_longest: the wait is the endpoint's: until nothing more is to be heard of the job.
        needs_leave: only if `on_unknown` is `resubmit`: it may be paid for twice.
    """

    sends: int
    first_seconds: float = 0.0
    longest_seconds: float = 0.0
    after_longest: bool = False
    needs_leave: bool = False

    def wait_seconds(self, sends: int) -> float:
        """How long to wait after so many."""
        wait = self.first_seconds * 2.0 ** min(sends - 1, 16)
        return min(wait, self.longest_seconds) * random.uniform(0.5, 1.5)  # noqa: S311 -- jitter

    def __str__(self) -> str:
        waits = (
            f"after {self.first_seconds:g} s, then twice as long, up to {self.longest_seconds:g} s"
        )
        if self.after_longest:
            waits = "each time once 99 of 100 jobs would have ended, and a little more"
        leave = ", under `resubmit`" if self.needs_leave else ""
        return f"sent up to {self.sends} times, {waits}{leave}"


FAULT = Retry(sends=10, first_seconds=2.0, longest_seconds=30.0)
UNKNOWN = Retry(sends=3, after_longest=True, needs_leave=True)
VANISHED = Retry(sends=3, first_seconds=2.0, longest_seconds=30.0, needs_leave=True)
CANCEL = Retry(sends=8, first_seconds=1.0, longest_seconds=30.0)  # of a cancel, not of the job


@dataclass(frozen=True, slots=True)
class End:
    """One way for a job to end, or (without a state) to be held up.

    Attributes:
        evidence: what tells it from the others.
        retry: None: it is not sent again by itself.
        advice: what a person can do about it.
    """

    evidence: str
    state: JobState | None
    reason: Reason | None
    retry: Retry | None
    advice: str


ENDS = (
    End(
        "429, 401, 403, 402, or no connection",
        None,
        None,
        None,
        "nothing was taken: the lane is held, without end, and no attempt is spent",
    ),
    End("status `COMPLETED`, with a result", JobState.COMPLETED, None, None, "-"),
    End(
        "status `FAILED`, or an `error` for a result",
        JobState.FAILED,
        Reason.UPSTREAM_FAILED,
        None,
        "read `error`; `jobs retry` if it may have been chance",
    ),
    End(
        "400, 404, 413, 422 ... to `/run`",
        JobState.FAILED,
        Reason.UPSTREAM_REFUSED,
        None,
        "correct the input or the endpoint's name",
    ),
    End(
        "5xx to `/run`, and no id",
        JobState.FAILED,
        Reason.UPSTREAM_FAULT,
        FAULT,
        "look at the endpoint, then `jobs retry`; "
        "`jobs doubts` says what it would cost if the 5xx lied",
    ),
    End(
        "no reply to `/run`, or none that says: reset, timeout, 502, 504, garbage; and no webhook",
        JobState.FAILED,
        Reason.OUTCOME_UNKNOWN,
        UNKNOWN,
        "`jobs doubts` says what it may cost; `PRESSROOM_PUBLIC_URL` lets webhooks settle it",
    ),
    End(
        "404 to `/status`, seven times over two minutes, before any result was due to expire",
        JobState.LOST,
        Reason.VANISHED,
        VANISHED,
        "ask the upstream by `upstream_id`; `jobs retry`",
    ),
    End(
        "the same, and the upstream last spoke of it more than 30 minutes ago",
        JobState.LOST,
        Reason.RESULT_EXPIRED,
        None,
        "it was billed: `jobs retry` pays again; see why nobody asked (`doctor`)",
    ),
    End(
        "status `TIMED_OUT`",
        JobState.TIMED_OUT,
        Reason.UPSTREAM_TIMED_OUT,
        None,
        "a longer `executionTimeout`, or less to do",
    ),
    End(
        "status `CANCELLED`, and nobody had asked for it here",
        JobState.CANCELLED,
        Reason.UPSTREAM_CANCELLED,
        None,
        "somebody cancelled it at the upstream",
    ),
    End("cancelled through Pressroom", JobState.CANCELLED, Reason.CANCELLED, None, "-"),
    End(
        "`start_within` passed before it began; `TIMED_OUT` if it had been sent",
        JobState.REJECTED,
        Reason.NOT_STARTED,
        None,
        "the queue is longer than you can wait: later, or another endpoint",
    ),
    End(
        "`ttl`, or 24 h, passed before it ended",
        JobState.TIMED_OUT,
        Reason.TTL_PASSED,
        None,
        "a longer `ttl`",
    ),
    End(
        "`executionTimeout` passed while it ran",
        JobState.TIMED_OUT,
        Reason.RAN_TOO_LONG,
        None,
        "a longer `executionTimeout`",
    ),
    End(
        "three workers in a row died while one alone held it",
        JobState.FAILED,
        Reason.KILLED_WORKERS,
        None,
        "set aside: look into the workers' logs, then `jobs retry`",
    ),
    End(
        "a budget was used up that lets none wait; `FAILED` if it had been sent before",
        JobState.REJECTED,
        Reason.OVER_BUDGET,
        None,
        "raise it with `budget set`, then `jobs retry`",
    ),
)


def find_advice(reason: Reason | None) -> str | None:
    """What a person can do about a job that ended so."""
    return next((end.advice for end in ENDS if reason is not None and end.reason is reason), None)


def write_table() -> str:
    """The table in Markdown."""
    lines = [
        "| what tells it | state | reason | again by itself | what to do |",
        "|---|---|---|---|---|",
    ]
    for end in ENDS:
        again = str(end.retry) if end.retry else ("as soon as it may" if not end.state else "no")
        state = f"`{end.state}`" if end.state else "-"
        reason = f"`{end.reason}`" if end.reason else "-"
        lines.append(f"| {end.evidence} | {state} | {reason} | {again} | {end.advice} |")
    return "\n".join(lines)
