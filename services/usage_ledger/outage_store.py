"""Changes of health in PostgreSQL, and the outages that are derived from them, with what they did to requests.

Nothing is counted when it arrives: figures are computed from the tables of attempts and decisions when they are asked for, so an
attempt that a worker reports late counts for the outage in which it was made.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import orjson
from pydantic_core import to_json
from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.failure import COUNTS_AGAINST_TARGET
from keyferry.contracts.health import KEY_CLASSES, Health, KeyClass, Outage, Rerouted
from keyferry.contracts.key_address import is_standard_origin
from keyferry.contracts.tenancy import PLATFORM_TENANT
from services.usage_ledger.alerts.causes import mark_tenants
from services.usage_ledger.database import TransactionalStore
from services.usage_ledger.outage_sql import CALLED_MODELS, CHANGES, COUNTS, INSERT, PURGE
from services.usage_ledger.outages import Group, OutageSpan, TargetChange, derive_outages

LEAD = timedelta(seconds=10)
"""Failures that ended this long before a circuit opened are those that opened it."""
_LONGEST_ATTEMPT = timedelta(hours=1)
_MAX_CHANGES = 20_000
_KEEP = timedelta(days=400)
_KEEP_KEYS = timedelta(days=7)
"""A busy key may be asked to pause every second."""
_MAX_REROUTED = 10
_RECENTLY = timedelta(days=1)
"""How long before an outage a tenant has called a model, to learn that it is out."""
_FAILURES = sorted(failure.value for failure, counts in COUNTS_AGAINST_TARGET.items() if counts)


class OutageStore(TransactionalStore):
    """The table of changes, and queries over it. Every method raises DatabaseUnavailable."""

    async def record_changes(self, changes: Sequence[Health], now: datetime) -> int:
        """Insert changes; return how many are new. Guard: the primary key, which is the id of the change."""
        rows = [_change_values(change, now) for change in changes]
        if not rows:
            return 0
        async with self.transaction() as connection:
            result = await connection.execute(text(INSERT), {"rows": to_json(rows).decode()})
            new = len(result.all())
            if new:
                await mark_tenants(connection, {PLATFORM_TENANT, *_owners(changes)})
            return new

    async def purge(self, now: datetime) -> None:
        """Remove changes that are too old to be asked for."""
        limits = {"keys_before": now - _KEEP_KEYS, "before": now - _KEEP}
        async with self.transaction() as connection:
            await connection.execute(text(PURGE), limits)

    async def began_of_lasting(self, since: datetime, now: datetime) -> datetime | None:
        """Return when the first of the outages began that last now; None if none does. Nothing is counted."""
        async with self.transaction() as connection:
            limits = {"tenant": None, "since": since, "until": now, "limit": _MAX_CHANGES}
            rows = (await connection.execute(text(CHANGES), limits)).mappings().all()
        spans = derive_outages([_change(row) for row in rows], now=now)
        return min((span.began_at for span in spans if span.ended_at is None), default=None)

    async def list_outages(
        self, tenant: str | None, since: datetime, until: datetime, limit: int, now: datetime
    ) -> tuple[list[Outage], bool]:
        """Return up to `limit` outages that overlap a span of time, newest first, and whether there are more.

        For a tenant: of shared targets and its own, with the figures of its own requests.
        """
        async with self.transaction() as connection:
            limits = {"tenant": tenant, "since": since, "until": until, "limit": _MAX_CHANGES}
            rows = (await connection.execute(text(CHANGES), limits)).mappings().all()
            spans = derive_outages([_change(row) for row in rows], now=now)
            found = [span for span in spans if span.overlaps(since, until)]
            outages: list[Outage] = []
            for span in found:
                if len(outages) == limit:
                    return outages, True
                models = await self._models(connection, span, tenant, now)
                if models:
                    outages.append(await self._outage(connection, span, models, tenant, now))
        return outages, False

    async def _models(
        self, connection: AsyncConnection, span: OutageSpan, tenant: str | None, now: datetime
    ) -> list[str]:
        """Return the models of an outage that a tenant may know of: of its own keys, those that it has called itself.

        The name of a fine-tuned model, which only its owner's keys call, shows whose it is.
        """
        models, group = sorted(span.models), span.group
        if tenant is None or group.tenant is not None or group.key_class != KeyClass.OWN:
            return models
        values = {
            "models": models,
            "tenant": tenant,
            "provider": group.provider,
            "since": span.began_at - _RECENTLY,
            "ended": span.ended_at or now,
        }
        return sorted((await connection.execute(text(CALLED_MODELS), values)).scalars())

    async def _outage(
        self, connection: AsyncConnection, span: OutageSpan, models: list[str], tenant: str | None, now: datetime
    ) -> Outage:
        group = span.group
        row = (await connection.execute(text(COUNTS), _count_parameters(span, tenant, now))).mappings().one()
        rerouted = [Rerouted(**item) for item in row["rerouted_to"] or ()]
        return Outage(
            provider=group.provider,
            tenant=group.tenant,
            endpoint=group.endpoint,
            origin=group.origin if tenant is None else _address_for_tenants(group),
            key_class=KeyClass(group.key_class),
            models=models,
            began_at=span.began_at,
            ended_at=span.ended_at,
            reasons=span.reasons,
            forced=span.forced,
            failed_attempts=row["failed_attempts"],
            affected_requests=row["affected_requests"],
            served_elsewhere=row["served_elsewhere"],
            refused=row["refused"],
            rerouted_to=rerouted[:_MAX_REROUTED],
        )


def _owners(changes: Sequence[Health]) -> set[str]:
    """Return the tenants that a change is about; one of a shared target is about those whose requests it affects."""
    return {change.target.tenant for change in changes if change.target.tenant is not None}


def _address_for_tenants(group: Group) -> str | None:
    """Return the address, unless it is a server that the operator has chosen for the platform's keys."""
    hidden = group.key_class == KeyClass.PLATFORM and not is_standard_origin(group.provider, group.origin)
    return None if hidden else group.origin


