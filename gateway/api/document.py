"""The OpenAPI document: FastAPI's, with the forms of bodies that the routes read themselves."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from gateway.api import forms
from gateway.api.answers import Problem

READ_BY_ROUTES = (
    forms.JobRequest,
    forms.BulkItem,
    forms.BulkRequest,
    forms.WaitRequest,
    forms.ManyRequest,
    forms.LinkRequest,
    forms.EstimateRequest,
    forms.LaneRequest,
    forms.KeyRequest,
    forms.RotateRequest,
)


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
