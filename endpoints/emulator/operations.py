"""The operations of the job API, one function each, behind what `calls` does for all of them."""

import asyncio
from contextlib import suppress
from http import HTTPStatus
from typing import Final

from aiohttp import web

from endpoints.emulator.bodies import BadRequest, RunBody, parse_run_body
from endpoints.emulator.calls import Call, Refused, json_response
from endpoints.emulator.faults import FaultKind
from endpoints.emulator.jobs import Job, State
from endpoints.emulator.outputs import text_pieces
from endpoints.emulator.replies import job_reply

RUN_BODY_BYTES: Final = 10 * 10**6
RUNSYNC_BODY_BYTES: Final = 20 * 10**6
WAIT_MS: Final = (1_000, 300_000)
USUAL_WAIT_MS: Final = 90_000
PIECES_A_REPLY: Final = 4  # of a stream


async def run(call: Call) -> web.Response:
    """Accept a job and answer with its id."""
    body = await read_run_body(call, most_bytes=RUN_BODY_BYTES)
    job = call.upstream.accept(call.served, body, sync=False, base_url=base_url(call.request))
    return json_response({"id": job.id, "status": State.IN_QUEUE})


async def runsync(call: Call) -> web.Response:
    """Accept a job and answer when it has ended, or when the wait is over, whichever is first."""
    wait_seconds = read_wait(call.request)
    body = await read_run_body(call, most_bytes=RUNSYNC_BODY_BYTES)
    job = call.upstream.accept(call.served, body, sync=True, base_url=base_url(call.request))
    await wait_for_end(call, job, wait_seconds)
    return reply(call, job)


async def status(call: Call) -> web.Response:
    """Say what has become of a job."""
    return reply(call, find_job(call))


async def status_sync(call: Call) -> web.Response:
    """Say what has become of a job when it has ended, or when the wait is over."""
    job = find_job(call)
    await wait_for_end(call, job, read_wait(call.request))
    return reply(call, job)


async def stream(call: Call) -> web.Response:
    """Hand out the next pieces of a job's output: {status, stream: [{output}]}."""
    job = find_job(call)
    pieces = text_pieces(job.output)[job.streamed :] if job.output is not None else []
    handed_out = pieces[:PIECES_A_REPLY]
    job.streamed += len(handed_out)
    state = job.state if len(handed_out) == len(pieces) else State.IN_PROGRESS
    return json_response({"status": state, "stream": [{"output": piece} for piece in handed_out]})


async def cancel(call: Call) -> web.Response:
    """Stop a job; one that has ended is answered with how it did."""
    job = find_job(call)
    call.upstream.store.cancel(job, call.now)
    return json_response({"id": job.id, "status": job.state})


async def retry(call: Call) -> web.Response:
    """Queue a FAILED or TIMED_OUT job again."""
    job = find_job(call)
    if job.state not in {State.FAILED, State.TIMED_OUT}:
        raise BadRequest(f"retry: the job is {job.state}, it must be FAILED or TIMED_OUT")
    call.upstream.retry(call.served, job)
    return json_response({"id": job.id, "status": job.state})


async def purge_queue(call: Call) -> web.Response:
    """Cancel every queued job of the endpoint."""
    removed = call.upstream.store.purge_queue(call.served.name, call.now)
    return json_response({"removed": removed, "status": "completed"})


async def health(call: Call) -> web.Response:
    """Count the endpoint's jobs and workers."""
    pool = call.served.pool
    idle = 1 if pool.workers is None else max(0, pool.workers - pool.running)
    jobs = {
        "completed": pool.ended[State.COMPLETED],
        "failed": pool.ended[State.FAILED],
        "inProgress": pool.running,
        "inQueue": len(pool.queued),
        "retried": pool.retried,
    }
    workers = {"idle": idle, "initializing": 0, "ready": idle, "running": pool.running}
    return json_response({"jobs": jobs, "workers": {**workers, "throttled": 0}})


async def read_run_body(call: Call, *, most_bytes: int) -> RunBody:
    """Return the request's body.

    Raises:
        Refused: it is too large.
        BadRequest: it is not what the endpoint takes.
    """
    raw = await read_bytes(call.request, most_bytes=most_bytes)
    body = parse_run_body(raw)
    problems = call.served.find_problems(body.input)
    if problems:
        raise BadRequest("; ".join(problems))
    return body


async def read_bytes(request: web.Request, *, most_bytes: int) -> bytes:
    """Return the request's raw body.

    Raises:
        Refused: it is larger than `most_bytes`.
    """
    if (request.content_length or 0) <= most_bytes:
        with suppress(web.HTTPRequestEntityTooLarge):  # without a length, only reading it tells
            raw = await request.read()
            if len(raw) <= most_bytes:
                return raw
    raise Refused(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {most_bytes} bytes"
    )


def read_wait(request: web.Request) -> float:
    """Return the emulated seconds that ?wait asks for.

    Raises:
        BadRequest: it is no number of milliseconds, or out of bounds.
    """
    came = request.query.get("wait", str(USUAL_WAIT_MS))
    least, most = WAIT_MS
    if not came.isascii() or not came.isdigit() or not least <= int(came) <= most:
        raise BadRequest(f"wait: {came!r} is not an integer {least} to {most} (ms)")
    return int(came) / 1000


async def wait_for_end(call: Call, job: Job, seconds: float) -> None:
    """Wait until a job has ended or is forgotten, at most `seconds` of the emulated clock."""
    if job.state.ended:
        return
    ended = asyncio.get_running_loop().create_future()
    job.waiters.append(ended)
    clock = call.upstream.clock
    deadline = clock.real_seconds(seconds) if clock.factor else None
    stopped = asyncio.ensure_future(call.upstream.stopping.wait())
    try:
        await asyncio.wait({ended, stopped}, timeout=deadline, return_when="FIRST_COMPLETED")
    finally:
        stopped.cancel()
        if ended in job.waiters:
            job.waiters.remove(ended)


def find_job(call: Call) -> Job:
    """Return the job that the path names.

    Raises:
        Refused: nobody knows it (any more), or a fault says so.
    """
    job = call.upstream.store.find_job(call.served.name, call.request.match_info["job"])
    hidden = call.upstream.faults.strike(
        FaultKind.NOT_FOUND, endpoint=call.served.name, operation=call.operation
    )
    if job is None or hidden:
        raise Refused(HTTPStatus.NOT_FOUND, "job not found")
    return job


def reply(call: Call, job: Job) -> web.Response:
    """Return the job's reply."""
    return json_response(job_reply(job, names_worker=call.served.names_worker))


def base_url(request: web.Request) -> str:
    """Return how the caller reached the emulator: what links to files start with."""
    return f"{request.scheme}://{request.host}"
