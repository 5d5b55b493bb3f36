"""Errors that Pressroom raises on purpose.

PressroomError
+- DatabaseUnavailable   Postgres could not be reached, or lacks our tables
+- NotFound              no job, campaign or artifact has this id
"""


class PressroomError(Exception):
    """The base: its text is meant for a person and says what to do."""


class DatabaseUnavailable(PressroomError):
    """Postgres could not be reached, or has not been migrated."""


class NotFound(PressroomError):
    """Nothing has this id."""

    def __init__(self, what: str, given: str) -> None:
        super().__init__(what, given)
        self.what = what
        self.given = given

    def __str__(self) -> str:
        return f"no {self.what} has the id {self.given!r}"
