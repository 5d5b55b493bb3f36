"""The console: a module for each room."""

# Their pages.
from gateway.web.console import (  # noqa: F401
    campaign,
    campaign_compare,
    campaign_new,
    campaigns,
    floor,
    gallery,
    schedule,
    schedules,
)
