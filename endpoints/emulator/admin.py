"""The emulator's own controls, under /admin: for tests, benches and demos on the same machine."""

import functools
import ipaddress
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, TypeAlias

from aiohttp import web

from endpoints.emulator.bodies import BadRequest, parse_object
from endpoints.emulator.calls import Handler, error_response, json_response
from endpoints.emulator.faults import FaultError
from endpoints.emulator.jobs import State
from endpoints.emulator.limits import OPERATIONS, Gate
from endpoints.emulator.line import LINE
from endpoints.emulator.upstream import UPSTREAM, Upstream

LONGEST_CUT_SECONDS: Final = 3600.0
PACE: Final = dict.fromkeys(["execution_seconds", "workers", "spread"]).keys()
Control: TypeAlias = Callable[[Upstream, web.Request], Awaitable[object]]


def add_admin_routes(app: web.Application) -> None:
    """Add every control to the application."""
    app.router.add_get("/admin/ledger", _control(show_ledger))
    app.router.add_get("/admin/stats", _control(show_stats))
    app.router.add_get("/admin/faults", _control(list_faults))
    app.router.add_post("/admin/faults", _control(arm_fault))
    app.router.add_delete("/admin/faults", _control(clear_faults))
    app.router.add_delete("/admin/faults/{id}", _control(disarm_fault))
    app.router.add_post("/admin/custom", _control(add_custom))
    app.router.add_post("/admin/limits", _control(change_limit))
    app.router.add_post("/admin/clock", _control(skip_time))
    app.router.add_post("/admin/network", _control(cut_network))
    app.router.add_post("/admin/reset", _control(reset))


async def show_ledger(upstream: Upstream, request: web.Request) -> object:
    """What ran and was billed; with ?entries=1, bill by bill, when by both clocks."""
    ledger = upstream.ledger
    shown: dict[str, object] = {
        "total_usd": f"{ledger.total_usd:f}",
        "jobs": len(ledger),
        "by_endpoint": {name: f"{usd:f}" for name, usd in ledger.by_endpoint.items()},
    }
    if request.query.get("entries") == "1":
        shown["entries"] = [
            {
                "id": entry.id,
                "endpoint": entry.endpoint,
                "cost": None if entry.cost is None else f"{entry.cost:f}",
                "at": entry.at,
                "unix": upstream.clock.unix(entry.at),
                "prompt": entry.prompt,
            }
            for entry in ledger
        ]
    return shown


async def show_stats(upstream: Upstream, _request: web.Request) -> object:
    """What was asked, how it was answered, and how close to the limits it came."""
    peaks: dict[tuple[str, str], Gate] = {}
    for (_, endpoint, operation), gate in upstream.gates.items():
        peak = peaks.setdefault((endpoint, operation), Gate(None, None))
        peak.peak_window = max(peak.peak_window, gate.peak_window)
        peak.peak_concurrent = max(peak.peak_concurrent, gate.peak_concurrent)
    endpoints: dict[str, dict[str, object]] = {}
    for (endpoint, operation), tally in upstream.stats.tallies.items():
        peak = peaks.get((endpoint, operation), Gate(None, None))
        endpoints.setdefault(endpoint, {})[operation] = {
            "requests": tally.requests,
            "answered": dict(tally.answered),
            "rejected_429": tally.rejected_429,
            "peak_window": peak.peak_window,
            "peak_concurrent": peak.peak_concurrent,
        }
    pools = [served.pool for served in upstream.served.values()]
    jobs = {
        "accepted": upstream.stats.accepted,
        "queued": sum(len(pool.queued) for pool in pools),
        "running": sum(pool.running for pool in pools),
        **{state.lower(): sum(p.ended[state] for p in pools) for state in State if state.ended},
        "retried": sum(pool.retried for pool in pools),
        "lost": upstream.stats.lost,
        "remembered": len(upstream.store),
    }
    hooks = upstream.webhooks
    return {
        "emulated_seconds": upstream.clock.now(),
        "endpoints": endpoints,
        "jobs": jobs,
        "webhooks": {"sent": hooks.sent, "failed": hooks.failed, "given_up": hooks.given_up},
        "files": len(upstream.shelf),
    }


