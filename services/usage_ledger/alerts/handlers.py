"""Handlers of requests about alerts and their rules."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from functools import partial

from nats.errors import Error as NatsError
from nats.js.errors import APIError

from keyferry.contracts.alert_events import AlertReported, ReportAlert
from keyferry.contracts.alert_management import (
    ALERT_ACKNOWLEDGE,
    ALERT_LIST,
    ALERT_REPORT,
    ALERT_RULE_LIST,
    ALERT_RULE_PREVIEW,
    ALERT_RULE_REMOVE,
    ALERT_RULE_SAVE,
)
from keyferry.contracts.alert_rules import (
    MAX_ALERT_RULES,
    AlertPreview,
    AlertRule,
    AlertRuleRemoved,
    AlertRules,
    AlertRuleStatus,
    ListAlertRules,
    PreviewAlertRule,
    RemoveAlertRule,
    SaveAlertRule,
)
from keyferry.contracts.alerts import AcknowledgeAlert, Alert, Alerts, ListAlerts
from keyferry.contracts.audit import AuditHead
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from services.usage_ledger.alerts.alert_store import AlertStore, UnknownAlert, status_of
from services.usage_ledger.alerts.fact_reading import FactReader, NeededFacts
from services.usage_ledger.alerts.facts import TenantFacts
from services.usage_ledger.alerts.findings import find_missing
from services.usage_ledger.alerts.preview import AlertPreviews
from services.usage_ledger.alerts.reference_check import ReferenceCheck
from services.usage_ledger.alerts.references import describe_refusal
from services.usage_ledger.alerts.rule_store import (
    AlertRuleChanged,
    AlertRuleStore,
    FixedMetric,
    TooManyAlertRules,
    UnknownAlertRule,
)
from services.usage_ledger.database_outage import refuse_outages


class AlertHandlers:
    """Answers requests about alerts. All raise Refused."""

    def __init__(
        self,
        rules: AlertRuleStore,
        alerts: AlertStore,
        facts: FactReader,
        references: ReferenceCheck,
        previews: AlertPreviews,
        require_tenant: Callable[[str], Awaitable[None]],
        committed: Callable[[], None],
        publish_head: Callable[[AuditHead], Awaitable[None]],
        clock: Callable[[], datetime],
    ) -> None:
        self._rules = rules
        self._alerts = alerts
        self._facts = facts
        self._references = references
        self._previews = previews
        self._require_tenant = require_tenant
        self._committed = committed
        self._publish_head = publish_head
        self._clock = clock

    def register(self, bus: Bus) -> None:
        """Subscribe to the requests. Call before the bus is started."""
        bus.respond(ALERT_RULE_SAVE, self.save)
        bus.respond(ALERT_RULE_LIST, self.list_rules)
        bus.respond(ALERT_RULE_REMOVE, self.remove)
        bus.respond(ALERT_RULE_PREVIEW, self.preview)
        bus.respond(ALERT_LIST, self.list_alerts)
        bus.respond(ALERT_ACKNOWLEDGE, self.acknowledge)
        bus.respond(ALERT_REPORT, self.report)

    async def save(self, command: SaveAlertRule) -> AlertRuleStatus:
        """Add a rule, or replace its terms."""
        await self._require(command.tenant)
        with _refuse_errors(command):
            terms = command.model_dump(exclude={"rule_id", "expected_revision", "actor"})
            wanted = _as_rule(terms, command.rule_id or "alr_new")
            if wanted.scope.key is not None:
                await self._facts.await_key(command.tenant, wanted.scope.key)
            facts = await self._read_facts(command.tenant, [wanted])
            missing = find_missing(wanted, facts)
            if missing:
                raise Refused(ErrorCode.INVALID, f"nothing was saved: {describe_refusal(missing)}")
            rule, head = await self._rules.save(command, self._clock())
        await self._publish(head)
        return status_of(rule, facts)

    async def list_rules(self, command: ListAlertRules) -> AlertRules:
        """Return the rules of a tenant, or one of them."""
        with _refuse_errors(command):
            return await self._alerts.list_rules(command, partial(self._read_facts, command.tenant))

    async def remove(self, command: RemoveAlertRule) -> AlertRuleRemoved:
        """Remove a rule, or restore the usual terms of one that every tenant has."""
        with _refuse_errors(command):
            resolved, head = await self._rules.remove(command, self._clock())
        await self._publish(head)
        return AlertRuleRemoved(rule_id=command.rule_id, resolved=resolved)

    async def preview(self, command: PreviewAlertRule) -> AlertPreview:
        """Return when a rule would have fired."""
        await self._require(command.tenant)
        with _refuse_errors(command):
            return await self._previews.preview(command)

    async def list_alerts(self, command: ListAlerts) -> Alerts:
        """Return a page of a tenant's alerts, newest first."""
        with _refuse_errors(command):
            return await self._alerts.list_alerts(command)

    async def acknowledge(self, command: AcknowledgeAlert) -> Alert:
        """Say that somebody has seen an alert."""
        with _refuse_errors(command):
            alert, head = await self._alerts.acknowledge(command, self._clock())
        if head is not None:
            await self._publish(head)
        return alert

    async def report(self, command: ReportAlert) -> AlertReported:
        """Record what another service says."""
        await self._require(command.tenant)
        with _refuse_errors(command):
            changed = await self._alerts.report(command, self._clock())
        self._committed()
        return AlertReported(changed=changed)

    async def _require(self, tenant: str) -> None:
        if tenant != PLATFORM_TENANT:
            await self._require_tenant(tenant)

    async def _read_facts(self, tenant: str, rules: Sequence[AlertRule]) -> TenantFacts:
        """Return what says whether these rules of a tenant can fire."""
        missing = await self._references.find_missing(tenant, rules)
        found = (await self._facts.read([NeededFacts(tenant)], {}, self._clock()))[tenant]
        return replace(found, missing=missing)

    async def _publish(self, head: AuditHead) -> None:
        """Publish what is committed already; what cannot be published now follows with the next change of the chain."""
        self._committed()
        with suppress(NatsError, APIError, TimeoutError):
            await self._publish_head(head)


