"""Subscriptions in PostgreSQL: what was last known of each, and when Stripe is asked again."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert

from keyferry.contracts.tenancy import Tier
from keyferry.runtime.database.service_database import ServiceDatabase
from services.billing.purchases.subscription_rules import SubscriptionFacts
from services.billing.purchases.tables import subscriptions_table

CHECK_EVERY = timedelta(minutes=5)
_C = subscriptions_table.c


@dataclass(frozen=True, slots=True)
class StoredSubscription:
    """A tenant's subscription as it was last known."""

    tenant: str
    subscription: str | None
    session: str | None
    session_key: str | None
    facts: SubscriptionFacts | None
    """None until its first payment page is complete."""
    applied_tier: Tier | None
    set_by_operator: bool


class SubscriptionStore:
    """The table of subscriptions. Every method raises DatabaseUnavailable."""

    def __init__(self, database: ServiceDatabase) -> None:
        self._database = database

    async def find(self, tenant: str) -> StoredSubscription | None:
        """Return what is stored of a tenant."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(subscriptions_table).where(_C.tenant == tenant))).one_or_none()
        return None if row is None else _subscription(row)

    @asynccontextmanager
    async def one_at_a_time(self, tenant: str) -> AsyncIterator[None]:
        """Let one process at a time begin or change a tenant's subscription, until the end of the block."""
        async with self._database.change() as transaction:
            await transaction.connection.execute(
                text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": f"subscription of {tenant}"}
            )
            yield

    async def write(self, tenant: str, **values: Any) -> None:
        """Store columns of a tenant's subscription."""
        async with self._database.change() as transaction:
            upsert = insert(subscriptions_table).values(tenant=tenant, **values)
            await transaction.connection.execute(upsert.on_conflict_do_update(index_elements=[_C.tenant], set_=values))

    async def record(self, tenant: str, actor: str, action: str, target: str, details: dict[str, str]) -> None:
        """Store the audit event of what Stripe is asked to do next."""
        async with self._database.change() as transaction:
            await transaction.audit(actor=actor, action=action, tenant=tenant, target=target, details=details)

    async def write_facts(self, tenant: str, subscription: str, facts: SubscriptionFacts, now: datetime) -> None:
        """Store what Stripe says, and when it is asked again."""
        await self.write(
            tenant,
            subscription=subscription,
            tier=facts.tier,
            status=facts.status,
            cancels=facts.cancels,
            period_ends_at=facts.period_ends_at,
            failing_since=facts.failing_since,
            paid_tier=facts.paid_tier,
            paid_until=facts.paid_until,
            check_at=now + CHECK_EVERY,
        )

    async def claim_due(self, now: datetime, limit: int) -> Sequence[str]:
        """Return tenants whose subscription is to be looked at now, and keep other processes from them for a while."""
        due = select(_C.tenant).where(_C.check_at <= now).order_by(_C.check_at).limit(limit)
        claimed = (
            update(subscriptions_table)
            .where(_C.tenant.in_(due.with_for_update(skip_locked=True)))
            .values(check_at=now + CHECK_EVERY)
            .returning(_C.tenant)
        )
        async with self._database.change() as transaction:
            return list(await transaction.connection.scalars(claimed))


def _subscription(row: Any) -> StoredSubscription:
    values: dict[str, Any] = {
        name: value.astimezone(UTC) if isinstance(value, datetime) else value for name, value in row._mapping.items()
    }
    facts = None
    if values["status"] is not None:
        facts = SubscriptionFacts(
            tier=_tier(values["tier"]),
            status=values["status"],
            cancels=values["cancels"],
            period_ends_at=values["period_ends_at"],
            failing_since=values["failing_since"],
            paid_tier=_tier(values["paid_tier"]),
            paid_until=values["paid_until"],
        )
    return StoredSubscription(
        tenant=values["tenant"],
        subscription=values["subscription"],
        session=values["session"],
        session_key=values["session_key"],
        facts=facts,
        applied_tier=_tier(values["applied_tier"]),
        set_by_operator=values["set_by_operator"],
    )


def _tier(value: str | None) -> Tier | None:
    return None if value is None else Tier(value)
