"""Access control of commands over HTTP: who may send which management request. A subject without a row is denied to everybody.

A row names the route with the same effect, whose roles it takes, so that the two cannot differ; or, where there is none, the
reason why the request is not taken over HTTP. The path parameters, queries and bodies of routes are narrower than the messages;
what differs here is only the form. Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from keyferry.contracts.access_role import AccessRole
from services.console.access import ALLOWED, INSTALLATION_PREFIX, OWN_PREFIX
from services.console.service_client import (
    ALL_RECORDS_SECONDS,
    CHECK_SECONDS,
    KEY_TEST_SECONDS,
    PROBE_SECONDS,
    RECONCILE_SECONDS,
    RULES_SECONDS,
    SEND_SECONDS,
    STRIPE_SECONDS,
    STRIPE_SYNC_SECONDS,
    SUMMARY_SECONDS,
    USUAL_SECONDS,
    WHOLE_AUDIT_SECONDS,
)

_RERATE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class CommandRule:
    """Who may send a management request, and how long its answer may take."""

    roles: frozenset[AccessRole]
    seconds: float = USUAL_SECONDS
    route: tuple[str, str] | None = None
    """Method and path template of the route with the same effect."""
    changes: bool = False
    """Whether it may have taken effect although its answer is lost."""
    stored: bool = True
    """Whether its change is stored by its service, with an event of the audit log; what is only sent leaves none."""
    unavailable: str = ""
    """Why nobody may send it over HTTP."""

    @property
    def recorded(self) -> bool:
        """Whether its use by an operator is recorded as access, because nothing else records it."""
        return not (self.changes and self.stored)


def _like(
    route: str, seconds: float = USUAL_SECONDS, *, under: str = OWN_PREFIX, changes: bool = True, stored: bool = True
) -> CommandRule:
    """Return the rule of a request with the effect of a route, such as `GET /budgets`, whose roles it takes."""
    method, _, path = route.partition(" ")
    row = (method, under + path)
    return CommandRule(ALLOWED[row], seconds, row, changes=changes and method != "GET", stored=stored)


def _operators(route: str, seconds: float = USUAL_SECONDS, *, changes: bool = True) -> CommandRule:
    """Return the rule of a request about the whole installation."""
    return _like(route, seconds, under=INSTALLATION_PREFIX, changes=changes)


def _only_on_the_bus(reason: str) -> CommandRule:
    return CommandRule(frozenset(), unavailable=reason)


_CHATS = "chats and embeddings are requested at the gateway, with a client token"
_ACCEPTED = "it says who is signed in, which the console alone knows"
_SESSIONS = "people sign in, choose a tenant and sign out under /auth and /api/v1/session, for themselves"
_RECORDED = "the console records the access of operators itself"
_PROCESSES = "it concerns the processes of the installation: use the operator's connection to the bus"
_STRIPE = "Stripe sends it to /webhooks/stripe, signed"
_TABLES = "it concerns who runs the database: use the operator's connection to the bus"

_ROWS: Mapping[str, CommandRule] = {
    "chat.request": _only_on_the_bus(_CHATS),
    "embedding.request": _only_on_the_bus(_CHATS),
    "worker.probe": _only_on_the_bus(_PROCESSES),
    "worker.control": _only_on_the_bus(_PROCESSES),
    "stripe.receive_webhook": _only_on_the_bus(_STRIPE),
    "service.ping": _only_on_the_bus(_PROCESSES),
    # people's sessions
    "session.start": _only_on_the_bus(_SESSIONS),
    "session.touch": _only_on_the_bus(_SESSIONS),
    "session.choose": _only_on_the_bus(_SESSIONS),
    "session.end": _only_on_the_bus(_SESSIONS),
    "session.list": _only_on_the_bus(_SESSIONS),
    "access.record": _only_on_the_bus(_RECORDED),
    # tenants and client tokens
    "tenant.create": _operators("POST /tenants"),
    "tenant.update": _operators("PATCH /tenants/{tenant}"),
    "content.get": _like("GET /requests/{request_id}/content"),
    "tenant.delete": _like("POST /tenant/delete"),
    "tenant_deletion.get": _like("GET /tenant/deletion"),
    "tenant.get": _like("GET /tenant"),
    "tenant.list": _operators("GET /tenants"),
    "tier.list": _like("GET /tiers"),
    "token.create": _like("POST /client-tokens"),
    "token.update": _like("PATCH /client-tokens/{token_id}"),
    "token.rotate": _like("POST /client-tokens/{token_id}/rotate"),
    "token.end_overlap": _like("POST /client-tokens/{token_id}/end-overlap"),
    "token.revoke": _like("DELETE /client-tokens/{token_id}"),
    "token.list": _like("GET /client-tokens"),
    "internal_service.create": _like("POST /internal-services"),
    "internal_service.revoke": _like("DELETE /internal-services/{name}"),
    "internal_service.list": _like("GET /internal-services"),
    # people
    "member.list": _like("GET /members"),
    "member.get": _like("GET /members/{member_id}"),
    "member.update": _like("PATCH /members/{member_id}"),
    "member.remove": _like("DELETE /members/{member_id}"),
    "member.sign_out": _like("DELETE /members/{member_id}/sessions"),
    "invitation.list": _like("GET /invitations"),
    "invitation.create": _like("POST /invitations"),
    "invitation.revoke": _like("DELETE /invitations/{invitation_id}"),
    "invitation.accept": _only_on_the_bus(_ACCEPTED),
    "team.list": _like("GET /teams"),
    "team.create": _like("POST /teams"),
    "team.update": _like("PATCH /teams/{team}"),
    "team.remove": _like("DELETE /teams/{team}"),
    # routing
    "endpoint.save": _like("PUT /endpoints/{name}", PROBE_SECONDS),
    "endpoint.remove": _like("DELETE /endpoints/{name}"),
    "endpoint.list": _like("GET /endpoints"),
    "model.list": _like("GET /models"),
    "rules.get": _like("GET /routing/rules"),
    "rules.save_draft": _like("PUT /routing/rules/draft", RULES_SECONDS),
    "rules.discard_draft": _like("DELETE /routing/rules/draft"),
    "rules.compare": _like("POST /routing/rules/diff", RULES_SECONDS, changes=False),
    "rules.dry_run": _like("POST /routing/rules/dry-run", RULES_SECONDS, changes=False),
    "rules.publish": _like("POST /routing/rules/publish", RULES_SECONDS),
    "rules.roll_back": _like("POST /routing/rules/rollback", RULES_SECONDS),
    "rules.versions": _like("GET /routing/rules/versions"),
    "power_level.compare": _like("GET /power-level/comparison", RULES_SECONDS),
    "recommendation.list": _like("GET /recommendations", RULES_SECONDS),
    "recommendation.draft": _like("POST /recommendations/draft", RULES_SECONDS),
    "route.explain": _like("POST /routing/explain", changes=False),
    "preferences.get": _like("GET /preferences"),
    "preferences.preview": _like("POST /preferences/preview", RULES_SECONDS, changes=False),
    "preferences.save": _like("PUT /preferences"),
    "preferences.list": _like("GET /preferences/scopes"),
    "feedback.save": _like("POST /feedback"),
    "feedback.list": _like("GET /feedback"),
    "feedback.preview": _like("GET /feedback/preview"),
    "cost.estimate": _like("POST /estimates", changes=False),
    "catalog.list": _operators("GET /models"),
    "catalog.save": _operators("PUT /models"),
    "catalog.retire": _operators("POST /models/retire"),
    "catalog.restore": _operators("POST /models/restore"),
    "catalog.remove": _operators("POST /models/remove"),
    "provider.list": _operators("GET /providers"),
    "provider.save": _operators("PUT /providers/{name}"),
    "provider.retire": _operators("POST /providers/{name}/retire"),
    "provider.restore": _operators("POST /providers/{name}/restore"),
    "price.list": _operators("GET /prices"),
    "price.set": _operators("PUT /prices"),
    "price.remove": _operators("POST /prices/remove"),
    # health
    "health.list": _like("GET /health/providers"),
    "health.force": _operators("POST /health/force"),
    "health.release": _operators("POST /health/release"),
    "outage.list": _like("GET /health/outages", SUMMARY_SECONDS),
    # keys
    "intake_key.get": _like("GET /provider-keys/intake-key"),
    "key.add": _like("POST /provider-keys", KEY_TEST_SECONDS),
    "key.try": _like("POST /provider-keys/test", KEY_TEST_SECONDS, changes=False),
    "key.test": _like("POST /provider-keys/{key_id}/test", KEY_TEST_SECONDS, changes=False),
    "key.rotate": _like("POST /provider-keys/{key_id}/rotate", KEY_TEST_SECONDS),
    "key.revert": _like("POST /provider-keys/{key_id}/revert", KEY_TEST_SECONDS),
    "key.edit": _like("PATCH /provider-keys/{key_id}"),
    "key.remove": _like("DELETE /provider-keys/{key_id}"),
    "key.list": _like("GET /provider-keys"),
    "integration_secret.save": _like("POST /integrations"),
    "integration_secret.rotate": _like("POST /integrations/{secret_id}/rotate"),
    "integration_secret.remove": _like("DELETE /integrations/{secret_id}"),
    "integration_secret.list": _like("GET /integrations"),
    "kek.rotate": _operators("POST /vault/rotate-kek"),
    "data_key.rotate": _like("POST /vault/rotate-data-keys", ALL_RECORDS_SECONDS),
    "vault.verify": _like("GET /vault/verify", ALL_RECORDS_SECONDS),
    "vault.shred": _like("POST /vault/shred"),
    # usage, money and the audit log
    "usage.summarize": _like("GET /usage/summary", SUMMARY_SECONDS),
    "analytics.summarize": _like("GET /usage/summary", SUMMARY_SECONDS),
    "analytics.list_series": _like("GET /usage/series", SUMMARY_SECONDS),
    "analytics.break_down": _like("GET /usage/breakdown", SUMMARY_SECONDS),
    "analytics.list_tags": _like("GET /usage/tags", SUMMARY_SECONDS),
    "analytics.compute_savings": _like("GET /usage/savings", SUMMARY_SECONDS),
    "analytics.forecast": _like("GET /usage/forecast", SUMMARY_SECONDS),
    "analytics.analyze": _operators("GET /analytics", 2 * SUMMARY_SECONDS),
    "service_level.report": _only_on_the_bus("processes report what they have counted themselves"),
    "service_level.get": _operators("GET /service-levels", SUMMARY_SECONDS),
    "attempt.list": _like("GET /requests/{request_id}"),
    "decision.get": _like("GET /requests/{request_id}"),
    "request.list": _like("GET /requests", SUMMARY_SECONDS),
    "request.show": _like("GET /requests/{request_id}", SUMMARY_SECONDS),
    "trace.get": _like("GET /traces/{trace}", SUMMARY_SECONDS),
    "credits.get": _like("GET /credits"),
    "credits.history": _like("GET /credits/history"),
    "credits.grant": _like("POST /credits/grants"),
    "credits.adjust": _like("POST /credits/adjustments"),
    "credits.threshold": _like("PUT /credits/threshold"),
    "payment.list": _like("GET /credits/payments"),
    "payment.check_missing": _like("POST /credits/payments/check-missing", CHECK_SECONDS),
    "package.list": _like("GET /credits/packages"),
    "package.sync": _operators("POST /billing/packages/sync", STRIPE_SYNC_SECONDS),
    "checkout.create": _like("POST /credits/checkouts", STRIPE_SECONDS),
    "checkout.get": _like("GET /credits/checkouts/{purchase}", STRIPE_SECONDS),
    "checkout.cancel": _like("POST /credits/checkouts/{purchase}/cancel", STRIPE_SECONDS),
    "purchase.list": _like("GET /credits/checkouts"),
    "customer.get": _like("GET /credits/customer"),
    "top_up.get": _like("GET /credits/top-up"),
    "top_up.save": _like("PUT /credits/top-up"),
    "top_up.resume": _like("POST /credits/top-up/resume"),
    "subscription.get": _like("GET /billing/subscription", STRIPE_SECONDS),
    "subscription.start": _like("POST /billing/subscription", STRIPE_SECONDS),
    "subscription.change": _like("PUT /billing/subscription", STRIPE_SECONDS),
    "subscription.cancel": _like("POST /billing/subscription/cancel", STRIPE_SECONDS),
    "stripe_event.list": _operators("GET /billing/stripe/events"),
    "stripe_event.replay": _operators("POST /billing/stripe/events/replay"),
    "stripe_reconciliation.list": _operators("GET /billing/stripe/reconciliations"),
    "stripe_reconciliation.run": _operators("POST /billing/stripe/reconciliations", RECONCILE_SECONDS),
    "allowance.get": _like("GET /allowance"),
    "reconciliation.run": _like("POST /reconciliations", RECONCILE_SECONDS),
    "reconciliation.list": _like("GET /reconciliations"),
    "reconciliation.get": _like("GET /reconciliations/{reconciliation_id}"),
    "reconciliation_schedule.list": _like("GET /reconciliations/schedules"),
    "reconciliation_schedule.save": _like("PUT /reconciliations/schedules/{provider}"),
    "reconciliation_schedule.remove": _like("DELETE /reconciliations/schedules/{provider}"),
    "lago.status": _operators("GET /billing/lago"),
    "lago.backfill": _operators("POST /billing/lago/backfill", RECONCILE_SECONDS),
    "lago_customer.list": _operators("GET /billing/lago/customers"),
    "lago_customer.save": _operators("PUT /billing/lago/customers/{tenant}"),
    "lago_event.list_parked": _operators("GET /billing/lago/events"),
    "lago_event.replay": _operators("POST /billing/lago/events/replay", RECONCILE_SECONDS),
    "budget.list": _like("GET /budgets"),
    "budget.save": _like("POST /budgets"),
    "budget.remove": _like("DELETE /budgets/{budget_id}"),
    "channel.list": _like("GET /notification-channels"),
    "channel.save": _like("POST /notification-channels"),
    "channel.remove": _like("DELETE /notification-channels/{channel_id}"),
    "channel.test": _like("POST /notification-channels/{channel_id}/test", SEND_SECONDS, stored=False),
    "channel_address.ask": _like("POST /notification-channels/send-code", SEND_SECONDS),
    "channel_address.confirm": _like("POST /notification-channels/confirm-address"),
    "webhook_endpoint.list": _like("GET /webhooks"),
    "webhook_endpoint.save": _like("POST /webhooks"),
    "webhook_endpoint.remove": _like("DELETE /webhooks/{endpoint_id}"),
    "webhook_endpoint.rotate_secret": _like("POST /webhooks/{endpoint_id}/rotate"),
    "webhook_endpoint.test": _like("POST /webhooks/{endpoint_id}/test", SEND_SECONDS, stored=False),
    "delivery.list": _like("GET /webhooks/{endpoint_id}/deliveries"),
    "delivery.replay": _like("POST /webhooks/{endpoint_id}/replay"),
    "report.list": _like("GET /reports"),
    "report.save": _like("POST /reports"),
    "report.remove": _like("DELETE /reports/{report_id}"),
    "report.preview": _like("GET /reports/{report_id}/preview", SEND_SECONDS),
    "report.send": _like("POST /reports/{report_id}/send", SEND_SECONDS, stored=False),
    "statement.get": _like("GET /invoices/{month}", SUMMARY_SECONDS),
    "statement.list": _like("GET /invoices", SUMMARY_SECONDS),
    "alert.list": _like("GET /alerts"),
    "alert.acknowledge": _like("POST /alerts/{alert_id}/acknowledge"),
    "alert_rule.list": _like("GET /alerts/rules"),
    "alert_rule.save": _like("POST /alerts/rules"),
    "alert_rule.remove": _like("DELETE /alerts/rules/{rule_id}"),
    "alert_rule.preview": _like("POST /alerts/rules/preview", RULES_SECONDS, changes=False),
    "compliance.get": _like("GET /compliance", SUMMARY_SECONDS),
    "audit.list": _like("GET /audit"),
    "audit.verify": _like("GET /audit/verify", WHOLE_AUDIT_SECONDS),
    "margin.get": _operators("GET /ledger/margin", SUMMARY_SECONDS),
    "attempt.rerate": _operators("POST /ledger/rerate", _RERATE_SECONDS),
    "dead_letter.list": _operators("GET /dead-letters"),
    "dead_letter.get": _operators("GET /dead-letters/{number}"),
    "dead_letter.replay": _operators("POST /dead-letters/replay", SUMMARY_SECONDS),
    "dead_letter.discard": _operators("POST /dead-letters/discard"),
    "credit_worker.list": _only_on_the_bus(_PROCESSES),
    "credit_worker.declare_lost": _only_on_the_bus(_PROCESSES),
    "partition.list": _only_on_the_bus(_TABLES),
    "projection.rebuild": _only_on_the_bus(_TABLES),
}

COMMANDS: Mapping[str, CommandRule] = MappingProxyType(_ROWS)
"""Maps the name of a subject, such as `budget.save`, to its rule."""
AVAILABLE = tuple(name for name, rule in _ROWS.items() if not rule.unavailable)
"""The names of the management requests that somebody may send over HTTP."""


RECORDED_ROUTES = frozenset(rule.route for rule in _ROWS.values() if rule.route is not None and rule.recorded)
"""Method and path template of the routes that store no change though they may be a POST."""


def may_send(role: AccessRole, name: str) -> bool:
    """Return whether somebody with this role may send this management request."""
    rule = COMMANDS.get(name)
    return rule is not None and role in rule.roles
