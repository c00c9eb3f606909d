"""Versions and drafts of routing rules in PostgreSQL. A new version and its message for the view are one transaction."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from sqlalchemy import BigInteger, Column, DateTime, RowMapping, Table, Text, delete, func, select
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.audit_changes import ARROW, describe_changes
from keyferry.contracts.routing_management import ROUTING_RULES_VIEW
from keyferry.contracts.rule_management import ListRuleVersions, RuleDraft, RuleSetVersion, RuleVersionSummary
from keyferry.contracts.rules import RuleSet
from services.router.database import METADATA, RouterDatabase, RouterTransaction

_Timestamp = DateTime(timezone=True)
_versions = Table(
    "rule_versions",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("document", JSONB, nullable=False),
    Column("note", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("published_at", _Timestamp, nullable=False),
    Column("restored_from", BigInteger),
)
_published = Table(
    "rules_published",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
)
_drafts = Table(
    "rule_drafts",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("document", JSONB, nullable=False),
    Column("actor", Text, nullable=False),
    Column("saved_at", _Timestamp, nullable=False),
    Column("based_on", BigInteger, nullable=False),
)
_revisions = Table(
    "rule_draft_revisions",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("revision", BigInteger, nullable=False),
)
_LOCK = "routing rules of "
"""Prefix of the name of the lock under which a tenant's rules change."""


class RulesChanged(Exception):
    """Somebody else has saved or published meanwhile; the message says what is there now."""


@dataclass(frozen=True, slots=True)
class NewVersion:
    """A version to publish."""

    tenant: str
    rule_set: RuleSet
    note: str
    actor: str
    published_at: datetime
    restored_from: int | None = None
    expected_version: int | None = None
    """The version that must be published; None for any, or for the one that the draft is based on."""
    draft_revision: int | None = None
    """The draft that is published and then removed; None for a rule set that is no draft."""


class RuleStore(Protocol):
    """The store as the handlers see it. Every method raises DatabaseUnavailable."""

    async def published(self, tenant: str) -> RuleSetVersion | None:
        """Return the published version; None if nothing was published."""

    async def version(self, tenant: str, version: int) -> RuleSetVersion | None:
        """Return one version; None if there is none of that number."""

    async def versions(self, command: ListRuleVersions) -> list[RuleVersionSummary]:
        """Return versions without their rules, newest first."""

    async def draft(self, tenant: str) -> RuleDraft | None:
        """Return the draft; None if there is none."""

    async def save_draft(self, draft: RuleDraft, replaced_revision: int) -> RuleDraft:
        """Save the draft in place of `replaced_revision` (0: there is none). Raises RulesChanged."""

    async def discard_draft(self, tenant: str, revision: int | None, actor: str) -> bool:
        """Remove the draft; return False if there is none. Raises RulesChanged unless it has `revision`, if one is given."""

    async def publish(self, new: NewVersion) -> tuple[RuleSetVersion, bool]:
        """Publish a version; return it, and whether it is new: the same rules are not published twice. Raises RulesChanged."""


