"""Signing in with an API key, and out again. A plain form: browsers fill it in, and it needs no
script.
"""

import importlib.resources
from http import HTTPStatus
from typing import Annotated
from urllib.parse import quote, urlsplit

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment

from gateway.errors import ApiError
from gateway.state import get_state
from gateway.web.addresses import FIRST, FONTS, WEB
from gateway.web.sessions import clear_cookie, find_visitor, set_cookie, sign_in
from models.errors import DatabaseUnavailable

routes = APIRouter(prefix=WEB, include_in_schema=False)

AGAIN_SECONDS = 5

_folder = importlib.resources.files("gateway.web")
_templates = Environment(autoescape=True)
_templates.globals["fonts"] = FONTS
_page = _templates.from_string((_folder / "login.html").read_text())
_away = _templates.from_string((_folder / "away.html").read_text())


def login_address(came_for: str) -> str:
    """Where to sign in, and then to what one came for."""
    return f"{WEB}/login?next={quote(came_for, safe='')}"


@routes.get("/login")
async def login(request: Request, next: str = FIRST) -> Response:  # noqa: A002 -- in the URL
    try:
        if await find_visitor(get_state(request), request):
            return RedirectResponse(_own_page(next), HTTPStatus.SEE_OTHER)
    except DatabaseUnavailable:
        return draw_away()
    return _draw(next)


@routes.post("/login")
async def log_in(
    request: Request,
    key: Annotated[str, Form()] = "",
    next: Annotated[str, Form()] = FIRST,  # noqa: A002 -- as in the URL
) -> Response:
    if not _is_ours(request):
        return _draw(next, "This form was sent from another site.", status=HTTPStatus.FORBIDDEN)
    try:
        cookie = await sign_in(get_state(request), request, key)
    except ApiError as error:
        return _draw(next, error.detail, status=error.status)
    except DatabaseUnavailable:
        return draw_away()
    if cookie is None:
        said = "That key opens nothing: it is mistyped, or was revoked."
        if not key.strip():
            said = "Paste an API key. It begins with prk_."
        return _draw(next, said, status=HTTPStatus.UNAUTHORIZED)
    response = RedirectResponse(_own_page(next), HTTPStatus.SEE_OTHER)
    set_cookie(response, request, cookie)
    return response


@routes.post("/logout")
async def log_out(request: Request) -> Response:
    if not _is_ours(request):
        return _draw(FIRST, "This form was sent from another site.", status=HTTPStatus.FORBIDDEN)
    response = RedirectResponse(f"{WEB}/login", HTTPStatus.SEE_OTHER)
    clear_cookie(response)
    return response


def draw_away() -> HTMLResponse:
    """What there is to see while the database is not."""
    page = _away.render(seconds=AGAIN_SECONDS)
    return HTMLResponse(page, HTTPStatus.SERVICE_UNAVAILABLE)


def _draw(came_for: str, problem: str = "", *, status: int = HTTPStatus.OK) -> HTMLResponse:
    return HTMLResponse(_page.render(next=_own_page(came_for), problem=problem), status)


def _own_page(address: str) -> str:
    """Where to go after: a page of ours, whatever the address says."""
    parts = urlsplit(address)
    away = parts.scheme or parts.netloc or "\\" in address
    return FIRST if away or not parts.path.startswith(f"{WEB}/") else address


def _is_ours(request: Request) -> bool:
    """Whether the form was on a page of ours, which browsers tell and no page can change."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")
