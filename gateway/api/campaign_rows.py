"""Files of prompts, handed in before the campaign that is made of them: kept, read, named.

What is said of a file is a ticket, signed: a campaign takes no other for a file, so nobody has
somebody's stored files read as prompts.
"""

import asyncio
import hashlib
import hmac
import itertools
import re
import tempfile
from http import HTTPStatus
from pathlib import Path, PurePath
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from gateway.api.answers.campaigns import RowsForm
from gateway.api.answers.problems import ERRORS, problems
from gateway.callers import Running
from gateway.errors import ApiError
from gateway.json_response import JsonResponse
from gateway.state import get_state
from tasks.campaigns.prompt_file import PromptFileError, read_rows
from workers.runtime import Runtime
from workers.store import file_key, write

FILE_BYTES = 100_000_000
READ_AT_ONCE = 100  # rows: enough to know that it is of its kind

_ENDING = re.compile(r"(?:\.[a-z0-9]{1,8}){1,2}$")

routes = APIRouter(prefix="/campaigns", tags=["campaigns"], responses=ERRORS)


@routes.post(
    "/rows",
    status_code=HTTPStatus.CREATED,
    response_model=RowsForm,
    summary="Hand in a file of prompts",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
            },
        }
    },
    responses=problems({413: f"The file is larger than {FILE_BYTES:,} bytes."}),
)
async def add(
    request: Request,
    _caller: Running,
    name: Annotated[
        str,
        Query(
            min_length=1,
            max_length=200,
            pattern=r"^[^\x00-\x1f\x7f/\\]+$",
            description="Its ending says what it is: tsv, csv, jsonl or txt; then perhaps gz.",
        ),
    ],
) -> Response:
    """The file is the body, as it is. Its first rows are read; all of them are when a campaign is
    planned of it, with `prompts: {file: NAME}` and `rows` as it is said here.
    """
    runtime = get_state(request).runtime
    with tempfile.TemporaryDirectory(prefix="pressroom-") as folder:
        path = Path(folder) / f"rows{_find_ending(name)}"
        digest, size = await _save(request, path)
        try:
            columns = await asyncio.to_thread(_read_columns, path)
        except PromptFileError as error:
            error.path = PurePath(name).name
            raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
        key = file_key(digest, _find_ending(name))
        await write(runtime.store, key, path)
    told = {"rows": _sign(runtime, key), "name": name, "bytes": size, "columns": columns}
    return JsonResponse(told, HTTPStatus.CREATED, headers=request.state.limits)


def open_ticket(runtime: Runtime, ticket: str) -> str:
    """The key of the file in the store.

    Raises:
        ApiError: 422 it is none of ours.
    """
    key = ticket.rpartition(":")[0]
    if not hmac.compare_digest(_sign(runtime, key).encode(), ticket.encode("utf-8", "replace")):
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "rows: what POST /campaigns/rows answered was wanted"
        )
    return key


def _sign(runtime: Runtime, key: str) -> str:
    return f"{key}:{runtime.secret.sign_link(f'rows:{key}')}"


def _find_ending(name: str) -> str:
    found = _ENDING.search(name.lower())
    return found[0] if found else ""


async def _save(request: Request, path: Path) -> tuple[str, int]:
    """Returns the SHA-256 and the size.

    Raises:
        ApiError: 413 it is too large.
    """
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        async for chunk in request.stream():
            size += len(chunk)
            if size > FILE_BYTES:
                raise ApiError(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    f"a file of more than {FILE_BYTES // 1_000_000} MB came; gzip it, or hand it "
                    "in with pressroom campaign start",
                    headers={"Connection": "close"},
                )
            await asyncio.to_thread(file.write, chunk)
            digest.update(chunk)
    return digest.hexdigest(), size


def _read_columns(path: Path) -> list[str]:
    first = list(itertools.islice(read_rows(path), READ_AT_ONCE))
    return [name for name in first[0].values if name]
