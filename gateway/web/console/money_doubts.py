"""What nobody knows the outcome of: in money, by key, and the jobs that it is of."""

from typing import Any

from nicegui import ui

from gateway.web.parts.acts import attempt
from gateway.web.parts.data_table import Column, DataTable
from gateway.web.parts.heads import section
from gateway.web.parts.live import Live
from gateway.web.parts.states import empty
from gateway.web.parts.tags import box, text
from gateway.web.parts.tiles import Tile, tiles
from gateway.web.visit import Visit
from gateway.words import say_usd

READ_SECONDS = 15.0
FEW = 10  # jobs at once
KINDS = (
    ("Perhaps for nothing", "possibly_for_nothing"),
    ("Perhaps twice", "possibly_twice"),
    ("Twice, for certain", "certainly_twice"),
    ("Answered with a 5xx", "answered_5xx"),
)
ABOUT = (
    "Requests whose reply was lost, or whose job the upstream forgot. They may have been billed; "
    "each job's attempts show why."
)

Found = tuple[dict[str, Any], list[str], str | None, dict[str, str]]


def draw_doubts(visit: Visit) -> None:
    async def read() -> Found:
        sums = await visit.api.get("/api/v1/doubts")
        page = await visit.api.get("/api/v1/doubts/jobs", limit=FEW)
        names: dict[str, str] = {}
        if sums["keys"]:
            keys = (await visit.api.get("/api/v1/keys"))["keys"]
            names = {key["id"]: key["name"] for key in keys}
        return sums, page["jobs"], page["next"], names

    def draw(found: Found) -> None:
        sums, jobs, following, names = found
        if not jobs and not any(sums[kind] for _, kind in KINDS):
            with box(classes="pr-sheet"):
                hint = "Every request was answered, or found again."
                empty("Nothing is in doubt", hint, icon="verified")
            return
        with tiles():
            for name, kind in KINDS:
                count = sums[kind]
                note = f"{count:,} {'attempt' if count == 1 else 'attempts'}"
                tone = "warn" if count and not kind.startswith("answered") else ""
                Tile(name, say_usd(sums[f"{kind}_usd"]), note, tone=tone)
        if sums["unpriced"]:
            text("p", f"{sums['unpriced']:,} of them have no known price.", "pr-small")
        with box(classes="pr-split"):
            if sums["keys"]:
                with box(classes="pr-sheet"):
                    _draw_keys(sums["keys"], names)
            if jobs:
                with box(classes="pr-sheet pr-stack"):
                    _draw_jobs(visit, jobs, following)

    with section("Unknown outcomes", ABOUT, bare=True), box(classes="pr-stack"):
        Live(read, draw, seconds=READ_SECONDS)


def _draw_keys(keys: list[dict[str, Any]], names: dict[str, str]) -> None:
    columns = [Column("name", "Key", "long")]
    columns += [Column(kind, name, align="right") for name, kind in KINDS[:3]]
    rows = [
        {
            "id": one["key_id"] or "none",
            "name": names.get(one["key_id"], "no key"),
            **{kind: say_usd(one[f"{kind}_usd"]) for _, kind in KINDS[:3]},
        }
        for one in keys
    ]
    DataTable(columns, rows, caption="Unknown outcomes by key")


def _draw_jobs(visit: Visit, first: list[str], following: str | None) -> None:
    shown = list(first)

    def rows() -> list[dict[str, Any]]:
        return [
            {"id": job_id, "job": {"text": job_id, "href": f"/jobs/{job_id}"}} for job_id in shown
        ]

    table = DataTable([Column("job", "Job", "link")], rows(), caption="Jobs in doubt")

    async def more() -> None:
        async def read() -> None:
            nonlocal following
            page = await visit.api.get("/api/v1/doubts/jobs", limit=FEW, cursor=following)
            shown.extend(page["jobs"])
            following = page["next"]
            table.set_rows(rows())
            button.set_visibility(following is not None)

        await attempt(read)

    button = ui.button("Show more", on_click=more).props("flat no-caps")
    button.set_visibility(following is not None)
