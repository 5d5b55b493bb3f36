"""Which functions use what a mutant changes where no test calls it."""

import pytest

from scripts.mutations.users import find_users

SOURCES = {
    "models/lane.py": """
LIMIT = 5
STATES: dict[str, str] = {stage: "waits" for stage in ("queued",)}


def due_rows(stage):
    return f"{stage} {STATES}"


def close():
    return LIMIT
""",
    "models/claims.py": """
from models import lane

CLAIM = lane.due_rows("submit")


def claim():
    return CLAIM


class Claims:
    async def claim_more(self):
        return lane.LIMIT


def forget():
    return None
""",
}
CALLED = {
    "models/lane.py:close",
    *(f"models/claims.py:{name}" for name in ("claim", "claim_more", "forget")),
}


@pytest.mark.parametrize(
    ("line", "users"),
    [
        (2, {"models/lane.py:close", "models/claims.py:claim_more"}),
        (3, {"models/claims.py:claim"}),
        (7, {"models/claims.py:claim"}),
    ],
    ids=["a constant", "of what a constant is made", "a function that ran at loading"],
)
def test_users_are_found_through_what_is_made_of_it(line, users):
    assert find_users(SOURCES, "models/lane.py", line, called=CALLED) == users
