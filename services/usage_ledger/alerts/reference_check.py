"""Asks the owners of teams, client tokens and models whether there is what alert rules name.

Nothing is kept: rules are listed and saved seldom, and the owners' tables are right at any moment. An owner that does not answer
says nothing: a loss is never claimed because a service is down.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence

from nats.errors import Error as NatsError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.contracts.alert_management import REFERENCE_CHECK_DIRECTORY, REFERENCE_CHECK_ROUTER
from keyferry.contracts.alert_metrics import ScopeField
from keyferry.contracts.alert_references import CheckReferences, MissingReference, MissingReferences
from keyferry.contracts.alert_rules import AlertRuleTerms
from keyferry.contracts.channels import Subject
from keyferry.contracts.envelope import MalformedMessage
from keyferry.runtime.bus.requests import BusError, Refused
from services.usage_ledger.alerts.references import OF_DIRECTORY, OF_ROUTER, references_of
from services.usage_ledger.analytics.rollup_sql import ALL_VALUES, MODEL_VALUES
from services.usage_ledger.database import TransactionalStore

_log = logging.getLogger(__name__)

Question = Subject[CheckReferences, MissingReferences]
Ask = Callable[[Question, CheckReferences], Awaitable[MissingReferences]]
"""Asks an owner. Raises Refused, BusError and MalformedMessage."""

_USED = text(f"""
SELECT DISTINCT 'provider' AS field, provider AS value, NULL AS provider FROM usage_ledger.usage_values
WHERE tenant = :tenant AND kind = {MODEL_VALUES} AND provider = ANY(CAST(:providers AS text[]))
UNION ALL
SELECT DISTINCT 'model', model, provider FROM usage_ledger.usage_values
WHERE tenant = :tenant AND kind = {MODEL_VALUES} AND model = ANY(CAST(:models AS text[]))
""")  # noqa: S608 - a number
_USED_WITHOUT_TOKEN = text(f"""
SELECT DISTINCT named.field, named.value, NULL AS provider
FROM usage_ledger.usage_values AS used, LATERAL (VALUES ('team', used.team), ('member', used.member)) AS named (field, value)
WHERE used.tenant = :tenant AND used.kind = {ALL_VALUES} AND used.client_token_id IS NULL
    AND (used.team = ANY(CAST(:teams AS text[])) OR used.member = ANY(CAST(:members AS text[])))
""")  # noqa: S608
"""A tenant's own programs on the bus have no client token, and name teams and members as they like."""


class ReferenceCheck(TransactionalStore):
    """Finds what does not exist. Raises DatabaseUnavailable."""

    def __init__(self, engine: AsyncEngine, ask: Ask) -> None:
        super().__init__(engine)
        self._ask = ask

    async def find_missing(self, tenant: str, rules: Sequence[AlertRuleTerms]) -> list[MissingReference]:
        """Return what rules of a tenant name and what does not exist, as far as that is known now."""
        answers = await asyncio.gather(
            self._question(REFERENCE_CHECK_DIRECTORY, tenant, rules, OF_DIRECTORY),
            self._question(REFERENCE_CHECK_ROUTER, tenant, rules, OF_ROUTER),
        )
        missing = [each for answer in answers for each in answer]
        if not missing:
            return []
        used = await self._read_used(tenant, missing)
        return [each for each in missing if not _is_used(each, used)]

    async def _question(
        self, subject: Question, tenant: str, rules: Iterable[AlertRuleTerms], fields: frozenset[ScopeField]
    ) -> Sequence[MissingReference]:
        references = references_of(rules, fields)
        if not references:
            return ()
        try:
            answer = await self._ask(subject, CheckReferences(tenant=tenant, references=references))
        except (Refused, BusError, NatsError, MalformedMessage) as error:
            _log.info("what alert rules name cannot be looked up", extra={"asked": subject.name, "reason": str(error)})
            return ()
        return answer.missing

    async def _read_used(self, tenant: str, missing: Sequence[MissingReference]) -> set[tuple[str, str, str | None]]:
        """Return what attempts have of this, whatever its owner says: it exists for those who send requests."""
        found: set[tuple[str, str, str | None]] = set()
        async with self.snapshot() as connection:
            for statement, fields in _STATEMENTS:
                named = {f"{field}s": [each.value for each in missing if each.field is field] for field in fields}
                if any(named.values()):
                    rows = await connection.execute(statement, named | {"tenant": tenant})
                    found.update((row.field, row.value, row.provider) for row in rows)
        return found


def _is_used(reference: MissingReference, used: set[tuple[str, str, str | None]]) -> bool:
    field, value = reference.field.value, reference.value
    if reference.field is ScopeField.MODEL and reference.provider is None:
        return any(each[:2] == (field, value) for each in used)
    return (field, value, reference.provider) in used


_STATEMENTS = (
    (_USED, (ScopeField.PROVIDER, ScopeField.MODEL)),
    (_USED_WITHOUT_TOKEN, (ScopeField.TEAM, ScopeField.MEMBER)),
)
