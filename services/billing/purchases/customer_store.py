"""Customers in PostgreSQL: the key under which Stripe is asked for one, then its id, and the saved payment method."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert

from keyferry.runtime.database.service_database import ServiceDatabase
from services.billing.purchases.tables import customers_table

_C = customers_table.c


@dataclass(frozen=True, slots=True)
class StoredCustomer:
    """A tenant as a customer at Stripe."""

    tenant: str
    creation_key: str
    keyed_at: datetime
    customer: str | None
    payment_method: str | None
    payment_method_label: str | None
    saved_at: datetime | None


class CustomerStore:
    """The table of customers. Every method raises DatabaseUnavailable."""

    def __init__(self, database: ServiceDatabase) -> None:
        self._database = database

    async def find(self, tenant: str) -> StoredCustomer | None:
        """Return what is stored of a tenant."""
        async with self._database.read() as connection:
            query = select(customers_table).where(_C.tenant == tenant)
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else _customer(row)

    async def reserve(self, tenant: str, key: str, now: datetime) -> StoredCustomer:
        """Store the key to create a customer with, unless there is one, and return what is stored. Guard: the primary key."""
        async with self._database.change() as transaction:
            values = {"tenant": tenant, "creation_key": key, "keyed_at": now}
            await transaction.connection.execute(insert(customers_table).values(**values).on_conflict_do_nothing())
            query = select(customers_table).where(_C.tenant == tenant)
            return _customer((await transaction.connection.execute(query)).one())

    async def renew_key(self, stored: StoredCustomer, key: str, now: datetime) -> StoredCustomer:
        """Replace a key that Stripe has forgotten, unless another process did; return what is stored."""
        async with self._database.change() as transaction:
            chosen = (_C.tenant == stored.tenant) & (_C.creation_key == stored.creation_key) & _C.customer.is_(None)
            renewed = update(customers_table).where(chosen).values(creation_key=key, keyed_at=now)
            await transaction.connection.execute(renewed)
            query = select(customers_table).where(_C.tenant == stored.tenant)
            return _customer((await transaction.connection.execute(query)).one())

    async def set_customer(self, tenant: str, customer: str, actor: str) -> str:
        """Store the id that Stripe gave, unless one is stored; return the one that is. Guard: the condition."""
        async with self._database.change() as transaction:
            chosen = (_C.tenant == tenant) & _C.customer.is_(None)
            statement = update(customers_table).where(chosen).values(customer=customer).returning(_C.customer)
            if await transaction.connection.scalar(statement) is not None:
                await transaction.audit(
                    actor=actor, action="customer.create", tenant=tenant, target=customer, details={}
                )
                return customer
            stored = await transaction.connection.scalar(select(_C.customer).where(_C.tenant == tenant))
        return str(stored)

    async def save_payment_method(self, tenant: str, method: str, label: str, now: datetime, actor: str) -> None:
        """Store which payment method automatic top-ups charge; the same one again changes nothing."""
        async with self._database.change() as transaction:
            chosen = (_C.tenant == tenant) & _C.payment_method.is_distinct_from(method)
            values = {"payment_method": method, "payment_method_label": label, "saved_at": now}
            statement = update(customers_table).where(chosen).values(**values).returning(_C.tenant)
            if await transaction.connection.scalar(statement) is not None:
                await transaction.audit(
                    actor=actor,
                    action="payment_method.save",
                    tenant=tenant,
                    target=method,
                    details={"payment_method": label},
                )


def _customer(row: Any) -> StoredCustomer:
    values = dict(row._mapping)
    for name in ("keyed_at", "saved_at"):
        values[name] = None if values[name] is None else values[name].astimezone(UTC)
    return StoredCustomer(**values)
