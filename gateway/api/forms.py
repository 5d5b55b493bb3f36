"""The JSON that comes, with its bounds. What is answered: `answers.py`."""

import datetime as dt
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    model_validator,
)

from models.budget import MOST_USD, AtCap, Period
from models.fairness import HIGHEST, LOWEST, USUAL, WEIGHTS
from models.job import JobState, OnUnknown, Reason
from models.key import Scope
from models.schedule import Overlap

BULK_MOST = 10_000
WAITED_FOR_MOST = 1_000
NAMED_MOST = 1_000  # jobs of an act
WAIT_SECONDS_MOST = 300.0

FOX: dict[str, JsonValue] = {"prompt": "a fox in the snow", "width": 768, "height": 768, "seed": 7}
FLUX = "black-forest-labs-flux-1-schnell"

# A control character is no part of a name, and Postgres takes no NUL.
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Form(BaseModel):
    """What is sent: fields that nobody knows are refused, for they may be misspelled."""

    model_config = ConfigDict(extra="forbid", str_max_length=20_000_000)


class Policy(Form):
    """Deadlines, in ms, as the upstream has them."""

    ttl: Annotated[
        int | None,
        Field(ge=10_000, le=604_800_000, description="From now to the end, in ms."),
    ] = None
    executionTimeout: Annotated[  # noqa: N815 -- the upstream's word
        int | None, Field(ge=5_000, le=604_800_000, description="Of the run alone, in ms.")
    ] = None
    lowPriority: StrictBool | None = None  # noqa: N815


class S3Config(Form):
    """A bucket that a worker of the upstream puts its files into. Kept encrypted, never shown."""

    accessId: Annotated[str, Field(min_length=1, max_length=2048)]  # noqa: N815
    accessSecret: Annotated[str, Field(min_length=1, max_length=2048)]  # noqa: N815
    bucketName: Annotated[str, Field(min_length=1, max_length=2048)]  # noqa: N815
    endpointUrl: Annotated[str, Field(min_length=1, max_length=2048)]  # noqa: N815


class JobRequest(Form):
    """A generation."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"endpoint": FLUX, "input": FOX}]})

    endpoint: Annotated[str, Field(min_length=1, max_length=128)]
    input: dict[str, Any]
    on_unknown: Annotated[
        OnUnknown | None, Field(description="When the upstream's reply was lost.")
    ] = None
    webhook: Annotated[
        str | None, Field(max_length=2048, description="Where word of the end is POSTed.")
    ] = None
    start_within: Annotated[
        float | None,
        Field(
            gt=0,
            le=604_800,
            description="Seconds within which it must begin to be generated; else it is given up.",
        ),
    ] = None
    priority: Annotated[
        int | None,
        Field(ge=LOWEST, le=HIGHEST, description=f"The highest goes first; {USUAL} is usual."),
    ] = None
    policy: Policy | None = None
    s3Config: S3Config | None = None  # noqa: N815 -- the upstream's word
    cache: Annotated[
        StrictBool | None,
        Field(description="A stored result of an equal request with a fixed seed will do."),
    ] = None


class BulkItem(JobRequest):
    idempotency_key: Annotated[str | None, Field(min_length=1, max_length=255)] = None


class BulkRequest(Form):
    """Many generations. Each is taken or refused by itself."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"jobs": [{"endpoint": FLUX, "input": FOX}]}]},
    )

    # Held to its form one by one: of ten thousand, one that is wrong must not refuse the others.
    jobs: Annotated[
        list[Any],
        Field(
            min_length=1,
            max_length=BULK_MOST,
            json_schema_extra={"items": {"$ref": "#/components/schemas/BulkItem"}},
        ),
    ]


class WaitRequest(Form):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"ids": ["0199a5c2-7b1e-7c3a-9d4f-249d250cf543"], "wait": 30}]
        }
    )

    ids: Annotated[list[UUID], Field(min_length=1, max_length=WAITED_FOR_MOST)]
    wait: Annotated[float, Field(ge=0, le=WAIT_SECONDS_MOST, description="Seconds.")] = 30.0


class JobFilterForm(Form):
    """Which jobs: those that fit everything that is given."""

    ids: Annotated[list[UUID] | None, Field(max_length=NAMED_MOST)] = None
    state: Annotated[list[JobState] | None, Field(max_length=len(JobState))] = None
    endpoint: Name | None = None
    reason: Annotated[list[Reason] | None, Field(max_length=len(Reason))] = None
    campaign: UUID | None = None
    tag: Annotated[Name | None, Field(description="Of their campaign.")] = None
    key_id: Annotated[UUID | None, Field(description="Whose jobs, for a key that operates.")] = None
    created_after: dt.datetime | None = None
    created_before: dt.datetime | None = None
    ended_before: Annotated[
        AwareDatetime | None,
        Field(description="Leaves out what an earlier request retried, and has failed again."),
    ] = None