async def list_faults(upstream: Upstream, _request: web.Request) -> object:
    """Every fault, with how often it struck."""
    return upstream.faults.list_armed()


async def arm_fault(upstream: Upstream, request: web.Request) -> object:
    """Arm a fault."""
    return {"id": upstream.faults.arm(parse_object(await request.read())).id}


async def clear_faults(upstream: Upstream, _request: web.Request) -> object:
    """Take every fault away."""
    upstream.faults.clear()
    return {}


async def disarm_fault(upstream: Upstream, request: web.Request) -> object:
    """Take one fault away."""
    return {"disarmed": upstream.faults.disarm(request.match_info["id"])}


async def add_custom(upstream: Upstream, request: web.Request) -> object:
    """Serve an endpoint of somebody's own: {endpoint, execution_seconds?, workers?, spread?}."""
    body = parse_object(await request.read())
    match body:
        case {"endpoint": str(name)} if name in upstream.served:
            raise BadRequest(f"endpoint: {name!r} is served already")
        case {"endpoint": str(name), **pace} if name and not pace.keys() - PACE:
            seconds, workers, spread = (pace.get(field) for field in PACE)
            if (
                not isinstance(seconds, int | float | None)
                or not isinstance(workers, int | None)
                or not isinstance(spread, int | float | None)
            ):
                raise BadRequest(f"wanted numbers, {pace} came")
            upstream.add_custom(name, execution_seconds=seconds, workers=workers, spread=spread)
            return {"endpoint": name}
    raise BadRequest(f"wanted {{endpoint, {'?, '.join(PACE)}?}}, {body} came")


async def change_limit(upstream: Upstream, request: web.Request) -> object:
    """Have another limit from now on: {operation, per_window, concurrent}; null lifts one."""
    match parse_object(await request.read()):
        case {
            "operation": str(operation),
            "per_window": int() | None as per_window,
            "concurrent": int() | None as concurrent,
        } if operation in OPERATIONS:
            upstream.set_limit(operation, per_window, concurrent)
            return {"operation": operation, "per_window": per_window, "concurrent": concurrent}
    raise BadRequest(
        "wanted {operation, per_window, concurrent}: one of "
        f"{', '.join(sorted(OPERATIONS))}, and whole numbers or null"
    )


async def skip_time(upstream: Upstream, request: web.Request) -> object:
    """Jump ahead on the emulated clock: {skip_seconds}."""
    match parse_object(await request.read()):
        case {"skip_seconds": int() | float() as seconds}:
            upstream.clock.skip(seconds)
            return {"emulated_seconds": upstream.tick()}
    raise BadRequest("skip_seconds: a number is required")


async def cut_network(_upstream: Upstream, request: web.Request) -> object:
    """Be out of reach for some real seconds, these controls too: {cut_seconds}."""
    line = request.app.get(LINE)
    if line is None:
        raise BadRequest("there is no network to cut: the emulator listens by somebody else's hand")
    match parse_object(await request.read()):
        case {"cut_seconds": int() | float() as seconds} if 0 < seconds <= LONGEST_CUT_SECONDS:
            line.cut(seconds)
            return {"cut_seconds": seconds}
    raise BadRequest(f"cut_seconds: a number above 0 and up to {LONGEST_CUT_SECONDS:g} is required")


async def reset(upstream: Upstream, _request: web.Request) -> object:
    """Forget every job, file, bill, fault and figure."""
    upstream.reset()
    return {}


def _control(control: Control) -> Handler:
    @functools.wraps(control)
    async def handle(request: web.Request) -> web.StreamResponse:
        if not ipaddress.ip_address(request.remote or "0.0.0.0").is_loopback:  # noqa: S104 -- stands for nobody
            return error_response(HTTPStatus.FORBIDDEN, "only from this machine")
        upstream = request.app[UPSTREAM]
        upstream.tick()
        try:
            return json_response(await control(upstream, request))
        except (BadRequest, FaultError, ValueError) as error:
            return error_response(HTTPStatus.BAD_REQUEST, str(error))

    return handle
