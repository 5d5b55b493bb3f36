"""Who asks, for the audit log."""

from fastapi import Request

from models.audit import Actor
from models.key import Caller

LONGEST = 100  # characters of what a caller names its request


def actor_of(request: Request, caller: Caller) -> Actor:
    """The key, where it came from, and what its program calls the request."""
    named = request.headers.get("x-request-id", "")[:LONGEST]
    return Actor(
        name=caller.name,
        key_id=caller.key_id,
        source=request.client.host if request.client else None,
        request_id=named if named and named.isprintable() else None,
    )