def _change_values(change: Health, now: datetime) -> dict[str, object]:
    target = change.target
    return {
        "change_id": change.change_id,
        "target_key": target.key,
        **target.model_dump(include={"provider", "model", "origin", "key_class", "tenant", "endpoint", "key_id"}),
        "state": change.state,
        "reason": change.reason,
        "failure_class": change.failure_class,
        "forced": change.forced is not None,
        "holds_until": change.until,
        "changed_at": change.changed_at,
        "recorded_at": now,
    }


def _change(row: RowMapping) -> TargetChange:
    return TargetChange(
        target_key=row["target_key"],
        group=Group(
            provider=row["provider"],
            tenant=row["tenant"],
            endpoint=row["endpoint"],
            origin=row["origin"],
            key_class=row["key_class"],
        ),
        model=row["model"],
        state=row["state"],
        reason=row["reason"],
        forced=row["forced"],
        holds_until=row["holds_until"],
        changed_at=row["changed_at"],
    )


def _count_parameters(span: OutageSpan, tenant: str | None, now: datetime) -> dict[str, object]:
    group = span.group
    sources = sorted(source.value for source, key_class in KEY_CLASSES.items() if key_class == group.key_class)
    place = {"provider": group.provider} | ({"endpoint": group.endpoint} if group.endpoint else {})
    skipped = [
        {"candidates": [{**place, "model": model, "key_source": source, "reason": "unhealthy"}]}
        for model in sorted(span.models)
        for source in sources
    ]
    return {
        "provider": group.provider,
        "endpoint": group.endpoint,
        "origin": group.origin,
        "models": sorted(span.models),
        "sources": sources,
        "owner": group.tenant,
        "tenant": tenant,
        "failures": _FAILURES,
        "earliest": span.began_at - LEAD - _LONGEST_ATTEMPT,
        "from": span.began_at - LEAD,
        "began": span.began_at,
        "ended": span.ended_at or now,
        "skipped": [orjson.dumps(pattern).decode() for pattern in skipped],
    }
