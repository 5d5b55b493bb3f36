"""An API key as JSON: with its secrets once, when it is made, and without them after."""

from typing import Any

from models.key import ApiKey, IssuedKey
from workers.secret import Secret


def describe_key(row: ApiKey) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "name": row.name,
        "shown": f"{row.shown}...",
        "scopes": row.scopes,
        "requests_per_second": row.requests_per_second,
        "result_cache": row.result_cache,
        "weight": row.weight,
        "created_at": row.created_at.isoformat(),
        "revoked_at": row.revoked_at.isoformat() if row.revoked_at else None,
        "previous_until": row.previous_until.isoformat() if row.previous_until else None,
    }


def describe_issued(issued: IssuedKey, secret: Secret) -> dict[str, Any]:
    """With the key itself, and what signs its webhooks."""
    return {
        **describe_key(issued.row),
        "key": issued.secret,
        "webhook_secret": secret.webhook_secret(issued.row.id, issued.row.webhook_version),
    }
