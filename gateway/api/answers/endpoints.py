"""The catalogue's endpoints, and what was measured of them."""

from typing import Any

from pydantic import BaseModel

from endpoints.catalogue import Basis, Operation


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
