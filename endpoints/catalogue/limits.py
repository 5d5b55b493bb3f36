"""How often one account may call one operation of one endpoint.

The figures are the documented base values. The upstream raises them with the number of its running
workers, by a factor that it does not publish, so the base values are what can be relied on.
"""

import enum
from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict, PositiveFloat, PositiveInt


class Operation(enum.StrEnum):
    """What can be asked of an endpoint; the values are the words of the URL."""

    RUN = "run"
    RUNSYNC = "runsync"
    STATUS = "status"
    STREAM = "stream"
    CANCEL = "cancel"
    RETRY = "retry"
    PURGE_QUEUE = "purge-queue"
    HEALTH = "health"
    OPENAI = "openai"
    REQUESTS = "requests"


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `per_window` requests in any `window_seconds`, and `concurrent` at once.

    `concurrent` is None where the documentation names no such bound.
    """

    per_window: PositiveInt
    window_seconds: PositiveFloat
    concurrent: PositiveInt | None = None

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
