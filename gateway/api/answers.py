"""The JSON that goes, for the OpenAPI document: `tasks/results.py` and the routes write it."""

import datetime as dt
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel

from endpoints.catalogue import Basis, Operation
from gateway.waiting import Cause
from models.artifact import ArtifactState
from models.attempt import Answer, Fate
from models.budget import AtCap, Period
from models.delivery import DeliveryKind, DeliveryState
from models.job import JobState, Reason
from models.key import Scope
from models.lane import StageName
from models.movement import MovementKind
from models.schedule import Overlap
from models.schedule_run import RunOutcome
from models.spend import SpendBy

PROBLEM_SCHEMA = {"$ref": "#/components/schemas/Problem"}


def problems(said: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    """Errors of a route in the document: what each code means there."""
    return {
        code: {
            "description": meaning,
            "content": {"application/problem+json": {"schema": PROBLEM_SCHEMA}},
        }
        for code, meaning in said.items()
    }


ERRORS = problems(
    {
        400: "The request is malformed.",
        401: "No API key, or no good one.",
        403: "The key may not do this.",
        404: "There is nothing of this name that the key may see.",
        422: "The request is well-formed, and what it says is not possible.",
        429: "The key makes too many requests; `Retry-After` says when to come again.",
        503: "Something that is needed does not answer; `Retry-After` says when to come again.",
    }
)
BODY_ERRORS = problems({413: "The body is too large.", 415: "The body is not JSON."})


class Problem(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    problems: list[str] = []


class ArtifactForm(BaseModel):
    """A file of a result. `url` opens without a key; it is null until the file is stored."""

    id: UUID
    job_id: UUID
    endpoint: str
    state: ArtifactState
    field: str
    url: str | None
    thumbnail_url: str | None
    source_url: str
    expires_at: dt.datetime
    tries: int
    error: str | None
    sha256: str | None
    size_bytes: int | None
    media_type: str | None
    width: int | None
    height: int | None
    duration_seconds: float | None
    store_key: str | None
    thumbnail_key: str | None


class ArtifactPage(BaseModel):
    artifacts: list[ArtifactForm]
    next: str | None


class LinkForm(BaseModel):
    url: str | None
    expires_seconds: int


class JobSummary(BaseModel):
    """A job, as far as it is. Money is in US dollars, times are ISO 8601, waits are in ms."""

    id: UUID
    endpoint: str
    status: Literal["IN_QUEUE", "IN_PROGRESS", "COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"]
    state: JobState
    reason: Reason | None
    error: str | None
    why: str
    priority: int
    attempt: int
    upstream_id: str | None
    estimate_usd: float | None
    cost_usd: float | None
    delay_ms: int | None
    execution_ms: int | None
    polls: int
    input_tokens: int | None
    output_tokens: int | None
    cached_from: UUID | None
    campaign_id: UUID | None
    custom_id: str | None
    trace_id: str | None
    created_at: dt.datetime
    submitted_at: dt.datetime | None
    finished_at: dt.datetime | None
    next_at: dt.datetime | None
    start_by: dt.datetime | None
    deadline_at: dt.datetime | None


class JobForm(JobSummary):
    """A job, with its input, its result and its files."""

    input: dict[str, Any] | None
    output: Any
    artifacts: list[ArtifactForm]


class WaitingForm(BaseModel):
    """What a job waits for. `ahead` of it in line are so many, or more; forecasts in seconds."""

    cause: Cause
    until: dt.datetime | None
    ahead: int | None
    ahead_is_more: bool
    starts_in_seconds: float | None
    ends_in_seconds: float | None


class JobDetail(JobForm):
    """A job, and what it waits for: null once it waits for nothing. `key`: whose, by its name."""

    key: str | None
    waiting: WaitingForm | None


class ListedJob(JobSummary):
    """With what people know it by: the beginning of its prompt, its key's name, a small picture."""

    prompt: str | None
    key: str | None
    thumbnail_url: str | None


class JobPage(BaseModel):
    jobs: list[ListedJob]
    next: str | None


class BulkAnswer(BaseModel):
    """What became of one item: `id` and what follows if it was taken, else `error`."""

    index: int
    id: UUID | None = None
    status: str | None = None
    state: JobState | None = None
    existing: bool | None = None
    cached: bool | None = None
    error: Problem | None = None


class BulkReply(BaseModel):
    accepted: int
    refused: int
    items: list[BulkAnswer]


class WaitReply(BaseModel):
    jobs: list[JobForm]
    pending: list[UUID]
    unknown: list[UUID]


class AttemptForm(BaseModel):
    number: int
    sent_at: dt.datetime
    answered_at: dt.datetime | None
    answer: Answer | None
    http_status: int | None
    upstream_id: str | None
    error: str | None
    cost_usd: float | None
    fate: Fate | None
    risk_usd: float | None


class DoubtsForm(BaseModel):
    """Attempts that may have been billed beside another of their job, or for nothing; and in money.

    Certain are those of which word came after their job had been sent again. Those that were
    answered with a 5xx before another was taken are counted apart: by that, nothing was taken.
    """

    possibly_twice: int
    possibly_twice_usd: float
    possibly_for_nothing: int
    possibly_for_nothing_usd: float
    certainly_twice: int
    certainly_twice_usd: float
    answered_5xx: int
    answered_5xx_usd: float
    unpriced: int


class Attempts(BaseModel):
    attempts: list[AttemptForm]
    doubts: DoubtsForm


class KeyDoubts(DoubtsForm):
    key_id: UUID | None


class DoubtsReply(DoubtsForm):
    keys: list[KeyDoubts]


class DoubtfulJobs(BaseModel):
    jobs: list[UUID]
    next: str | None


class Happening(BaseModel):
    at: dt.datetime
    what: str
    artifact_id: UUID | None = None
    number: int | None = None
    answer: Answer | None = None
    error: str | None = None


class Timeline(BaseModel):
    timeline: list[Happening]


class Count(BaseModel):
    count: int
    dry_run: bool


class RetryCount(Count):
    estimate_usd: float


class ManyReply(Count):
    """`count`: those that fit, or (not `dry_run`) that were reached. If there is a `next`, the same
    request goes on with it as `cursor`; `left` is how many still fit.
    """

    left: int
    next: UUID | None
    estimate_usd: float | None  # of a retry
    unpriced: int | None
    sample: list[UUID]
    ended_before: dt.datetime


class DeliveryForm(BaseModel):
    """Word of a job's end: `failed` was tried for a day, and is given up until it is replayed."""

    id: UUID
    webhook_id: str
    job_id: UUID
    kind: DeliveryKind
    url: str | None
    state: DeliveryState
    tries: int
    http_status: int | None
    error: str | None
    next_at: dt.datetime | None
    delivered_at: dt.datetime | None


class Deliveries(BaseModel):
    deliveries: list[DeliveryForm]


class DeliveryPage(Deliveries):
    next: str | None


class MeasuredForm(BaseModel):
    """How long jobs took here: half of them no longer than `p50_seconds`."""

    jobs: int
    p50_seconds: float


class EndpointForm(BaseModel):
    """What may be run. The estimate is of a job with defaults; `measured` is null until one has
    ended here.
    """

    id: str
    name: str
    kind: str
    task: str
    also: list[str]
    about: str
    aliases: list[str]
    openai_models: list[str]
    typical_seconds: float
    measured: MeasuredForm | None
    estimate_usd: float | None
    estimate_basis: Basis


class Endpoints(BaseModel):
    """`emulated`: the upstream is Pressroom's own emulator, and nothing is billed."""

    endpoints: list[EndpointForm]
    emulated: bool


class LimitForm(BaseModel):
    per_window: int
    window_seconds: float
    concurrent: int | None


class EndpointDetail(EndpointForm):
    input_schema: dict[str, Any]
    limits: dict[Operation, LimitForm]


class EstimateForm(BaseModel):
    endpoint: str
    usd: float | None
    basis: Basis


class QuotaForm(LimitForm):
    """`used_...` and what was learned are null while Redis does not answer."""

    operation: str
    learned_per_window: int | None  # if refusals showed it to be less than documented
    used_in_window: int | None
    used_at_once: int | None


class Breaker(BaseModel):
    failed_in_a_row: int
    breaks_after: int
    half_open: bool
    probing: bool


class LaneForm(BaseModel):
    stage: StageName
    endpoint: str
    state: Literal["open", "paused", "closed", "maintenance"]
    waiting: int
    waiting_is_more: bool
    due_seconds: float | None
    closed_seconds: float | None
    closed_reason: str | None
    closures: int
    paused_reason: str | None
    paused_seconds: float | None  # until it goes on; null: until somebody resumes it
    breaker: Breaker
    quota: QuotaForm
    why: str


class LanePlaces(BaseModel):
    """How many jobs of its endpoint are where; of queued and held ones at most 10,000."""

    queued: int
    held: int
    in_flight: int
    to_store: int
    to_send: int


class BoundForm(BaseModel):
    per_10_seconds: int | None
    concurrent: int | None


class LaneLimits(BaseModel):
    """`learned`: calls a window, as a refusal last showed."""

    documented: BoundForm | None
    operator: BoundForm
    learned: int | None
    learned_at: dt.datetime | None


class ShareForm(BaseModel):
    """What a producer has in line; `first` is the place of its first job."""

    key_id: UUID | None
    campaign_id: UUID | None
    name: str | None
    priority: int
    weight: float
    jobs: int
    first: int


class LaneDetail(LaneForm):
    places: LanePlaces
    limits: LaneLimits
    paused_at: dt.datetime | None
    shares: list[ShareForm]


class Lanes(BaseModel):
    lanes: list[LaneForm]


class FloorLane(LaneForm):
    """`in_flight`: jobs of its endpoint that were sent and have not ended; of other lanes, none."""

    in_flight: int
    closed_until: dt.datetime | None
    paused_until: dt.datetime | None


class WorkerForm(BaseModel):
    """As it last said of itself. `silent`: it has not for 30 s; after ten minutes it is gone."""

    node: str
    state: Literal["well", "silent", "troubled"]
    seen_seconds: float
    problem: str | None


class Workers(BaseModel):
    workers: list[WorkerForm]


class AlarmForm(BaseModel):
    """What is wrong now, and what is to be done; `runbook` names the page that says more."""

    severity: Literal["critical", "warning"]
    says: str
    do: str
    runbook: str | None


class WaitForm(BaseModel):
    """The job that was handed in first of those that wait at an endpoint."""

    job_id: UUID
    endpoint: str
    created_at: dt.datetime
    why: str


class FloorBudget(BaseModel):
    name: str
    period: Period
    limit_usd: float
    left_usd: float
    reached: bool


class FloorMoney(BaseModel):
    """`hour_usd`: of what was sent since the hour began; `last_60_minutes_usd`: of late."""

    hour_usd: float
    last_60_minutes_usd: float
    may_be_billed_usd: float
    budgets: list[FloorBudget]


class Floor(BaseModel):
    """What runs, what waits and why. `workers` is null while Redis does not answer."""

    lanes: list[FloorLane]
    workers: list[WorkerForm] | None
    alarms: list[AlarmForm]
    waits: list[WaitForm]
    money: FloorMoney
    maintenance: "MaintenanceForm"
    emulated: bool


class MaintenanceForm(BaseModel):
    on: bool
    reason: str | None
    refuse: bool
    since: dt.datetime | None


class AuditForm(BaseModel):
    """Who did what. Of `before` and `after` each kind of act has its own."""

    id: UUID
    at: dt.datetime
    actor: str
    key_id: UUID | None
    source: str | None
    request_id: str | None
    action: str
    target: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class AuditPage(BaseModel):
    acts: list[AuditForm]
    next: str | None


class KeyForm(BaseModel):
    id: UUID
    name: str
    shown: str
    scopes: list[Scope]
    requests_per_second: int | None
    result_cache: bool | None
    weight: float
    created_at: dt.datetime
    revoked_at: dt.datetime | None
    previous_until: dt.datetime | None


class Keys(BaseModel):
    keys: list[KeyForm]


class IssuedKeyForm(KeyForm):
    """With its secrets, this once."""

    key: str
    webhook_secret: str


class ScheduleForm(BaseModel):
    """A campaign that is run again and again. `next_at` is null while it is paused."""

    id: UUID
    name: str
    cron: str
    zone: str
    overlap: Overlap
    catch_up_seconds: float
    jitter_seconds: float
    pause_on_failure: bool
    paused: bool
    problem: str | None
    next_at: dt.datetime | None
    jobs: int
    estimate_usd: float
    unpriced: int
    created_at: dt.datetime


class ScheduledRun(BaseModel):
    """What was decided of a fire. `buffered`: it waits for a run before it to be over."""

    due_at: dt.datetime
    outcome: RunOutcome
    campaign_id: UUID | None
    backfill: bool
    note: str | None
    decided_at: dt.datetime
    over: bool


class ListedSchedule(ScheduleForm):
    """With what came of its last fires, the last first."""

    runs: list[ScheduledRun]


class Schedules(BaseModel):
    schedules: list[ListedSchedule]


class ScheduleDetail(ScheduleForm):
    """With what it runs, and what came of its last fires."""

    specification: dict[str, Any]
    runs: list[ScheduledRun]


class FireForm(BaseModel):
    due_at: dt.datetime
    starts_at: dt.datetime


class Fires(BaseModel):
    fires: list[FireForm]


class TimetableReply(BaseModel):
    """`words` says in English when it fires."""

    words: str
    fires: list[dt.datetime]


class BackfillReply(BaseModel):
    """The fires that were not run, and how many of them now wait to be: none, if `dry_run`."""

    fires: list[dt.datetime]
    jobs: int
    estimate_usd: float
    waiting: int


class Readiness(BaseModel):
    """Each part is "ok", or what is wrong with it."""

    ready: bool
    parts: dict[str, str]
    problems: list[str]


class BudgetForm(BaseModel):
    """`left_usd` is what is neither spent nor reserved for jobs that run."""

    id: UUID
    name: str
    key_id: UUID | None
    campaign_id: UUID | None
    tag: str | None
    of: str | None
    period: Period
    zone: str
    limit_usd: float
    spent_usd: float
    reserved_usd: float
    left_usd: float
    warn_at: float
    at_cap: AtCap
    webhook: str | None
    starts_at: dt.datetime
    ends_at: dt.datetime | None
    warned: bool
    capped: bool
    jobs_held: int


class Budgets(BaseModel):
    budgets: list[BudgetForm]


class MovementForm(BaseModel):
    """`usd` of a limit that is null: it was removed."""

    at: dt.datetime
    kind: MovementKind
    usd: float | None
    job_id: UUID | None


class Movements(BaseModel):
    movements: list[MovementForm]


class WaitsForm(BaseModel):
    """Jobs of a key, or of a campaign of its, that wait for room in the budget."""

    key_id: UUID | None
    key: str | None
    campaign_id: UUID | None
    campaign: str | None
    jobs: int
    estimate_usd: float


class Waits(BaseModel):
    """`more`: there are more jobs than were looked at, which are the cheapest 10,000."""

    held: list[WaitsForm]
    more: bool


class SpendForm(BaseModel):
    """`name` is null of what has no key, campaign or tag."""

    name: str | None
    jobs: int
    usd: float
    may_be_billed_usd: float


class Spending(BaseModel):
    by: SpendBy
    since: dt.datetime
    until: dt.datetime
    spend: list[SpendForm]


class EndingForm(BaseModel):
    state: JobState
    reason: Reason | None
    jobs: int
    error: str | None


class HeldForm(BaseModel):
    """A budget, whosever it is, that jobs wait for."""

    budget: str
    jobs: int
    left_usd: float


class CampaignForm(BaseModel):
    """`seconds_left`: by limits, pace and forecast; null if it waits for somebody, has ended, or
    nothing of it is enqueued yet.
    """

    campaign_id: UUID
    name: str
    endpoint: str | None
    tags: list[str]
    created_at: dt.datetime
    completed_at: dt.datetime | None
    max_in_flight: int | None
    jobs: int
    problem: str | None
    paused: bool
    queued: int
    running: int
    completed: int
    failed: int
    cancelled: int
    artifacts: int
    artifacts_pending: int
    artifacts_expired: int
    bytes: int
    estimate_usd: float
    cost_usd: float
    seconds: float
    jobs_per_second: float
    polls_per_job: float
    seconds_left: float | None
    failures: list[EndingForm]
    budgets: list[BudgetForm]
    held_by: list[HeldForm]


class CampaignPage(BaseModel):
    campaigns: list[CampaignForm]
    next: str | None


class RowsForm(BaseModel):
    """A file of prompts that is kept: `rows` names it to the campaign that is made of it."""

    rows: str
    name: str
    bytes: int
    columns: list[str]


class ItemForm(BaseModel):
    """An item of a campaign: its first file, and how its prompt begins."""

    job_id: UUID
    custom_id: str | None
    endpoint: str
    state: JobState
    prompt: str
    seed: int | float | str | None
    cost_usd: float | None
    artifact: ArtifactForm | None


class ItemPage(BaseModel):
    items: list[ItemForm]
    start: int


class EndpointShare(BaseModel):
    """A campaign's jobs on one endpoint; times are those that the upstream names."""

    endpoint: str
    jobs: int
    completed: int
    failed: int
    cancelled: int
    estimate_usd: float
    cost_usd: float
    p50_seconds: float | None
    p95_seconds: float | None


class EndpointShares(BaseModel):
    endpoints: list[EndpointShare]


class SideForm(BaseModel):
    """`alone`: jobs for which the other side has none."""

    name: str
    jobs: int
    completed: int
    failed: int
    alone: int
    bytes: int
    cost_usd: float
    usd_per_result: float | None


class ComparisonForm(BaseModel):
    """`matched_by`: what tells which items belong together. Of `pairs` a page is in `shown`."""

    matched_by: str
    sides: tuple[SideForm, SideForm]
    pairs: int
    start: int
    shown: list[tuple[ItemForm, ItemForm]]


class PlannedItem(BaseModel):
    place: str
    endpoint: str
    input: dict[str, Any]
    custom_id: str | None


class PlanForm(BaseModel):
    """`estimate_usd` is exact, or a bound, if that is said; null if no price is known."""

    jobs: int
    per_endpoint: dict[str, int]
    estimate_usd: float | None
    exact: bool
    bound: bool
    unpriced: int
    repeated: int
    least_seconds: float
    unused_columns: list[str]
    first: PlannedItem | None
    last: PlannedItem | None
    campaign_id: UUID | None
