"""The JSON that tells a caller what has become of a job.

Fields are left out, never null, and not every job shows the optional ones: the upstream's pages
show some replies with a workerId or an echo of the input and some without.
"""

from uuid import uuid4

from endpoints.emulator.jobs import Job, State

ID_SUFFIXES = ("-u1", "-u1", "-e1", "-u2", "-22", "")
SAYS_RUNNING = 0x3  # one job in four calls itself RUNNING, never IN_PROGRESS
ECHOES_INPUT = 0x4  # one in two shows its input while it runs
SHOWS_WORKER = 0x8  # one in two names its worker


def new_job_id(*, quirk: int, sync: bool) -> str:
    """Return an id in one of the shapes that the upstream has been seen to use."""
    return f"{'sync-' if sync else ''}{uuid4()}{ID_SUFFIXES[quirk % len(ID_SUFFIXES)]}"


def refusal(error: str) -> dict[str, object]:
    """Return the body of a 400: it carries an id although nothing was accepted."""
    return {"id": f"sync-{uuid4()}", "status": State.FAILED, "error": error}


def job_reply(job: Job, *, names_worker: bool) -> dict[str, object]:
    """Return the body of a status reply, times in whole emulated milliseconds.

    `names_worker` says whether the endpoint's replies ever hold a workerId.
    """
    reply: dict[str, object] = {"id": job.id, "status": _status(job)}
    if job.started_at is None:
        return reply
    reply["delayTime"] = round((job.started_at - job.submitted_at) * 1000)
    if names_worker and job.quirk & SHOWS_WORKER:
        reply["workerId"] = f"emulated-{job.quirk % 64:02d}"
    if job.ended_at is None:
        if job.quirk & ECHOES_INPUT:
            reply["input"] = job.input
        return reply
    reply["executionTime"] = round((job.ended_at - job.started_at) * 1000)
    if job.output is not None:
        reply["output"] = job.output
    if job.error is not None:
        reply["error"] = job.error
    return reply


def _status(job: Job) -> str:
    if job.state is State.IN_PROGRESS and not job.quirk & SAYS_RUNNING:
        return "RUNNING"
    return job.state.value
