"""The OpenAPI document: FastAPI's, with the forms of bodies that the routes read themselves."""

from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import Response
from pydantic.json_schema import models_json_schema

from gateway.api import forms
from gateway.api.answers.problems import Problem
from gateway.callers import Reading
from gateway.json_response import JsonResponse

routes = APIRouter()

READ_BY_ROUTES = (
    forms.JobRequest,
    forms.BulkItem,
    forms.BulkRequest,
    forms.WaitRequest,
    forms.ManyRequest,
    forms.PrioritizeRequest,
    forms.LinkRequest,
    forms.EstimateRequest,
    forms.LaneRequest,
    forms.MaintenanceRequest,
    forms.KeyChange,
    forms.KeyRequest,
    forms.RotateRequest,
    forms.BudgetRequest,
    forms.BudgetChange,
    forms.CampaignRequest,
    forms.CampaignChange,
    forms.CampaignRetry,
    forms.ScheduleRequest,
    forms.TimetableRequest,
    forms.ScheduleChange,
    forms.BackfillRequest,
)


@routes.get("/openapi.json", include_in_schema=False)
async def read(request: Request, _caller: Reading) -> Response:
    return JsonResponse(request.app.openapi(), headers=request.state.limits)


def write_document(gateway: FastAPI) -> dict[str, Any]:
    if gateway.openapi_schema is None:
        document = get_openapi(
            title=gateway.title,
            version=gateway.version,
            description=gateway.description,
            routes=gateway.routes,
        )
        _, read = models_json_schema(
            [(form, "validation") for form in (*READ_BY_ROUTES, Problem)],
            ref_template="#/components/schemas/{model}",
        )
        document["components"]["schemas"] |= read["$defs"]
        gateway.openapi_schema = document
    return gateway.openapi_schema
