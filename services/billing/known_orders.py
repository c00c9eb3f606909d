"""What purchases know of a payment: the order under its id, and which customer a tenant is at Stripe."""

from sqlalchemy import select

from keyferry.runtime.database.service_database import ServiceDatabase
from services.billing.purchases.tables import customers_table, purchases_table
from services.billing.stripe.rules import OrderedPayment


class KnownOrders:
    """Reads what purchases have stored. Both methods raise DatabaseUnavailable."""

    def __init__(self, database: ServiceDatabase) -> None:
        self._database = database

    async def find_order(self, purchase: str) -> OrderedPayment | None:
        """Return what was ordered under the id of a purchase; None if there is none of it."""
        columns = purchases_table.c
        query = select(columns.tenant, columns.credits_micro_usd, columns.amount_cents, columns.currency)
        async with self._database.read() as connection:
            row = (await connection.execute(query.where(columns.purchase == purchase))).one_or_none()
        return None if row is None else OrderedPayment(*row)

    async def find_customer(self, tenant: str) -> str | None:
        """Return which customer a tenant is at Stripe."""
        query = select(customers_table.c.customer).where(customers_table.c.tenant == tenant)
        async with self._database.read() as connection:
            found: str | None = await connection.scalar(query)
        return found
