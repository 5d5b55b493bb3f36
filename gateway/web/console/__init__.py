"""The console: a module for each room."""

# Their pages.
from gateway.web.console import (  # noqa: F401
    audit,
    budgets,
    campaign,
    campaign_compare,
    campaign_new,
    campaigns,
    floor,
    gallery,
    job,
    jobs,
    keys,
    money,
    schedule,
    schedules,
)
