"""A campaign is opened: it is written down with its budget, and workers may expand it."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from models.budget import add_budget
from models.campaign import add_campaign
from tasks.campaigns.spec import CampaignSpec


async def open_campaign(
    session: AsyncSession,
    spec: CampaignSpec,
    *,
    name: str,
    endpoint: str | None,
    rows_key: str | None,
    planned: int,
    key_id: UUID | None = None,
) -> UUID:
    """
    Args:
        endpoint: None: it has several.
        rows_key: of its file, in the store.
        planned: how many items it has.
        key_id: whose jobs they are; None: nobody's.

    Raises:
        NameTaken: another has this name.
        BudgetTaken: a budget has the name that its own would have.
    """
    campaign_id = await add_campaign(
        session,
        name=name,
        endpoint=endpoint,
        spec=spec.model_dump(mode="json", exclude_unset=True, exclude={"schedule"}),
        rows_key=rows_key,
        planned=planned,
        tags=spec.tags,
        max_in_flight=spec.pace.max_in_flight,
        key_id=key_id,
    )
    if spec.budget is not None:
        await add_budget(
            session,
            name=name_budget(name),
            limit_usd=spec.budget.usd,
            warn_at=spec.budget.warn_at,
            at_cap=spec.budget.at_cap,
            webhook=spec.budget.webhook,
            campaign_id=campaign_id,
        )
    return campaign_id


def name_budget(campaign: str) -> str:
    """What the budget is called that a campaign brings along."""
    return f"campaign {campaign}"
