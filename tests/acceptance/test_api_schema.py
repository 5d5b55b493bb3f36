"""The API is what its OpenAPI document says: read, and tried with generated requests.

A gateway listens on a port of its own, in a thread; no worker runs. What is generated keeps to the
document, or breaks it on purpose; whatever comes, no answer may be a 500, or another than the
document tells of.
"""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, settings as examples
from schemathesis.checks import not_a_server_error
from schemathesis.openapi.checks import AcceptedNegativeData
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from conftest_free import free_port
