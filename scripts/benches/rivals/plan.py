"""What a rival is to do, as the benchmark that starts it says in the environment."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass

VARIABLE = "RIVAL_PLAN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    Attributes:
        base: of the upstream, with the version.
        poll_seconds: between two questions about a job.
        seconds: after which what is not done is left.
        redis_url: the broker of those that have one.
        postgres: where those that record write, as libpq wants it.
        at_once: calls, threads or greenlets of one process, as far as it has them.
    """

    base: str
    key: str
    endpoints: Sequence[str]
    jobs: int
    poll_seconds: float
    seconds: float
    at_once: int
    redis_url: str = ""
    postgres: str = ""

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def read_plan() -> Plan:
    return Plan(**json.loads(os.environ[VARIABLE]))


# Where a job is not done yet: what is none of these is the end of it.
OPEN = ("IN_QUEUE", "IN_PROGRESS", "RUNNING")
