"""What there is to take pictures of. A new page is a line here."""

from collections.abc import Callable
from dataclasses import dataclass

from scripts.views.fill import Filled

NOBODY = "nobody"


@dataclass(frozen=True)
class View:
    """
    Attributes:
        path: under /web, of what the stack was filled with.
        wait_for: a selector of what is there once the page shows what it is for.
        who: whose key signs in, by its name in `Filled.secrets`; or NOBODY.
        whole: the picture is of all of it, however long; else of the first screen.
    """

    name: str
    path: Callable[[Filled], str]
    wait_for: str
    who: str = "operator"
    whole: bool = False


def _of_campaign(filled: Filled) -> str:
    return f"/campaigns/{filled.campaigns['night posters']}"


ROW = ".pr-table tbody tr >> nth=0"
VIEWS = (
    View("login", lambda _: "/login", "form", who=NOBODY),
    View("playground", lambda _: "/", ".pr-bench-form"),
    View(
        "playground-run",
        lambda filled: f"/?job={filled.jobs['completed']}",
        ".pr-preview img, .pr-preview video",
    ),
    View("history", lambda _: "/history", ".pr-past >> nth=0", who="studio"),
    View("compare", lambda _: "/compare", ".pr-sides"),
    View("campaigns", lambda _: "/campaigns", ROW),
    View("campaign", _of_campaign, ".pr-parts"),
    View("gallery", lambda filled: f"{_of_campaign(filled)}/gallery", ".pr-gallery img >> nth=0"),
    View("schedules", lambda _: "/schedules", ROW),
    View("floor", lambda _: "/floor", ROW),
    View("jobs", lambda _: "/jobs", ROW),
    View("job", lambda filled: f"/jobs/{filled.jobs['completed']}", ".pr-timeline"),
    View("job-failed", lambda filled: f"/jobs/{filled.jobs['failed']}", ".pr-timeline"),
    View("money", lambda _: "/money", ".pr-ranks tbody tr >> nth=0", whole=True),
    View("money-own", lambda _: "/money", ".pr-ranks tbody tr >> nth=0", who="studio"),
    View(
        "budget",
        lambda filled: f"/money/budgets/{filled.budgets['campaign product films']}",
        ".pr-wall",
    ),
    View("keys", lambda _: "/keys", ".pr-table tbody tr >> nth=0"),
    View("audit", lambda _: "/audit", ".pr-act >> nth=0"),
    View("no-entry", lambda _: "/keys", ".pr-state", who="dashboards"),
)
