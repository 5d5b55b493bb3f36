"""Answers in JSON, written by orjson."""

from collections.abc import Mapping

import orjson
from fastapi.responses import Response


class JsonResponse(Response):
    """As FastAPI's, a few times faster; what it cannot write is an error of ours."""

    media_type = "application/json"

    def __init__(
        self,
        content: object,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(orjson.dumps(content), status_code, headers)
