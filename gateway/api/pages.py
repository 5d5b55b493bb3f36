"""Lists, a page at a time: each page says where the next begins, however much was added since."""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Annotated, TypeVar
from uuid import UUID

from fastapi import Query

from gateway.errors import ApiError

T = TypeVar("T")

LIMIT_MOST = 1_000

Limit = Annotated[int, Query(ge=1, le=LIMIT_MOST, description="Of one page.")]
Cursor = Annotated[str | None, Query(max_length=64, description="`next` of the page before.")]


def read_cursor(cursor: str | None) -> UUID | None:
    """
    Raises:
        ApiError: 422 it is none of ours.
    """
    if cursor is None:
        return None
    try:
        return UUID(cursor)
    except ValueError:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "cursor: `next` of the page before was wanted"
        ) from None


def cut_page(
    rows: Sequence[T], limit: int, get_id: Callable[[T], UUID]
) -> tuple[Sequence[T], str | None]:
    """The page, of one row more than it holds, and where the next begins."""
    if len(rows) <= limit:
        return rows, None
    page = rows[:limit]
    return page, str(get_id(page[-1]))