def _as_rule(terms: dict[str, object], rule_id: str) -> AlertRule:
    return AlertRule.model_validate(terms | {"rule_id": rule_id, "revision": 0})


@contextmanager
def _refuse_errors(
    command: SaveAlertRule
    | ListAlertRules
    | RemoveAlertRule
    | PreviewAlertRule
    | ListAlerts
    | AcknowledgeAlert
    | ReportAlert,
) -> Iterator[None]:
    tenant = command.tenant
    try:
        with refuse_outages():
            yield
    except UnknownAlertRule:
        message = f"{tenant} has no such alert rule of its own: `keyferry alerts rules --tenant {tenant}` shows those that it has"
        raise Refused(ErrorCode.NOT_FOUND, message) from None
    except UnknownAlert:
        message = f"{tenant} has no such alert: `keyferry alerts list --tenant {tenant}` shows those that it has"
        raise Refused(ErrorCode.NOT_FOUND, message) from None
    except TooManyAlertRules:
        message = (
            f"nothing was saved: {tenant} has {MAX_ALERT_RULES} alert rules, the most there may be; remove one first"
        )
        raise Refused(ErrorCode.CONFLICT, message) from None
    except FixedMetric:
        message = (
            "nothing was saved: the metric of a rule stays as it is, since its alerts would be of something else; add another"
            " rule, and remove this one"
        )
        raise Refused(ErrorCode.CONFLICT, message) from None
    except AlertRuleChanged as error:
        message = (
            f"nothing was saved: the rule is at revision {error.revision}, since somebody else has changed it; read it again,"
            " and repeat the change"
        )
        raise Refused(ErrorCode.CONFLICT, message) from None
