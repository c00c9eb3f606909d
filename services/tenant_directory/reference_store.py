"""Looks up the teams, members and client tokens that alert rules name."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql.elements import ColumnElement

from keyferry.contracts.alert_metrics import ScopeField
from keyferry.contracts.alert_references import AlertReference
from services.tenant_directory.member_tables import members_table, teams_table
from services.tenant_directory.references import CHECKED, KnownReferences
from services.tenant_directory.tables import tokens_table
from services.tenant_directory.transactions import transaction


class ReferenceStore:
    """What there is of a tenant. Raises DatabaseUnavailable."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def look_up(self, tenant: str, references: Sequence[AlertReference], now: datetime) -> KnownReferences:
        """Return what exists of these references."""
        named: dict[ScopeField, set[str]] = {field: set() for field in CHECKED}
        for reference in references:
            if reference.field in named:
                named[reference.field].add(reference.value)
        teams, members, tokens = teams_table.c, members_table.c, tokens_table.c
        usable = (tokens.revoked_at.is_(None)) & (tokens.expires_at.is_(None) | (tokens.expires_at > now))
        async with transaction(self._engine) as connection:

            async def find(column: ColumnElement[str], field: ScopeField, where: ColumnElement[bool]) -> set[str]:
                return await _find(connection, column, named[field], where)

            own_teams = await find(teams.team, ScopeField.TEAM, teams.tenant == tenant)
            own_members = await find(members.member_id, ScopeField.MEMBER, members.tenant == tenant)
            of_tokens = (tokens.tenant == tenant) & usable
            return KnownReferences(
                own_teams | await find(tokens.team, ScopeField.TEAM, of_tokens),
                own_members | await find(tokens.member, ScopeField.MEMBER, of_tokens),
                await _read_tokens(connection, tenant, named[ScopeField.CLIENT_TOKEN]),
            )


async def _find(
    connection: AsyncConnection, column: ColumnElement[str], names: set[str], where: ColumnElement[bool]
) -> set[str]:
    if not names:
        return set()
    return set(await connection.scalars(select(column).where(where, column.in_(sorted(names))).distinct()))


async def _read_tokens(connection: AsyncConnection, tenant: str, names: set[str]) -> dict[str, bool]:
    if not names:
        return {}
    tokens = tokens_table.c
    query = select(tokens.token_id, tokens.revoked_at).where(
        tokens.tenant == tenant, tokens.token_id.in_(sorted(names))
    )
    return {row.token_id: row.revoked_at is not None for row in await connection.execute(query)}
