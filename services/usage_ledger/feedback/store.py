"""Ratings in PostgreSQL. A rating and the new sums of its tenant for the view are committed together."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnClause,
    DateTime,
    Select,
    SmallInteger,
    Table,
    Text,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.feedback import MAX_RATED_MODELS, MAX_RATERS, Feedback, RatedModel, SaveFeedback, TenantRatings
from keyferry.contracts.topology import RATINGS_VIEW
from keyferry.contracts.usage import Outcome
from keyferry.runtime.database.outbox import enqueue
from services.usage_ledger.database import OUTBOX, TransactionalStore, attempts, metadata

ratings = Table(
    "ratings",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("request_id", Text, primary_key=True),
    Column("rater", Text, primary_key=True),
    Column("rating", SmallInteger),
    Column("operation", Text),
    Column("provider", Text),
    Column("model", Text),
    Column("comment", Text),
    Column("rated_at", DateTime(timezone=True)),
)
_INSERTED: ColumnClause[bool] = literal_column("(xmax = 0)", Boolean)
"""True for a row that an upsert has inserted, false for one that it has updated."""


class UnknownRequest(Exception):
    """The ledger has no attempt of this request of the tenant."""


class NothingToRate(Exception):
    """No attempt of the request has delivered a complete answer."""


class TooManyRatings(Exception):
    """As many raters have rated the request as may."""


class FeedbackStore(TransactionalStore):
    """The table of ratings. Every method raises DatabaseUnavailable."""

    async def save(self, command: SaveFeedback, now: datetime) -> Feedback:
        """Store a rating, once per request and rater. Raises UnknownRequest, NothingToRate and TooManyRatings.

        Guard: the primary key; and a lock of the tenant, so that of two concurrent ratings the later sums contain both.
        """
        async with self.transaction() as connection:
            await connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(f"ratings {command.tenant}"))))
            feedback = await self._describe(connection, command, now)
            await _require_place(connection, command)
            values = feedback.model_dump(exclude={"replaced"})
            statement = insert(ratings).values(values)
            key = ("tenant", "request_id", "rater")
            changes = {name: statement.excluded[name] for name in values if name not in key}
            inserted = await connection.scalar(
                statement.on_conflict_do_update(index_elements=key, set_=changes).returning(_INSERTED)
            )
            sums = (await _read_sums(connection, command.tenant))[command.tenant]
            await enqueue(connection, OUTBOX, RATINGS_VIEW.name, command.tenant, sums.encode())
        return feedback.model_copy(update={"replaced": not inserted})

    async def _describe(self, connection: AsyncConnection, command: SaveFeedback, now: datetime) -> Feedback:
        columns = attempts.c
        found = await connection.execute(
            select(columns.provider, columns.model, columns.operation, columns.outcome)
            .where(columns.tenant == command.tenant, columns.request_id == command.request_id)
            .order_by(columns.attempt_number.desc())
        )
        rows = found.all()
        if not rows:
            raise UnknownRequest
        answered = next((row for row in rows if row.outcome == Outcome.COMPLETED), None)
        if answered is None:
            raise NothingToRate
        return Feedback(
            tenant=command.tenant,
            request_id=command.request_id,
            rater=command.rater,
            rating=command.rating,
            operation=answered.operation or command.operation,
            provider=answered.provider,
            model=answered.model,
            comment=command.comment,
            rated_at=now,
        )

    async def list_sums(self, tenant: str) -> TenantRatings:
        """Return the sums of a tenant's ratings, those with most ratings first."""
        async with self.transaction() as connection:
            found = await _read_sums(connection, tenant)
        return found.get(tenant) or TenantRatings(tenant=tenant, models=[])

    async def view_contents(self) -> Mapping[str, Mapping[str, bytes]]:
        """Return the entries of the view by bucket name and key."""
        async with self.transaction() as connection:
            found = await _read_sums(connection, None)
        return {RATINGS_VIEW.name: {tenant: sums.encode() for tenant, sums in found.items()}}


async def _require_place(connection: AsyncConnection, command: SaveFeedback) -> None:
    """Raise TooManyRatings if MAX_RATERS others have rated the request. The tenant's lock keeps the count true."""
    columns = ratings.c
    others = select(func.count()).where(
        columns.tenant == command.tenant,
        columns.request_id == command.request_id,
        columns.rater != command.rater,
    )
    if (await connection.scalar(others) or 0) >= MAX_RATERS:
        raise TooManyRatings


async def _read_sums(connection: AsyncConnection, tenant: str | None) -> dict[str, TenantRatings]:
    models: dict[str, list[RatedModel]] = {}
    for row in await connection.execute(_sums_of(tenant)):
        listed = models.setdefault(row.tenant, [])
        if len(listed) < MAX_RATED_MODELS:
            listed.append(
                RatedModel(
                    provider=row.provider,
                    model=row.model,
                    operation=row.operation,
                    ratings=row.ratings,
                    stars=row.stars,
                )
            )
    return {name: TenantRatings(tenant=name, models=listed) for name, listed in models.items()}


def _sums_of(tenant: str | None) -> Select[tuple[str, str, str, str | None, int, int]]:
    columns = ratings.c
    group = (columns.tenant, columns.provider, columns.model, columns.operation)
    count = func.count().label("ratings")
    query = select(*group, count, func.sum(columns.rating).cast(BigInteger).label("stars")).group_by(*group)
    if tenant is not None:
        query = query.where(columns.tenant == tenant)
    return query.order_by(columns.tenant, count.desc(), columns.provider, columns.model, columns.operation)