class ManyRequest(Form):
    """An act on many jobs; say `dry_run: false` to do it and not only count.

    If the answer has a `next`, send the same again with it as `cursor`, until it has none.
    """

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"filter": {"state": ["queued"]}, "dry_run": True}]},
    )

    filter: JobFilterForm
    all: Annotated[StrictBool, Field(description="That an empty filter is meant: everything.")] = (
        False
    )
    dry_run: StrictBool = True
    cursor: Annotated[UUID | None, Field(description="`next` of the answer before.")] = None


class PrioritizeRequest(ManyRequest):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"filter": {"endpoint": FLUX}, "priority": 8, "dry_run": True}]
        },
    )

    priority: Annotated[int, Field(ge=LOWEST, le=HIGHEST)]


class LinkRequest(Form):
    model_config = ConfigDict(json_schema_extra={"examples": [{"expires_seconds": 3600}]})

    expires_seconds: Annotated[
        int, Field(ge=0, le=315_360_000, description="0: it opens the file for good.")
    ] = 3600


class EstimateRequest(Form):
    model_config = ConfigDict(json_schema_extra={"examples": [{"input": FOX}]})

    input: dict[str, Any]


class LaneRequest(Form):
    """What is given is changed. A limit holds for the operation of the stage, at this endpoint."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"paused": True}]})

    paused: StrictBool | None = None
    reason: Annotated[
        str | None,
        Field(
            max_length=500, pattern=r"^[^\x00]*$", description="Why it is paused: people read it."
        ),
    ] = None
    pause_seconds: Annotated[
        float | None, Field(gt=0, le=31_536_000, description="After which it goes on by itself.")
    ] = None
    drain: Annotated[
        StrictBool,
        Field(description="Pause it; `places.in_flight` of the lane tells how much still runs."),
    ] = False
    per_10_seconds: Annotated[
        int | None, Field(ge=1, le=1_000_000, description="In place of the catalogue's.")
    ] = None
    concurrent: Annotated[int | None, Field(ge=1, le=100_000)] = None
    beyond: Annotated[
        StrictBool, Field(description="More than the upstream documents is meant.")
    ] = False
    reset_limit: Annotated[StrictBool, Field(description="Back to the catalogue's limit.")] = False


class MaintenanceRequest(Form):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"on": True, "reason": "the upstream moves"}]}
    )

    on: StrictBool
    reason: Annotated[str, Field(max_length=500, pattern=r"^[^\x00]*$")] = ""
    refuse: Annotated[
        StrictBool, Field(description="Refuse what is handed in (503), instead of keeping it.")
    ] = False


Weight = Annotated[
    float,
    Field(
        ge=WEIGHTS[0],
        le=WEIGHTS[1],
        description="Its share of an endpoint where several keys have jobs in line.",
    ),
]


class KeyRequest(Form):
    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "shop", "scopes": ["run"]}]})

    name: Name
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(Scope))] = [Scope.RUN]
    requests_per_second: Annotated[int | None, Field(ge=1, le=1_000_000)] = None
    result_cache: StrictBool | None = None
    weight: Weight = 1.0


class KeyChange(Form):
    """What is given is changed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"weight": 3}]})

    weight: Weight | None = None
    requests_per_second: Annotated[
        int | None,
        Field(ge=1, le=1_000_000, description="Null: as operators set it for all keys."),
    ] = None

    @model_validator(mode="after")
    def _something_is_given(self) -> "KeyChange":
        if not self.model_fields_set or (self.weight is None and "weight" in self.model_fields_set):
            raise ValueError("a weight, or requests_per_second, was wanted")
        return self


class RotateRequest(Form):
    model_config = ConfigDict(json_schema_extra={"examples": [{"grace_seconds": 3600}]})

    grace_seconds: Annotated[
        float,
        Field(ge=0, le=2_592_000, description="How long the key before stays good beside it."),
    ] = 0.0
    webhook_secret: Annotated[StrictBool, Field(description="Renew what signs its webhooks.")] = (
        False
    )


Usd = Annotated[Decimal, Field(gt=0, le=MOST_USD, allow_inf_nan=False)]
WarnAt = Annotated[
    float | None, Field(gt=0, le=1, description="The share of it at which word is sent.")
]
HookUrl = Annotated[
    str | None, Field(max_length=2048, pattern="^https?://", description="Is told, signed.")
]