class PostgresRuleStore:
    """The implementation."""

    def __init__(self, database: RouterDatabase) -> None:
        self._database = database

    async def published(self, tenant: str) -> RuleSetVersion | None:
        """Select the row that the pointer names."""
        async with self._database.read() as connection:
            return await _published_version(connection, tenant)

    async def version(self, tenant: str, version: int) -> RuleSetVersion | None:
        """Select one row."""
        query = select(_versions).where(_versions.c.tenant == tenant, _versions.c.version == version)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
            return None if row is None else _version(row)

    async def versions(self, command: ListRuleVersions) -> list[RuleVersionSummary]:
        """Select a page."""
        columns = _versions.c
        query = select(
            columns.version,
            columns.note,
            columns.actor,
            columns.published_at,
            columns.restored_from,
            func.jsonb_array_length(columns.document["rules"]).label("rules"),
        ).where(columns.tenant == command.tenant)
        if command.before is not None:
            query = query.where(columns.version < command.before)
        async with self._database.read() as connection:
            rows = await connection.execute(query.order_by(columns.version.desc()).limit(command.limit))
            return [_summary(row) for row in rows.mappings()]

    async def draft(self, tenant: str) -> RuleDraft | None:
        """Select the row."""
        async with self._database.read() as connection:
            return await _draft(connection, tenant)

    async def save_draft(self, draft: RuleDraft, replaced_revision: int) -> RuleDraft:
        """Insert or update the row. Guard: the lock of the tenant's rules, and the revision."""
        async with self._database.change() as transaction:
            await _lock(transaction, draft.tenant)
            present = await _draft(transaction.connection, draft.tenant)
            _require_revision(present, replaced_revision)
            pointer = await transaction.connection.scalar(
                select(_published.c.version).where(_published.c.tenant == draft.tenant)
            )
            saved = draft.model_copy(
                update={
                    "revision": await _next_revision(transaction.connection, draft.tenant),
                    "based_on": (pointer or 0) if present is None else present.based_on,
                }
            )
            values = {
                "tenant": saved.tenant,
                "revision": saved.revision,
                "document": _document(saved.rule_set),
                "actor": saved.actor,
                "saved_at": saved.saved_at,
                "based_on": saved.based_on,
            }
            statement = insert(_drafts).values(values)
            await transaction.connection.execute(
                statement.on_conflict_do_update(index_elements=["tenant"], set_=dict(statement.excluded.items()))
            )
            await transaction.audit(
                actor=saved.actor,
                action="rule_draft.save",
                tenant=saved.tenant,
                target=f"revision {saved.revision}",
                details={"rules": str(len(saved.rule_set.rules))},
            )
        return saved

    async def discard_draft(self, tenant: str, revision: int | None, actor: str) -> bool:
        """Delete the row. Guard: the lock of the tenant's rules, and the revision."""
        async with self._database.change() as transaction:
            await _lock(transaction, tenant)
            present = await _draft(transaction.connection, tenant)
            if present is None:
                return False
            if revision is not None:
                _require_revision(present, revision)
            await transaction.connection.execute(delete(_drafts).where(_drafts.c.tenant == tenant))
            await transaction.audit(
                actor=actor,
                action="rule_draft.discard",
                tenant=tenant,
                target=f"revision {present.revision}",
                details={},
            )
        return True

    async def publish(self, new: NewVersion) -> tuple[RuleSetVersion, bool]:
        """Insert the version and move the pointer. Guard: the lock of the tenant's rules, and what the caller expects."""
        async with self._database.change() as transaction:
            await _lock(transaction, new.tenant)
            before = await _published_version(transaction.connection, new.tenant)
            if new.expected_version is not None and new.expected_version != _number(before):
                raise RulesChanged(_other_version(before))
            if new.draft_revision is not None:
                draft = await _draft(transaction.connection, new.tenant)
                _require_revision(draft, new.draft_revision)
                if draft is not None and new.expected_version is None and draft.based_on != _number(before):
                    raise RulesChanged(_outdated(draft, before))
                await transaction.connection.execute(delete(_drafts).where(_drafts.c.tenant == new.tenant))
            if before is not None and before.rule_set == new.rule_set:
                return before, False
            version = await _insert_version(transaction, new)
            await transaction.publish(ROUTING_RULES_VIEW, new.tenant, version.encode())
            await transaction.audit(
                actor=new.actor,
                action="routing_rules.publish" if new.restored_from is None else "routing_rules.roll_back",
                tenant=new.tenant,
                target=f"version {version.version}",
                details=_rule_changes(before, new.rule_set)
                | {"version": f"{_number(before)}{ARROW}{version.version}", "rules": str(len(new.rule_set.rules))}
                | {"note": new.note}
                | ({} if new.restored_from is None else {"restored_from": str(new.restored_from)}),
            )
        return version, True

    async def view_contents(self) -> Mapping[str, Mapping[str, bytes]]:
        """Return the entries of the view by bucket name and key. Raises SQLAlchemyError, which the relay expects."""
        query = select(_versions).join(
            _published,
            (_published.c.tenant == _versions.c.tenant) & (_published.c.version == _versions.c.version),
        )
        async with self._database.engine.connect() as connection:
            found = [_version(row) for row in (await connection.execute(query)).mappings()]
        return {ROUTING_RULES_VIEW.name: {version.tenant: version.encode() for version in found}}


async def _lock(transaction: RouterTransaction, tenant: str) -> None:
    """Have changes of a tenant's rules wait for each other until the end of the transaction."""
    await transaction.connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(_LOCK + tenant, 0))))


