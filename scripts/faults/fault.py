"""A fault: something that is broken for a while, and what may come of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from scripts.faults.scene import Scene

Strike = Callable[[Scene], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """
    Attributes:
        strike: breaks it, waits, and repairs it: the fault ends when this returns.
        seconds: how long that takes, as far as it is known before; of a run at full scale.
        least_seconds: however small the scale is.
        hosts: it wants a stack on several hosts.
        doubles: replies are truly lost and no webhook is sent, so a job may be billed twice: as
            often as is reported, and no more.
        silent: no webhook is sent of any of its jobs, from the first on.
        times: how many times the usual number of jobs.
        early: it strikes as soon as some jobs are accepted, not once some are completed.
    """

    strike: Strike
    seconds: float = 0.0
    least_seconds: float = 0.0
    hosts: bool = False
    doubles: bool = False
    silent: bool = False
    times: int = 1
    early: bool = False

    @property
    def name(self) -> str:
        return self.strike.__name__.replace("_", "-")

    @property
    def says(self) -> str:
        """In one sentence."""
        return " ".join((self.strike.__doc__ or "").partition("\n\n")[0].split())


def fault(
    *,
    seconds: float = 0.0,
    least_seconds: float = 0.0,
    hosts: bool = False,
    doubles: bool = False,
    silent: bool = False,
    times: int = 1,
    early: bool = False,
) -> Callable[[Strike], Fault]:
    """Make a fault of the function that strikes; its name and its docstring are the fault's."""

    def make(strike: Strike) -> Fault:
        return Fault(
            strike=strike,
            seconds=seconds,
            least_seconds=least_seconds,
            hosts=hosts,
            doubles=doubles,
            silent=silent,
            times=times,
            early=early,
        )

    return make