class BudgetRequest(Form):
    """At most one of `key_id`, `campaign_id` and `tag`; without any it is everybody's."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "nightly", "limit_usd": 5, "period": "day"}]}
    )

    name: Name
    limit_usd: Usd
    period: Period = Period.TOTAL
    zone: Annotated[str, Field(max_length=100, description="Where its days begin.")] = "UTC"
    key_id: UUID | None = None
    campaign_id: UUID | None = None
    tag: Name | None = None
    warn_at: WarnAt = None
    at_cap: AtCap = AtCap.PAUSE
    webhook: HookUrl = None


class BudgetChange(Form):
    """What is given is changed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"limit_usd": 80}]})

    limit_usd: Usd | None = None
    warn_at: WarnAt = None
    at_cap: AtCap | None = None
    webhook: HookUrl = None


class CampaignRequest(Form):
    """A specification, as `pressroom campaign schema` has it; its prompts stand in it, or in a file
    that was handed in before.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "spec": {
                        "name": "foxes",
                        "endpoint": FLUX,
                        "prompts": ["a fox in the snow", "a fox asleep"],
                        "matrix": {"seed": [1, 2]},
                    },
                    "dry_run": True,
                }
            ]
        }
    )

    spec: Annotated[dict[str, Any] | str, Field(description="As JSON, or the text of a YAML file.")]
    rows: Annotated[
        str | None,
        Field(max_length=500, description="The file of its prompts: what `/campaigns/rows` said."),
    ] = None
    dry_run: Annotated[
        StrictBool, Field(description="Say what it comes to; nothing is enqueued.")
    ] = True


class CampaignChange(Form):
    """What is given is changed; null takes a limit away."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"paused": True}]})

    paused: StrictBool | None = None
    over_seconds: Annotated[
        float | None,
        Field(gt=0, le=31_536_000, description="Spread what waits evenly over it, from now."),
    ] = None
    max_in_flight: Annotated[int | None, Field(ge=1, le=1_000_000)] = None


class CampaignRetry(Form):
    """Its jobs that ended so, and for these causes; without any, all without a result."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"only": ["failed"]}]})

    only: Annotated[list[JobState], Field(max_length=4)] = []
    causes: Annotated[list[Reason], Field(max_length=len(Reason))] = []
    dry_run: Annotated[StrictBool, Field(description="Count them.")] = True


NIGHTLY: dict[str, JsonValue] = {
    "name": "nightly",
    "endpoint": FLUX,
    "prompts": ["a fox in the snow", "an owl at dusk"],
    "schedule": {"cron": "0 2 * * *", "zone": "Europe/Berlin", "overlap": "skip"},
}


class ScheduleRequest(Form):
    """A campaign's specification, with its prompts and its schedule in it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"specification": NIGHTLY}]})

    specification: dict[str, Any]
    paused: StrictBool = False


Span = Annotated[
    Annotated[str, Field(max_length=40)] | float | None,
    Field(description="Seconds, or as in 30m and 1h30m."),
]


class TimetableRequest(Form):
    """A cron that is still being written."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"cron": "0 2 * * *", "zone": "Europe/Berlin"}]}
    )

    cron: Annotated[str, Field(max_length=200)]
    zone: Annotated[str, Field(max_length=100)] = "UTC"
    count: Annotated[int, Field(ge=1, le=100)] = 10


class ScheduleChange(Form):
    """What is given is changed. A specification is checked as a new one is; its own schedule does
    not count.
    """

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"cron": "30 3 * * MON-FRI", "zone": "America/New_York"}]}
    )

    cron: Annotated[str | None, Field(max_length=200)] = None
    zone: Annotated[str | None, Field(max_length=100)] = None
    specification: dict[str, Any] | None = None
    overlap: Overlap | None = None
    catch_up: Span = None
    jitter: Span = None
    pause_on_failure: StrictBool | None = None
    paused: Annotated[
        StrictBool | None, Field(description="Resumed, it goes on from its next fire.")
    ] = None


class BackfillRequest(Form):
    """Fires of a past time that were not run; both ends are included."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "start_at": "2026-11-01T00:00:00+01:00",
                    "end_at": "2026-11-08T00:00:00+01:00",
                    "dry_run": True,
                }
            ]
        }
    )

    start_at: AwareDatetime
    end_at: AwareDatetime
    at_once: Annotated[StrictBool, Field(description="All of them, not one after the other.")] = (
        False
    )
    dry_run: Annotated[StrictBool, Field(description="Count them; run nothing.")] = False
