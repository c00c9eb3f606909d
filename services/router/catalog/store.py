"""What operators changed about models, providers and prices, in PostgreSQL, with its messages for three views."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from hashlib import sha256

from sqlalchemy import Column, DateTime, Sequence, Table, Text, delete, func, select
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.catalog_edits import CatalogEntry
from keyferry.contracts.price_edits import PriceEntry
from keyferry.contracts.provider_edits import ProviderEntry
from keyferry.contracts.routing_management import CATALOG_VIEW, PRICES_VIEW, PROVIDERS_VIEW
from keyferry.contracts.tenancy import PLATFORM_TENANT
from services.router.catalog.editing import Stored
from services.router.database import METADATA, RouterDatabase, RouterTransaction

_LOCK = 7_310_454_105
"""An advisory lock of this database: one change at a time, since each is checked against all others."""
_DIGEST_CHARACTERS = 32

_models = Table(
    "catalog_models", METADATA, Column("id", Text, primary_key=True), Column("entry", JSONB, nullable=False)
)
_providers = Table(
    "providers", METADATA, Column("name", Text, primary_key=True), Column("entry", JSONB, nullable=False)
)
_prices = Table(
    "prices",
    METADATA,
    Column("provider", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("effective", DateTime(timezone=True), primary_key=True),
    Column("entry", JSONB, nullable=False),
)
_revisions = Sequence("catalog_revision", metadata=METADATA)


class CatalogTransaction:
    """One change of what operators configured; it sees all that is stored, and no other change runs meanwhile."""

    def __init__(self, transaction: RouterTransaction) -> None:
        self._transaction = transaction

    async def next_revision(self) -> int:
        """Return a number that no change had before."""
        return int(await self._transaction.connection.scalar(select(_revisions.next_value())) or 0)

    async def stored(self) -> Stored:
        """Return what is stored about models and providers."""
        return await _read_stored(self._transaction.connection)

    async def prices(self) -> list[PriceEntry]:
        """Return every price that is stored."""
        return await _read_prices(self._transaction.connection)

    async def put_model(self, model_id: str, entry: CatalogEntry | None) -> None:
        """Store the entry of a model; None removes it."""
        connection = self._transaction.connection
        if entry is None:
            await connection.execute(delete(_models).where(_models.c.id == model_id))
        else:
            await _upsert(connection, _models, {"id": model_id}, entry.model_dump(mode="json", exclude_none=True))
        await self._transaction.publish(CATALOG_VIEW, model_key(model_id), entry.encode() if entry else None)

    async def put_provider(self, name: str, entry: ProviderEntry | None) -> None:
        """Store the entry of a provider; None removes it."""
        connection = self._transaction.connection
        if entry is None:
            await connection.execute(delete(_providers).where(_providers.c.name == name))
        else:
            await _upsert(connection, _providers, {"name": name}, entry.model_dump(mode="json", exclude_none=True))
        await self._transaction.publish(PROVIDERS_VIEW, name, entry.encode() if entry else None)

    async def put_price(self, entry: PriceEntry) -> None:
        """Store a price; it replaces the one of the same model and moment."""
        place = {"provider": entry.provider, "model": entry.model, "effective": entry.effective}
        values = entry.model_dump(mode="json", exclude_none=True)
        await _upsert(self._transaction.connection, _prices, place, values)
        await self._transaction.publish(PRICES_VIEW, _price_key(entry), entry.encode())

    async def remove_price(self, provider: str, model: str, effective: datetime) -> PriceEntry | None:
        """Remove and return a price; None if there is none."""
        columns = _prices.c
        statement = delete(_prices).where(
            columns.provider == provider, columns.model == model, columns.effective == effective
        )
        row = (await self._transaction.connection.execute(statement.returning(columns.entry))).one_or_none()
        if row is None:
            return None
        removed = PriceEntry.model_validate(row.entry)
        await self._transaction.publish(PRICES_VIEW, _price_key(removed), None)
        return removed

    async def audit(self, actor: str, action: str, target: str, details: Mapping[str, str]) -> None:
        """Record the change in the platform's audit. Call it last."""
        await self._transaction.audit(
            actor=actor, action=action, tenant=PLATFORM_TENANT, target=target, details=dict(details)
        )


class PostgresCatalogStore:
    """The tables. Every method raises DatabaseUnavailable."""

    def __init__(self, database: RouterDatabase) -> None:
        self._database = database

    @asynccontextmanager
    async def change(self) -> AsyncIterator[CatalogTransaction]:
        """Run a change, alone among all routers."""
        async with self._database.change() as transaction:
            await transaction.connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            yield CatalogTransaction(transaction)

    async def stored(self) -> Stored:
        """Return what is stored about models and providers."""
        async with self._database.read() as connection:
            return await _read_stored(connection)

    async def prices(self) -> list[PriceEntry]:
        """Return every price that is stored, by provider and model, the newest first."""
        async with self._database.read() as connection:
            return await _read_prices(connection)

    async def view_contents(self) -> Mapping[str, Mapping[str, bytes]]:
        """Return the entries of the three views by bucket name and key. Raises SQLAlchemyError, which the relay expects."""
        async with self._database.engine.connect() as connection:
            stored = await _read_stored(connection)
            prices = await _read_prices(connection)
        return {
            CATALOG_VIEW.name: {model_key(name): entry.encode() for name, entry in stored.models.items()},
            PROVIDERS_VIEW.name: {name: entry.encode() for name, entry in stored.providers.items()},
            PRICES_VIEW.name: {_price_key(entry): entry.encode() for entry in prices},
        }


async def _upsert(connection: AsyncConnection, table: Table, key: Mapping[str, object], entry: object) -> None:
    statement = insert(table).values(**key, entry=entry)
    await connection.execute(
        statement.on_conflict_do_update(index_elements=list(key), set_={"entry": statement.excluded.entry})
    )


async def _read_stored(connection: AsyncConnection) -> Stored:
    models = [CatalogEntry.model_validate(row.entry) for row in await connection.execute(select(_models.c.entry))]
    providers = [
        ProviderEntry.model_validate(row.entry) for row in await connection.execute(select(_providers.c.entry))
    ]
    return Stored({entry.id: entry for entry in models}, {entry.name: entry for entry in providers})


async def _read_prices(connection: AsyncConnection) -> list[PriceEntry]:
    columns = _prices.c
    query = select(columns.entry).order_by(columns.provider, columns.model, columns.effective.desc())
    return [PriceEntry.model_validate(row.entry) for row in await connection.execute(query)]


def _price_key(entry: PriceEntry) -> str:
    return _digest(entry.provider, entry.model, entry.effective.isoformat())


def model_key(model_id: str) -> str:
    """Return the key of a model's entry in the view: ids have characters that a subject must not have."""
    return _digest(model_id)


def _digest(*parts: str) -> str:
    """Return a key for a bucket: names of models have characters that keys must not have."""
    return sha256("\n".join(parts).encode()).hexdigest()[:_DIGEST_CHARACTERS]
