"""`/api/v1/...`: our own API. Every route is in the OpenAPI document, with examples.

forms.py       the JSON that comes                 form_reader.py reads it
answers.py     the JSON that goes                  document.py    OpenAPI of both
pages.py       lists, a page at a time
jobs.py        hand in, read, wait                 job_acts.py    cancel and retry, one or many
artifacts.py   files: list, links, download        endpoints.py   what may be run, and its price
lanes.py       what is held up, and why            keys.py        who may call
deliveries.py  webhooks that were sent             events.py      what happens, as it happens
doubts.py      what may have been billed twice     budgets.py     what may be spent, and what was
campaigns.py   many jobs, followed as one          schedules.py   campaigns, again and again
campaign_rows.py  files of their prompts            campaign_items.py  their items, looked through
audit.py       who did what, and when              maintenance.py nothing new is submitted
floor.py       all that lives, in one answer
"""

from functools import partial

from fastapi import FastAPI

from gateway.api import (
    artifacts,
    audit,
    budgets,
    campaign_items,
    campaign_rows,
    campaigns,
    deliveries,
    document,
    doubts,
    endpoints,
    events,
    floor,
    job_acts,
    jobs,
    keys,
    lanes,
    maintenance,
    schedules,
)

PREFIX = "/api/v1"


def add_api(gateway: FastAPI) -> None:
    # Acts on many jobs come first: /jobs/cancel is no job's id.
    for part in (
        *(document, job_acts, jobs, artifacts, endpoints),
        *(lanes, deliveries, events, doubts, keys, campaign_items, campaign_rows, campaigns),
        *(budgets, schedules),
        *(audit, maintenance, floor),
    ):
        gateway.include_router(part.routes, prefix=PREFIX)
    gateway.openapi = partial(document.write_document, gateway)  # type: ignore[method-assign]  # FastAPI's way
