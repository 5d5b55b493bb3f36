"""The declarative base: column types and names stand here once."""

import datetime as dt
import enum
from decimal import Decimal
from typing import Annotated, Any, cast
from uuid import UUID

import uuid_utils.compat
from sqlalchemy import JSON, CursorResult, DateTime, Enum, MetaData, Numeric, Result, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, mapped_column

SUSPECT_DEATHS = 3  # of workers that held a row, in a row: it is worked on no more
# Rows whose second holder died, or is about to: if its lease runs out, that was the third.
SUSPECTED = f"deaths >= {SUSPECT_DEATHS - 1} AND lease IS NOT NULL"

HELD_YEAR = 9999
# When a queued job is due that is held: hold.py. A time that Python can read, unlike infinity.
HELD_UNTIL = f"timestamptz '{HELD_YEAR}-01-01 00:00:00+00'"
HELD = f"next_at >= {HELD_UNTIL}"

Usd = Annotated[Decimal, mapped_column(Numeric(18, 10))]
Json = dict[str, Any]


def new_id() -> UUID:
    """A UUIDv7: sorts by the time it was made, so that indexes on it stay narrow."""
    return uuid_utils.compat.uuid7()


def say_plainly(usd: Decimal) -> str:
    """As a decimal number of no more digits than it needs."""
    return f"{usd.normalize():f}"


def count_rows(result: Result[Any]) -> int:
    """How many rows a statement that returns none has written."""
    return cast("CursorResult[Any]", result).rowcount


def word_column(words: type[enum.StrEnum], *, name: str | None = None) -> Enum:
    """A text column that takes the values of `words` and, by a check constraint, no others."""
    return Enum(
        words,
        native_enum=False,
        length=32,
        create_constraint=True,
        name=name or f"{words.__name__.lower()}_known",
        values_callable=lambda members: [member.value for member in members],
    )


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "%(table_name)s_%(column_0_N_name)s",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
            "ck": "%(table_name)s_%(constraint_name)s",
            "fk": "%(table_name)s_%(column_0_name)s_fkey",
            "pk": "%(table_name)s_pkey",
        }
    )
    type_annotation_map = {  # noqa: RUF012 -- SQLAlchemy's own interface
        str: Text(),
        UUID: Uuid(),
        dt.datetime: DateTime(timezone=True),
        Json: JSONB(none_as_null=True),
        Any: JSONB(none_as_null=True),
        JSON: JSONB(none_as_null=True),
    }
