"""When a job that the upstream has taken is first asked for.

By the forecast; but while webhooks of its endpoint are heard, not before its own is overdue: 99 of
100 jobs have ended by then, and it has had a little longer to come. So a job costs one poll, the
one that its webhook rings for. Webhooks are heard while the gateway listens and one came of a job
that was sent lately; where they are rare, the forecast is cheap enough.

A webhook that never comes costs its job as much time as that poll is late: the time by which 99 of
100 have ended, and the patience for it, less what the job took; and never more than a quarter of
the time that a result is kept. When webhooks cease, jobs that are sent later go by the forecast,
and the sweep gives those that wait their first poll by the forecast back.

The first poll alone is put off. A job that was asked for and had not ended is asked for by the
forecast from then on: it may have been its webhook that rang, a moment before the upstream's status
told of the end, or while the poll was under way, and another will not come.
"""

from dataclasses import dataclass

from endpoints import forecast
from models.endpoint_stats import Learned
from workers.runtime import Runtime

RETENTION_SECONDS = 30 * 60.0  # of a result, after it is done; on the upstream's clock

PATIENCE_SECONDS = 3.0  # for a webhook, after the end of its job
# So many times as old as a webhook is overdue, what was last heard of still says that they come.
LATELY = 2


@dataclass(frozen=True, slots=True)
class FirstPoll:
    """Seconds after a job was taken: as forecast, and once its webhook is overdue.

    Attributes:
        hinted: webhooks of the endpoint are heard.
    """

    forecast: float
    overdue: float
    hinted: bool

    @property
    def seconds(self) -> float:
        return max(self.forecast, self.overdue) if self.hinted else self.forecast


def plan_first_poll(runtime: Runtime, endpoint: str, learned: Learned) -> FirstPoll:
    """
    Args:
        learned: with the durations that the job is predicted by.
    """
    typical = runtime.typical_seconds(endpoint)
    longest = forecast.likely_longest(learned.durations, typical_seconds=typical)
    overdue = longest + min(PATIENCE_SECONDS, longest)
    ago = learned.hinted_seconds_ago
    return FirstPoll(
        forecast=forecast.seconds_to_next_poll(
            learned.durations, age_seconds=0, typical_seconds=typical
        ),
        overdue=min(overdue, runtime.real_seconds(RETENTION_SECONDS) / 4),
        hinted=runtime.settings.gateway_base is not None
        and ago is not None
        and ago < LATELY * overdue,
    )
