"""A budget is set: what its jobs have spent already counts."""

from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from models.budget import add_budget, check_limit
from models.reservation import take_over
from models.slots import hold_off_claims


async def set_budget(session: AsyncSession, **budget: Any) -> UUID:  # noqa: ANN401
    """
    Args:
        budget: as `models.budget.add_budget` takes it.

    Raises:
        BelowSpent: less than what is spent already, in this period.
        BudgetTaken, NotFound: as `add_budget`.
    """
    await hold_off_claims(session)  # or what they are about to send would be under no budget
    budget_id = await add_budget(session, **budget)
    await take_over(session, budget_id)
    await check_limit(session, budget_id)
    return budget_id