async def _published_version(connection: AsyncConnection, tenant: str) -> RuleSetVersion | None:
    query = (
        select(_versions)
        .join(_published, (_published.c.tenant == _versions.c.tenant) & (_published.c.version == _versions.c.version))
        .where(_published.c.tenant == tenant)
    )
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else _version(row)


def _rule_changes(before: RuleSetVersion | None, after: RuleSet) -> dict[str, str]:
    """Return what differs in each rule, by its name."""
    old, new = (
        {rule.name: rule.model_dump(mode="json", exclude={"name"}) for rule in rules}
        for rules in ([] if before is None else before.rule_set.rules, after.rules)
    )
    return describe_changes(old, new)


async def _draft(connection: AsyncConnection, tenant: str) -> RuleDraft | None:
    row = (await connection.execute(select(_drafts).where(_drafts.c.tenant == tenant))).mappings().one_or_none()
    if row is None:
        return None
    return RuleDraft(
        tenant=row["tenant"],
        revision=row["revision"],
        rule_set=RuleSet.model_validate(row["document"]),
        actor=row["actor"],
        saved_at=row["saved_at"].astimezone(UTC),
        based_on=row["based_on"],
    )


async def _next_revision(connection: AsyncConnection, tenant: str) -> int:
    """Return the next revision of a tenant's draft. None is used again: a reader of an earlier draft may still have it."""
    statement = insert(_revisions).values(tenant=tenant, revision=1)
    later = {"revision": _revisions.c.revision + 1}
    revision: int | None = await connection.scalar(
        statement.on_conflict_do_update(index_elements=["tenant"], set_=later).returning(_revisions.c.revision)
    )
    assert revision is not None, "an upsert returns its row"
    return revision


async def _insert_version(transaction: RouterTransaction, new: NewVersion) -> RuleSetVersion:
    last = await transaction.connection.scalar(
        select(func.max(_versions.c.version)).where(_versions.c.tenant == new.tenant)
    )
    version = RuleSetVersion(
        tenant=new.tenant,
        version=(last or 0) + 1,
        rule_set=new.rule_set,
        note=new.note,
        actor=new.actor,
        published_at=new.published_at,
        restored_from=new.restored_from,
    )
    values = version.model_dump(exclude={"rule_set"}) | {"document": _document(new.rule_set)}
    await transaction.connection.execute(insert(_versions).values(values))
    pointer = insert(_published).values(tenant=new.tenant, version=version.version)
    await transaction.connection.execute(
        pointer.on_conflict_do_update(index_elements=["tenant"], set_={"version": version.version})
    )
    return version


def _require_revision(present: RuleDraft | None, revision: int) -> None:
    """Raise RulesChanged unless the draft has this revision; 0 stands for no draft."""
    if present is None and revision != 0:
        raise RulesChanged("the draft is gone: somebody has published or discarded it; begin a new one with revision 0")
    if present is not None and present.revision != revision:
        raise RulesChanged(
            f"the draft is at revision {present.revision}, saved by {present.actor}: read it, and save again with that revision"
        )


def _number(version: RuleSetVersion | None) -> int:
    return 0 if version is None else version.version


def _other_version(published: RuleSetVersion | None) -> str:
    if published is None:
        return "nothing is published any more: look at the versions, and publish again with the expected version 0"
    return (
        f"version {published.version} is published, by {published.actor}: compare with it, and publish again with that expected"
        " version"
    )


def _outdated(draft: RuleDraft, published: RuleSetVersion | None) -> str:
    begun = f"when version {draft.based_on} was published" if draft.based_on else "when nothing was published"
    return f"the draft was begun {begun}, and now {_other_version(published)}"


def _document(rule_set: RuleSet) -> dict[str, object]:
    return rule_set.model_dump(mode="json", exclude_defaults=True)


def _version(row: RowMapping) -> RuleSetVersion:
    return RuleSetVersion(
        tenant=row["tenant"],
        version=row["version"],
        rule_set=RuleSet.model_validate(row["document"]),
        note=row["note"],
        actor=row["actor"],
        published_at=row["published_at"].astimezone(UTC),
        restored_from=row["restored_from"],
    )


def _summary(row: RowMapping) -> RuleVersionSummary:
    return RuleVersionSummary.model_validate(dict(row) | {"published_at": row["published_at"].astimezone(UTC)})
