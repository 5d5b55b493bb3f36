"""What a request that is not served is answered with: the same facts, in the form of each route.

/v2/<endpoint>/openai/...   {"error": {"message", "type", "code"}}            as OpenAI's
/v2/...                     {"status": "FAILED", "error": text}, and an id     as the upstream's
all else                    problem+json (RFC 9457), with `problems` a line each
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from gateway.disconnect import ClientGone
from models.errors import DatabaseUnavailable, NotFound
from tasks.intake import InvalidRequest, TooLarge
from tasks.schedules import InvalidSchedule

PROBLEM = "application/problem+json"
RETRY_SECONDS = 2  # when Postgres is away
CLIENT_CLOSED = 499  # nobody reads it; no number of HTTP's own says it

log = structlog.get_logger()


class ApiError(Exception):
    """A request that is refused.

    Args:
        detail: what came, and what was wanted.
        problems: one line for each thing that is wrong, where there may be several.
        job_id: the job that was asked for; where none was, there is none.
        type_: tells this problem from others of the same status, where a program may want to.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        problems: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
        job_id: str | None = None,
        type_: str = "about:blank",
    ) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail
        self.problems = list(problems)
        self.headers = dict(headers or {})
        self.job_id = job_id
        self.type = type_

    def describe(self) -> dict[str, Any]:
        """As problem+json."""
        body: dict[str, Any] = {
            "type": self.type,
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.problems:
            body["problems"] = self.problems
        return body


def read_refusal(error: InvalidRequest | InvalidSchedule, *, status: int) -> ApiError:
    """Why a request was refused by `tasks/`, as an answer of `status`."""
    if isinstance(error, TooLarge):
        status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    return ApiError(status, "; ".join(error.problems), problems=error.problems)


def answer_error(request: Request, error: ApiError) -> Response:
    path = request.url.path
    if not path.startswith("/v2/"):
        return JSONResponse(
            error.describe(), error.status, headers=error.headers, media_type=PROBLEM
        )
    if "/openai/" in path:
        said = {"message": error.detail, "type": _openai_type(error.status), "code": error.status}
        return JSONResponse({"error": said}, error.status, headers=error.headers)
    body: dict[str, Any] = {"id": error.job_id} if error.job_id else {}
    # A loop that reads `status` alone, as those of the guide do, must find one, and end.
    body |= {"status": "FAILED", "error": error.detail}
    return JSONResponse(body, error.status, headers=error.headers)


def _openai_type(status: int) -> str:
    match status:
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            return "authentication_error"
        case HTTPStatus.TOO_MANY_REQUESTS:
            return "rate_limit_error"
        case _ if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return "invalid_request_error"
    return "api_error"


def add_error_handlers(gateway: FastAPI) -> None:
    """Every error that a route may raise ends in one of these forms."""

    @gateway.exception_handler(ApiError)
    async def api_error(request: Request, error: ApiError) -> Response:
        return answer_error(request, error)

    @gateway.exception_handler(NotFound)
    async def not_found(request: Request, error: NotFound) -> Response:
        return answer_error(request, ApiError(HTTPStatus.NOT_FOUND, str(error)))

    @gateway.exception_handler(InvalidSchedule)
    @gateway.exception_handler(InvalidRequest)
    async def invalid(request: Request, error: InvalidRequest | InvalidSchedule) -> Response:
        return answer_error(request, read_refusal(error, status=HTTPStatus.UNPROCESSABLE_ENTITY))

    @gateway.exception_handler(DatabaseUnavailable)
    async def unavailable(request: Request, error: DatabaseUnavailable) -> Response:
        log.warning("request_not_served", path=request.url.path, error=str(error))
        # Not that nothing was recorded: the answer to a commit may have been lost.
        detail = "the database cannot be reached; try again, best with an Idempotency-Key"
        headers = {"Retry-After": str(RETRY_SECONDS)}
        return answer_error(
            request, ApiError(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=headers)
        )

    @gateway.exception_handler(RequestValidationError)
    async def not_valid(request: Request, error: RequestValidationError) -> Response:
        problems = [
            f"{'.'.join(str(part) for part in one['loc'][1:]) or one['loc'][0]}: {one['msg']}"
            for one in error.errors()
        ]
        wanted = HTTPStatus.UNPROCESSABLE_ENTITY
        return answer_error(request, ApiError(wanted, "; ".join(problems), problems=problems))

    @gateway.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        detail = str(error.detail)
        if error.status_code == HTTPStatus.NOT_FOUND:
            detail = f"there is nothing at {request.method} {request.url.path}"
        return answer_error(
            request, ApiError(error.status_code, detail, headers=dict(error.headers or {}))
        )

    @gateway.exception_handler(ClientGone)  # while it was waited for
    @gateway.exception_handler(ClientDisconnect)  # while its body was read
    async def gone(_request: Request, _error: ClientGone | ClientDisconnect) -> Response:
        return Response(status_code=CLIENT_CLOSED)

    @gateway.exception_handler(Exception)
    async def bug(request: Request, error: Exception) -> Response:
        log.error("request_failed", path=request.url.path, exc_info=error)
        detail = "an error of Pressroom's own, which its log tells of"
        return answer_error(request, ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, detail))
