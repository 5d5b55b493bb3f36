"""How a request is refused: every answer that is no success."""

from typing import Any

from pydantic import BaseModel

PROBLEM_SCHEMA = {"$ref": "#/components/schemas/Problem"}


def problems(said: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    """Errors of a route in the document: what each code means there."""
    return {
        code: {
            "description": meaning,
            "content": {"application/problem+json": {"schema": PROBLEM_SCHEMA}},
        }
        for code, meaning in said.items()
    }


ERRORS = problems(
    {
        400: "The request is malformed.",
        401: "No API key, or no good one.",
        403: "The key may not do this.",
        404: "There is nothing of this name that the key may see.",
        422: "The request is well-formed, and what it says is not possible.",
        429: "The key makes too many requests; `Retry-After` says when to come again.",
        503: "Something that is needed does not answer; `Retry-After` says when to come again.",
    }
)


BODY_ERRORS = problems({413: "The body is too large.", 415: "The body is not JSON."})


class Problem(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    problems: list[str] = []
