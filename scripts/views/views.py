"""What there is to take pictures of. A new page is a line here."""

from collections.abc import Callable
from dataclasses import dataclass

from scripts.views.fill import Filled


@dataclass(frozen=True)
class View:
    """
    Attributes:
        path: under /web, of what the stack was filled with.
        wait_for: a selector of what is there once the page shows what it is for.
        who: whose key signs in, by its name in `Filled.secrets`.
        whole: the picture is of all of it, however long; else of the first screen.
    """

    name: str
    path: Callable[[Filled], str]
    wait_for: str
    who: str = "operator"
    whole: bool = False


VIEWS = (
    View("money", lambda _: "/money", ".pr-ranks tbody tr >> nth=0", whole=True),
    View("money-own", lambda _: "/money", ".pr-ranks tbody tr >> nth=0", who="studio"),
    View("budget", lambda filled: f"/money/budgets/{filled.budgets['films']}", ".pr-wall"),
    View("keys", lambda _: "/keys", ".pr-table tbody tr >> nth=0"),
    View("audit", lambda _: "/audit", ".pr-act >> nth=0"),
    View("no-entry", lambda _: "/keys", ".pr-state", who="dashboards"),
)
