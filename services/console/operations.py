"""Every command of `keyferry` and the route that does the same, or the reason why there is none.

A test compares this table with the command line and with the routes, so that a new command, option or route needs an entry. Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from keyferry.contracts.catalog import CatalogModel
from keyferry.contracts.price_edits import TokenPrices

TENANT_ROUTES = T = "/api/v1/ops/tenants/{tenant}"
"""Routes about a tenant also exist under `/api/v1`, for the credential's own tenant."""
OPERATOR_ROUTES = _OPS = "/api/v1/ops"
_OUTPUT = "output"
"""Marks an option that only chooses how a terminal shows or asks for something."""
_ROUTE = "route"
"""Marks an option that has a route of its own."""
_CLIENT = "client"
"""Marks an option that the HTTP client implements itself; the guide says how."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A command, and its route or the reason why it is not available over HTTP."""

    command: str
    """As typed after `keyferry`."""
    method: str = ""
    path: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Option or argument -> field of the body, parameter of the query or the path, where the names differ.

    `output`, `route` and `client` stand for options without a field.
    """
    only_here: str = ""
    """Why it is only on the command line; empty if it has a route."""


_LIMITS = dict.fromkeys(("rpm", "tpm", "concurrency"), "limits")
_MODEL = dict.fromkeys((*CatalogModel.model_fields.keys() - {"id"}, "default"), "model")
_KEY = {"key_file": "key", "models": "allowed_models", "expires": "expires_at", "monthly_limit": "monthly_limit_usd"}
_TOKEN = {
    "models": "allowed_models",
    "operations": "allowed_operations",
    "apis": "allowed_apis",
    "origins": "allowed_origins",
    "expires": "expires_at",
}
_CHANNEL = {
    "emails": "recipients",
    "slack_secret": "secret_id",
    "endpoint": "endpoint_id",
    **dict.fromkeys(("quiet", "quiet_zone"), "quiet_hours"),
}
_REPORT = {"zone": "time_zone", "channel": "channel_id"}
_REPLAY = {"everything": "failed_only"}
_REQUESTS = {"min_cost": "min_cost_usd", "min_latency": "min_latency_ms", "id_": "id", "token": "client_token"}
_ALERT_SCOPE = ("provider", "model", "operation", "team", "member", "token", "key", "key_source", "tag", "budget")
_ALERT_RULE = {
    **dict.fromkeys(_ALERT_SCOPE, "scope"),
    "threshold": "condition",
    "unusual": "condition",
    "quiet": "channels",
    "channels": "channels",
}

OPERATIONS = (
    Operation("login", only_here="over HTTP people sign in under /auth (docs/guides/signing-in.md)"),
    Operation("logout", only_here="over HTTP people sign out with POST /auth/logout"),
    Operation("whoami", only_here="GET /api/v1/session says it, for the sender alone"),
    Operation(
        "chat", only_here="the gateway itself takes chats over HTTP, at /v1/chat/completions, with a client token"
    ),
    Operation("explain", "GET", f"{T}/requests/{{request_id}}"),
    Operation("route explain", "GET", f"{T}/requests/{{request_id}}"),
    Operation("trace", "GET", f"{T}/traces/{{trace}}", {"given_id": "trace", "attributes": _OUTPUT}),
    Operation("requests list", "GET", f"{T}/requests", {**_REQUESTS, "total": "count"}),
    Operation("requests tail", "GET", f"{T}/requests", _REQUESTS),
    # With --content: GET requests/{request_id}/content.
    Operation("requests show", "GET", f"{T}/requests/{{request_id}}", {"content": _ROUTE}),
    Operation(
        "requests export",
        "GET",
        f"{T}/requests/export",
        {**_REQUESTS, "form": "format", "output": _OUTPUT, "quiet": _OUTPUT},
    ),
    # With --by day and the like: GET usage/series.
    Operation("usage", "GET", f"{T}/usage/breakdown", {"as_csv": "format"}),
    Operation("usage errors", "GET", f"{T}/usage/errors", {"as_csv": "format"}),
    Operation("usage latency", "GET", f"{T}/usage/latency", {"as_csv": "format"}),
    Operation("usage savings", "GET", f"{T}/usage/savings", {"baseline": "baseline_model"}),
    Operation("usage forecast", "GET", f"{T}/usage/forecast"),
    Operation("ops analytics", "GET", f"{_OPS}/analytics"),
    Operation("slo", "GET", f"{_OPS}/service-levels", {"check": _OUTPUT}),
    Operation("ops usage", "GET", f"{_OPS}/usage/breakdown", {"as_csv": "format", "of": "tenant"}),
    Operation("usage tags", "GET", f"{T}/usage/tags"),
    Operation("recommend list", "GET", f"{T}/recommendations"),
    # The command reads the recommendations for the rule of the one with the id.
    Operation("recommend draft", "POST", f"{T}/recommendations/draft", {"recommendation_id": "rule", "days": _CLIENT}),
    Operation(
        "estimate",
        "POST",
        f"{T}/estimates",
        {"request_file": "request", "own_keys": "prefer_own_keys", "embeddings": "kind"},
    ),
    Operation("credits show", "GET", f"{T}/credits"),
    Operation("credits history", "GET", f"{T}/credits/history"),
    Operation("credits grant", "POST", f"{T}/credits/grants", {"amount": "credits"}),
    Operation("credits adjust", "POST", f"{T}/credits/adjustments", {"amount": "credits"}),
    Operation("credits threshold", "PUT", f"{T}/credits/threshold", {"amount": "credits"}),
    Operation("billing payments", "GET", f"{T}/credits/payments"),
    Operation("billing check-missing", "POST", f"{T}/credits/payments/check-missing"),
    Operation("billing packages", "GET", f"{T}/credits/packages"),
    Operation("billing sync-packages", "POST", f"{_OPS}/billing/packages/sync"),
    Operation(
        "billing buy",
        "POST",
        f"{T}/credits/checkouts",
        {"amount": "price_usd", "save": "save_payment_method"},
    ),
    Operation("billing purchases", "GET", f"{T}/credits/checkouts"),
    Operation("billing checkout", "GET", f"{T}/credits/checkouts/{{purchase}}"),
    Operation("billing cancel", "POST", f"{T}/credits/checkouts/{{purchase}}/cancel"),
    Operation("billing customer", "GET", f"{T}/credits/customer"),
    Operation("billing top-up", "GET", f"{T}/credits/top-up"),
    Operation(
        "billing set-top-up",
        "PUT",
        f"{T}/credits/top-up",
        {"amount": "price_usd", "ceiling": "monthly_ceiling_usd", "off": "enabled"},
    ),
    Operation("billing resume-top-up", "POST", f"{T}/credits/top-up/resume"),
    Operation("billing subscription", "GET", f"{T}/billing/subscription"),
    Operation("billing subscribe", "POST", f"{T}/billing/subscription"),
    Operation("billing change-subscription", "PUT", f"{T}/billing/subscription"),
    Operation("billing cancel-subscription", "POST", f"{T}/billing/subscription/cancel"),
    Operation("billing events", "GET", f"{_OPS}/billing/stripe/events", {"state": "event_state"}),
    Operation("billing replay-events", "POST", f"{_OPS}/billing/stripe/events/replay"),
    Operation("billing reconcile", "POST", f"{_OPS}/billing/stripe/reconciliations"),
    Operation("billing reconciliations", "GET", f"{_OPS}/billing/stripe/reconciliations"),
    Operation("invoices list", "GET", f"{T}/invoices"),
    Operation("invoices show", "GET", f"{T}/invoices/{{month}}"),
    Operation("invoices download", "GET", f"{T}/invoices/{{month}}", {"form": "format", "output": _OUTPUT}),
    Operation("billing lago status", "GET", f"{_OPS}/billing/lago"),
    Operation("billing lago customers", "GET", f"{_OPS}/billing/lago/customers"),
    Operation("billing lago set-customer", "PUT", f"{_OPS}/billing/lago/customers/{{tenant}}"),
    Operation("billing lago parked", "GET", f"{_OPS}/billing/lago/events"),
    Operation("billing lago replay", "POST", f"{_OPS}/billing/lago/events/replay"),
    Operation("billing lago backfill", "POST", f"{_OPS}/billing/lago/backfill"),
    Operation("reconcile run", "POST", f"{T}/reconciliations", {"csv_file": "csv", "total": "total_usd"}),
    Operation("reconcile list", "GET", f"{T}/reconciliations"),
    Operation("reconcile show", "GET", f"{T}/reconciliations/{{reconciliation_id}}"),
    Operation("reconcile schedules", "GET", f"{T}/reconciliations/schedules"),
    Operation("reconcile schedule", "PUT", f"{T}/reconciliations/schedules/{{provider}}"),
    Operation("reconcile unschedule", "DELETE", f"{T}/reconciliations/schedules/{{provider}}"),
    Operation("allowance", "GET", f"{T}/allowance"),
    Operation("ledger partitions", only_here="how tables are stored concerns who runs the database"),
    Operation("ledger margin", "GET", f"{_OPS}/ledger/margin"),
    Operation("ledger rerate", "POST", f"{_OPS}/ledger/rerate"),
    Operation("credits workers", only_here="it shows workers and their leases, for the operator of the processes"),
    Operation(
        "credits declare-lost", only_here="it gives up a worker's leases, which the operator of its machine decides"
    ),
    Operation("ledger rebuild", only_here="it computes tables again, which is for the operator of their database"),
    Operation("budgets list", "GET", f"{T}/budgets"),
    Operation("budgets show", "GET", f"{T}/budgets/{{budget_id}}"),
    Operation(
        "budgets set",
        "POST",
        f"{T}/budgets",
        {
            "limit": "limit_usd",
            "time_zone": "window",
            **dict.fromkeys(("team", "member", "token", "key", "model"), "value"),
        },
    ),
    Operation("budgets remove", "DELETE", f"{T}/budgets/{{budget_id}}"),
    Operation("alerts list", "GET", f"{T}/alerts"),
    Operation("alerts show", "GET", f"{T}/alerts/{{alert_id}}"),
    Operation("alerts acknowledge", "POST", f"{T}/alerts/{{alert_id}}/acknowledge"),
    Operation("alerts metrics", "GET", f"{T}/alerts/metrics"),
    Operation("alerts rules", "GET", f"{T}/alerts/rules"),
    Operation("alerts create", "POST", f"{T}/alerts/rules", _ALERT_RULE),
    Operation("alerts change", "PUT", f"{T}/alerts/rules/{{rule_id}}", _ALERT_RULE),
    Operation("alerts test", "POST", f"{T}/alerts/rules/preview", _ALERT_RULE),
    Operation("alerts remove", "DELETE", f"{T}/alerts/rules/{{rule_id}}"),
    Operation("channels list", "GET", f"{T}/notification-channels"),
    Operation("channels add", "POST", f"{T}/notification-channels", _CHANNEL),
    Operation("channels change", "PUT", f"{T}/notification-channels/{{channel_id}}", _CHANNEL),
    Operation("channels remove", "DELETE", f"{T}/notification-channels/{{channel_id}}"),
    Operation("channels test", "POST", f"{T}/notification-channels/{{channel_id}}/test"),
    Operation("channels send-code", "POST", f"{T}/notification-channels/send-code"),
    Operation("channels confirm", "POST", f"{T}/notification-channels/confirm-address"),
    Operation("channels log", "GET", f"{T}/notification-channels/{{channel_id}}/deliveries", {"kind": "event_type"}),
    Operation("channels replay", "POST", f"{T}/notification-channels/{{channel_id}}/replay", _REPLAY),
    Operation("webhooks list", "GET", f"{T}/webhooks"),
    Operation("webhooks add", "POST", f"{T}/webhooks", {"events": "event_types"}),
    Operation("webhooks change", "PUT", f"{T}/webhooks/{{endpoint_id}}", {"events": "event_types"}),
    Operation("webhooks remove", "DELETE", f"{T}/webhooks/{{endpoint_id}}"),
    Operation("webhooks rotate", "POST", f"{T}/webhooks/{{endpoint_id}}/rotate", {"overlap": "overlap_seconds"}),
    Operation("webhooks test", "POST", f"{T}/webhooks/{{endpoint_id}}/test"),
    Operation("webhooks log", "GET", f"{T}/webhooks/{{endpoint_id}}/deliveries", {"kind": "event_type"}),
    Operation("webhooks replay", "POST", f"{T}/webhooks/{{endpoint_id}}/replay", _REPLAY),
    Operation("reports list", "GET", f"{T}/reports"),
    Operation("reports add", "POST", f"{T}/reports", _REPORT),
    Operation("reports change", "PUT", f"{T}/reports/{{report_id}}", _REPORT),
    Operation("reports remove", "DELETE", f"{T}/reports/{{report_id}}"),
    Operation("reports preview", "GET", f"{T}/reports/{{report_id}}/preview"),
    Operation("reports send", "POST", f"{T}/reports/{{report_id}}/send"),
    Operation("feedback rate", "POST", f"{T}/feedback"),
    Operation("feedback list", "GET", f"{T}/feedback"),
    Operation("feedback preview", "GET", f"{T}/feedback/preview"),
    Operation(
        "tokens create",
        "POST",
        f"{T}/client-tokens",
        {**_TOKEN, "output": _OUTPUT, **_LIMITS},
    ),
    # A field that is null is cleared.
    Operation("tokens edit", "PATCH", f"{T}/client-tokens/{{token_id}}", {**_TOKEN, "clear": _CLIENT}),
    Operation("tokens enable", "PATCH", f"{T}/client-tokens/{{token_id}}"),
    Operation("tokens disable", "PATCH", f"{T}/client-tokens/{{token_id}}"),
    Operation(
        "tokens rotate",
        "POST",
        f"{T}/client-tokens/{{token_id}}/rotate",
        {"overlap": "overlap_seconds", "output": _OUTPUT},
    ),
    Operation("tokens end-overlap", "POST", f"{T}/client-tokens/{{token_id}}/end-overlap"),
    Operation("tokens limit", "PATCH", f"{T}/client-tokens/{{token_id}}", _LIMITS),
    Operation("tokens list", "GET", f"{T}/client-tokens"),
    Operation("tokens revoke", "DELETE", f"{T}/client-tokens/{{token_id}}"),
    # The keys are generated where the command runs, and their public halves are sent.
    Operation(
        "services create",
        "POST",
        f"{T}/internal-services",
        {"operations": "operations", "output": _OUTPUT, "nats_url": _CLIENT},
    ),
    Operation("services list", "GET", f"{T}/internal-services"),
    Operation("services revoke", "DELETE", f"{T}/internal-services/{{name}}"),
    Operation("members list", "GET", f"{T}/members"),
    Operation(
        "members invite", "POST", f"{T}/invitations", {"team": "teams", "expires": "expires_at", "output": _OUTPUT}
    ),
    Operation("members role", "PATCH", f"{T}/members/{{member_id}}", {"member": "member_id"}),
    # The state is `suspended` or `active`.
    Operation("members suspend", "PATCH", f"{T}/members/{{member_id}}", {"member": "member_id"}),
    Operation("members activate", "PATCH", f"{T}/members/{{member_id}}", {"member": "member_id"}),
    Operation("members remove", "DELETE", f"{T}/members/{{member_id}}", {"member": "member_id"}),
    Operation("members sign-out", "DELETE", f"{T}/members/{{member_id}}/sessions", {"member": "member_id"}),
    Operation("members invitations", "GET", f"{T}/invitations"),
    Operation("members revoke-invitation", "DELETE", f"{T}/invitations/{{invitation_id}}"),
    Operation("teams list", "GET", f"{T}/teams"),
    Operation("teams show", "GET", f"{T}/teams/{{team}}"),
    Operation("teams create", "POST", f"{T}/teams"),
    Operation("teams add", "PATCH", f"{T}/teams/{{team}}", {"members": "add"}),
    Operation("teams remove", "PATCH", f"{T}/teams/{{team}}", {"members": "remove"}),
    Operation("teams rename", "PATCH", f"{T}/teams/{{team}}"),
    Operation("teams delete", "DELETE", f"{T}/teams/{{team}}"),
    Operation("tenants create", "POST", f"{_OPS}/tenants", _LIMITS),
    Operation("tenants update", "PATCH", f"{_OPS}/tenants/{{tenant}}", _LIMITS),
    Operation("tenants set", "PATCH", f"{_OPS}/tenants/{{tenant}}", {"keys": "key_policy"}),
    Operation("tenants export", "GET", f"{T}/export", {"output": _OUTPUT}),
    Operation("tenants compliance", "GET", f"{T}/compliance"),
    Operation("tenants delete", "POST", f"{T}/tenant/delete"),
    Operation("tenants deletion-report", "GET", f"{T}/tenant/deletion"),
    Operation("tenants list", "GET", f"{_OPS}/tenants"),
    Operation("tiers", "GET", f"{T}/tiers"),
    Operation("keys add", "POST", f"{T}/provider-keys", _KEY),
    Operation("keys try", "POST", f"{T}/provider-keys/test", _KEY),
    # With --all-tenants: GET /api/v1/ops/provider-keys.
    Operation("keys list", "GET", f"{T}/provider-keys", {"all_tenants": _ROUTE}),
    Operation("keys test", "POST", f"{T}/provider-keys/{{key_id}}/test"),
    Operation("keys rotate", "POST", f"{T}/provider-keys/{{key_id}}/rotate", _KEY),
    Operation("keys revert", "POST", f"{T}/provider-keys/{{key_id}}/revert"),
    # A field that is null is cleared.
    Operation("keys edit", "PATCH", f"{T}/provider-keys/{{key_id}}", {**_KEY, "clear": _CLIENT}),
    Operation("keys enable", "PATCH", f"{T}/provider-keys/{{key_id}}"),
    Operation("keys disable", "PATCH", f"{T}/provider-keys/{{key_id}}"),
    Operation("keys rm", "DELETE", f"{T}/provider-keys/{{key_id}}", {"yes": _OUTPUT}),
    Operation("keys import", only_here="it reads the environment of the machine that it runs on; add each key instead"),
    Operation("integrations list", "GET", f"{T}/integrations"),
    Operation("integrations add", "POST", f"{T}/integrations", {"secret_file": "secret"}),
    Operation(
        "integrations rotate",
        "POST",
        f"{T}/integrations/{{secret_id}}/rotate",
        {"secret_file": "secret", "overlap": "overlap_seconds"},
    ),
    Operation("integrations remove", "DELETE", f"{T}/integrations/{{secret_id}}", {"yes": _OUTPUT}),
    Operation("vault status", "GET", f"{_OPS}/vault"),
    Operation("vault rotate-kek", "POST", f"{_OPS}/vault/rotate-kek", {"wait": _CLIENT}),
    Operation("vault rotate-data-keys", "POST", f"{T}/vault/rotate-data-keys"),
    # Without --tenant: GET /api/v1/ops/vault/verify.
    Operation("vault verify", "GET", f"{T}/vault/verify"),
    Operation("vault shred", "POST", f"{T}/vault/shred"),
    Operation("audit list", "GET", f"{T}/audit", {"before": "after"}),
    Operation("audit export", "GET", f"{T}/audit/export", {"form": "format", "output": _OUTPUT}),
    # Without --tenant: GET /api/v1/ops/audit/verify.
    Operation("audit verify", "GET", f"{T}/audit/verify"),
    Operation("dead-letters list", "GET", f"{_OPS}/dead-letters"),
    Operation("dead-letters show", "GET", f"{_OPS}/dead-letters/{{number}}"),
    # `--all` is a replay without a number.
    Operation("dead-letters replay", "POST", f"{_OPS}/dead-letters/replay", {"file": "copy_base64", "every": _CLIENT}),
    Operation("dead-letters discard", "POST", f"{_OPS}/dead-letters/discard"),
    Operation("endpoints add", "PUT", f"{T}/endpoints/{{name}}", {"disabled": "enabled"}),
    Operation("endpoints list", "GET", f"{T}/endpoints"),
    Operation("endpoints rm", "DELETE", f"{T}/endpoints/{{name}}"),
    Operation("preferences show", "GET", f"{T}/preferences", {"token": "client_token", "names": _OUTPUT}),
    # The new preferences are those that were read, with the changes, and replace that revision only.
    Operation("preferences set", "PUT", f"{T}/preferences", {"token": "client_token", "assignments": _CLIENT}),
    Operation("preferences unset", "PUT", f"{T}/preferences", {"token": "client_token", "names": _CLIENT}),
    Operation("preferences list", "GET", f"{T}/preferences/scopes"),
    Operation("models list", "GET", f"{_OPS}/models"),
    Operation("models add", "PUT", f"{_OPS}/models", {**_MODEL, "model_id": "model", "file": _CLIENT, "like": _CLIENT}),
    Operation("models edit", "PUT", f"{_OPS}/models", {**_MODEL, "model_id": "model", "clear": _CLIENT}),
    Operation("models retire", "POST", f"{_OPS}/models/retire", {"model_id": "id"}),
    Operation("models restore", "POST", f"{_OPS}/models/restore", {"model_id": "id"}),
    Operation("models rm", "POST", f"{_OPS}/models/remove", {"model_id": "id"}),
    Operation("providers list", "GET", f"{_OPS}/providers"),
    Operation("providers add", "PUT", f"{_OPS}/providers/{{name}}"),
    Operation("providers retire", "POST", f"{_OPS}/providers/{{name}}/retire"),
    Operation("providers restore", "POST", f"{_OPS}/providers/{{name}}/restore"),
    Operation("prices list", "GET", f"{_OPS}/prices"),
    Operation("prices set", "PUT", f"{_OPS}/prices", dict.fromkeys(TokenPrices.model_fields, "prices")),
    Operation("prices rm", "POST", f"{_OPS}/prices/remove"),
    Operation(
        "models",
        "GET",
        f"{T}/models",
        {
            "eu": "filter",
            "recommended": "filter",
            "provider": "filter",
            "model_class": "class",
            "unavailable": "available",
            "unapproved": "approved",
        },
    ),
    Operation("route show", "GET", f"{T}/routing/rules", {"draft": _ROUTE}),
    Operation("route versions", "GET", f"{T}/routing/rules/versions", {"before": "after"}),
    Operation(
        "route check", only_here="it reads a file without an installation; POST /routing/rules/diff checks one there"
    ),
    Operation("route draft", "PUT", f"{T}/routing/rules/draft", {"file": "rules"}),
    Operation("route discard", "DELETE", f"{T}/routing/rules/draft"),
    Operation("route diff", "POST", f"{T}/routing/rules/diff", {"file": "rules"}),
    Operation("route dry-run", "POST", f"{T}/routing/rules/dry-run", {"file": "rules"}),
    Operation("route publish", "POST", f"{T}/routing/rules/publish", {"file": "rules", "dry_run": _ROUTE}),
    Operation("route rollback", "POST", f"{T}/routing/rules/rollback"),
    Operation("health list", "GET", f"{T}/health/providers", {"watch": _CLIENT}),
    Operation("health open", "POST", f"{_OPS}/health/force", {"target": "provider"}),
    Operation("health close", "POST", f"{_OPS}/health/force", {"target": "provider"}),
    Operation("health release", "POST", f"{_OPS}/health/release", {"target": "provider"}),
    Operation("health outages", "GET", f"{T}/health/outages"),
    Operation("status", "GET", f"{_OPS}/services"),
    Operation("doctor", only_here="it checks the disk, the ports and the processes of the machine that it runs on"),
    Operation(
        "restart", only_here="it drives the launcher of the machine that it runs on; elsewhere the scheduler restarts"
    ),
    Operation("backup make-key", only_here="the key opens every backup and stays with those who keep them"),
    Operation("backup create", only_here="it reads the installation's own secrets, which no route gives out"),
    Operation("backup verify", only_here="it reads a file of the machine that it runs on, with the key of backups"),
    Operation("restore", only_here="it writes into an empty home, in which nothing runs yet"),
)
"""In the order of the command line's own help."""
