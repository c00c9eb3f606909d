"""Access control: which role may call which route. A route without a row is denied to everybody. Pure."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.envelope import Message
from services.console.role_sets import ADMINS as _ADMINS
from services.console.role_sets import DEVELOPERS as _DEVELOPERS
from services.console.role_sets import EVERYBODY as _EVERYBODY
from services.console.role_sets import OPERATORS as _OPERATOR
from services.console.role_sets import OWNERS as _OWNERS
from services.console.self_access import SELF_ROUTES

OWN_PREFIX = "/api/v1"
"""The tenant is the one that a member has chosen of its own, or the credential's."""
OPERATOR_PREFIX = "/api/v1/ops/tenants/{tenant}"
"""An operator acts for the tenant in the path."""
INSTALLATION_PREFIX = "/api/v1/ops"
"""An operator acts for the whole installation."""
COMMANDS_PATH = "/api/v1/commands/{subject}"
"""The commands of the command line, each of which `command_access` decides on."""


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """A route. `path` follows a prefix; `name` is the OpenAPI operation id.

    Routes about a tenant are registered under two prefixes, those about the installation under one.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    name: str
    handler: Callable[..., Awaitable[object]]
    status: int = 200
    answer: type[Message] | None = None
    """The model of its JSON, if it can also answer with something else."""
    media_types: tuple[str, ...] = ()
    """The types of its answer, if none is JSON; with `answer` those besides JSON and CSV."""


_ROWS = (
    # method, path, who may call it for the tenant of the credential; for any tenant, an operator may
    ("GET", "/provider-keys", _EVERYBODY),
    ("POST", "/provider-keys", _ADMINS),
    ("POST", "/provider-keys/test", _ADMINS),
    ("GET", "/provider-keys/summary", _EVERYBODY),
    ("GET", "/provider-keys/intake-key", _ADMINS),
    ("GET", "/provider-keys/{key_id}", _EVERYBODY),
    ("PATCH", "/provider-keys/{key_id}", _ADMINS),
    ("DELETE", "/provider-keys/{key_id}", _ADMINS),
    ("POST", "/provider-keys/{key_id}/test", _ADMINS),
    ("POST", "/provider-keys/{key_id}/rotate", _ADMINS),
    ("POST", "/provider-keys/{key_id}/revert", _ADMINS),
    ("GET", "/providers", _EVERYBODY),
    ("GET", "/models", _EVERYBODY),
    ("GET", "/health/providers", _EVERYBODY),
    ("GET", "/health/outages", _EVERYBODY),
    ("GET", "/tiers", _EVERYBODY),
    ("GET", "/audit", _ADMINS),
    ("GET", "/audit/export", _ADMINS),
    ("GET", "/audit/verify", _ADMINS),
    ("GET", "/client-tokens", _DEVELOPERS),
    ("POST", "/client-tokens", _DEVELOPERS),
    ("GET", "/client-tokens/{token_id}", _DEVELOPERS),
    ("PATCH", "/client-tokens/{token_id}", _DEVELOPERS),
    ("DELETE", "/client-tokens/{token_id}", _DEVELOPERS),
    ("GET", "/internal-services", _ADMINS),
    ("POST", "/internal-services", _ADMINS),
    ("DELETE", "/internal-services/{name}", _ADMINS),
    ("GET", "/members", _EVERYBODY),
    ("GET", "/members/{member_id}", _EVERYBODY),
    ("PATCH", "/members/{member_id}", _ADMINS),
    ("DELETE", "/members/{member_id}", _ADMINS),
    ("DELETE", "/members/{member_id}/sessions", _ADMINS),
    ("GET", "/invitations", _EVERYBODY),
    ("POST", "/invitations", _ADMINS),
    ("GET", "/invitations/{invitation_id}", _EVERYBODY),
    ("DELETE", "/invitations/{invitation_id}", _ADMINS),
    ("GET", "/teams", _EVERYBODY),
    ("POST", "/teams", _ADMINS),
    ("GET", "/teams/{team}", _EVERYBODY),
    ("PATCH", "/teams/{team}", _ADMINS),
    ("DELETE", "/teams/{team}", _ADMINS),
    ("POST", "/client-tokens/{token_id}/rotate", _DEVELOPERS),
    ("POST", "/client-tokens/{token_id}/end-overlap", _DEVELOPERS),
    ("GET", "/endpoints", _EVERYBODY),
    ("GET", "/endpoints/{name}", _EVERYBODY),
    ("PUT", "/endpoints/{name}", _ADMINS),
    ("DELETE", "/endpoints/{name}", _ADMINS),
    ("GET", "/preferences", _EVERYBODY),
    ("PUT", "/preferences", _ADMINS),
    ("GET", "/preferences/scopes", _EVERYBODY),
    ("POST", "/preferences/preview", _DEVELOPERS),
    ("GET", "/power-level", _EVERYBODY),
    ("PUT", "/power-level", _ADMINS),
    ("GET", "/power-level/comparison", _EVERYBODY),
    ("GET", "/recommendations", _EVERYBODY),
    ("POST", "/recommendations/draft", _ADMINS),
    ("GET", "/usage/summary", _EVERYBODY),
    ("GET", "/usage/series", _EVERYBODY),
    ("GET", "/usage/breakdown", _EVERYBODY),
    ("GET", "/usage/top-models", _EVERYBODY),
    ("GET", "/usage/errors", _EVERYBODY),
    ("GET", "/usage/latency", _EVERYBODY),
    ("GET", "/usage/savings", _EVERYBODY),
    ("GET", "/usage/forecast", _EVERYBODY),
    ("GET", "/usage/tags", _EVERYBODY),
    ("GET", "/requests", _EVERYBODY),
    ("GET", "/requests/export", _EVERYBODY),
    ("GET", "/requests/{request_id}", _EVERYBODY),
    ("GET", "/requests/{request_id}/content", _ADMINS),
    ("GET", "/traces/{trace}", _EVERYBODY),
    ("GET", "/privacy", _EVERYBODY),
    ("PUT", "/privacy", _ADMINS),
    ("POST", "/estimates", _DEVELOPERS),
    ("GET", "/events", _EVERYBODY),
    ("GET", "/credits", _EVERYBODY),
    ("GET", "/credits/history", _EVERYBODY),
    ("POST", "/credits/grants", _OPERATOR),
    ("POST", "/credits/adjustments", _OPERATOR),
    ("PUT", "/credits/threshold", _ADMINS),
    ("GET", "/credits/payments", _EVERYBODY),
    ("POST", "/credits/payments/check-missing", _ADMINS),
    ("GET", "/credits/packages", _EVERYBODY),
    ("GET", "/credits/checkouts", _EVERYBODY),
    ("POST", "/credits/checkouts", _ADMINS),
    ("GET", "/credits/checkouts/{purchase}", _EVERYBODY),
    ("POST", "/credits/checkouts/{purchase}/cancel", _ADMINS),
    ("GET", "/credits/customer", _EVERYBODY),
    ("GET", "/credits/top-up", _EVERYBODY),
    ("PUT", "/credits/top-up", _ADMINS),
    ("POST", "/credits/top-up/resume", _ADMINS),
    ("GET", "/billing/subscription", _EVERYBODY),
    ("POST", "/billing/subscription", _ADMINS),
    ("PUT", "/billing/subscription", _ADMINS),
    ("POST", "/billing/subscription/cancel", _ADMINS),
    ("GET", "/allowance", _EVERYBODY),
    ("GET", "/invoices", _EVERYBODY),
    ("GET", "/invoices/{month}", _EVERYBODY),
    ("GET", "/reconciliations", _EVERYBODY),
    ("POST", "/reconciliations", _ADMINS),
    ("GET", "/reconciliations/schedules", _EVERYBODY),
    ("PUT", "/reconciliations/schedules/{provider}", _ADMINS),
    ("DELETE", "/reconciliations/schedules/{provider}", _ADMINS),
    ("GET", "/reconciliations/{reconciliation_id}", _EVERYBODY),
    ("GET", "/alerts", _EVERYBODY),
    ("GET", "/alerts/metrics", _EVERYBODY),
    ("GET", "/alerts/rules", _EVERYBODY),
    ("POST", "/alerts/rules", _ADMINS),
    ("POST", "/alerts/rules/preview", _DEVELOPERS),
    ("GET", "/alerts/rules/{rule_id}", _EVERYBODY),
    ("PUT", "/alerts/rules/{rule_id}", _ADMINS),
    ("DELETE", "/alerts/rules/{rule_id}", _ADMINS),
    ("GET", "/alerts/{alert_id}", _EVERYBODY),
    ("POST", "/alerts/{alert_id}/acknowledge", _DEVELOPERS),
    ("GET", "/budgets", _EVERYBODY),
    ("POST", "/budgets", _ADMINS),
    ("GET", "/budgets/{budget_id}", _EVERYBODY),
    ("PUT", "/budgets/{budget_id}", _ADMINS),
    ("DELETE", "/budgets/{budget_id}", _ADMINS),
    ("GET", "/notification-channels", _ADMINS),
    ("POST", "/notification-channels", _ADMINS),
    ("POST", "/notification-channels/send-code", _ADMINS),
    ("POST", "/notification-channels/confirm-address", _ADMINS),
    ("GET", "/notification-channels/{channel_id}", _ADMINS),
    ("PUT", "/notification-channels/{channel_id}", _ADMINS),
    ("DELETE", "/notification-channels/{channel_id}", _ADMINS),
    ("POST", "/notification-channels/{channel_id}/test", _ADMINS),
    ("GET", "/notification-channels/{channel_id}/deliveries", _ADMINS),
    ("POST", "/notification-channels/{channel_id}/replay", _ADMINS),
    ("GET", "/webhooks", _ADMINS),
    ("POST", "/webhooks", _ADMINS),
    ("GET", "/webhooks/{endpoint_id}", _ADMINS),
    ("PUT", "/webhooks/{endpoint_id}", _ADMINS),
    ("DELETE", "/webhooks/{endpoint_id}", _ADMINS),
    ("POST", "/webhooks/{endpoint_id}/rotate", _ADMINS),
    ("POST", "/webhooks/{endpoint_id}/test", _ADMINS),
    ("GET", "/webhooks/{endpoint_id}/deliveries", _ADMINS),
    ("POST", "/webhooks/{endpoint_id}/replay", _ADMINS),
    ("GET", "/reports", _ADMINS),
    ("POST", "/reports", _ADMINS),
    ("PUT", "/reports/{report_id}", _ADMINS),
    ("DELETE", "/reports/{report_id}", _ADMINS),
    ("GET", "/reports/{report_id}/preview", _ADMINS),
    ("POST", "/reports/{report_id}/send", _ADMINS),
    ("GET", "/routing/rules", _EVERYBODY),
    ("GET", "/routing/rules/draft", _EVERYBODY),
    ("PUT", "/routing/rules/draft", _ADMINS),
    ("DELETE", "/routing/rules/draft", _ADMINS),
    ("POST", "/routing/rules/diff", _DEVELOPERS),
    ("POST", "/routing/rules/dry-run", _DEVELOPERS),
    ("POST", "/routing/explain", _DEVELOPERS),
    ("POST", "/routing/rules/publish", _ADMINS),
    ("POST", "/routing/rules/rollback", _ADMINS),
    ("GET", "/routing/rules/versions", _EVERYBODY),
    ("POST", "/feedback", _DEVELOPERS),
    ("GET", "/feedback", _EVERYBODY),
    ("GET", "/feedback/preview", _EVERYBODY),
    ("GET", "/integrations", _ADMINS),
    ("POST", "/integrations", _ADMINS),
    ("GET", "/integrations/{secret_id}", _ADMINS),
    ("DELETE", "/integrations/{secret_id}", _ADMINS),
    ("POST", "/integrations/{secret_id}/rotate", _ADMINS),
    ("GET", "/vault/verify", _ADMINS),
    ("POST", "/vault/rotate-data-keys", _ADMINS),
    ("POST", "/vault/shred", _OWNERS),
    ("GET", "/export", _OWNERS),
    ("GET", "/compliance", _ADMINS),
    ("GET", "/tenant", _EVERYBODY),
    ("PATCH", "/tenant", _ADMINS),
    ("POST", "/tenant/delete", _OWNERS),
    ("GET", "/tenant/deletion", _OWNERS),
)
_INSTALLATION_ROWS = (
    # method, path, allowed
    ("GET", "/tenants", _OPERATOR),
    ("POST", "/tenants", _OPERATOR),
    ("GET", "/tenants/{tenant}", _OPERATOR),
    ("PATCH", "/tenants/{tenant}", _OPERATOR),
    ("DELETE", "/tenants/{tenant}", _OPERATOR),
    ("GET", "/provider-keys", _OPERATOR),
    ("GET", "/services", _OPERATOR),
    ("GET", "/analytics", _OPERATOR),
    ("GET", "/service-levels", _OPERATOR),
    ("GET", "/events", _OPERATOR),
    ("GET", "/usage/breakdown", _OPERATOR),
    ("GET", "/usage/series", _OPERATOR),
    ("GET", "/vault", _OPERATOR),
    ("POST", "/vault/rotate-kek", _OPERATOR),
    ("GET", "/integrations", _OPERATOR),
    ("POST", "/integrations", _OPERATOR),
    ("DELETE", "/integrations/{secret_id}", _OPERATOR),
    ("POST", "/integrations/{secret_id}/rotate", _OPERATOR),
    ("GET", "/vault/verify", _OPERATOR),
    ("GET", "/audit/verify", _OPERATOR),
    ("GET", "/ledger/margin", _OPERATOR),
    ("POST", "/ledger/rerate", _OPERATOR),
    ("POST", "/billing/packages/sync", _OPERATOR),
    ("GET", "/billing/stripe/events", _OPERATOR),
    ("POST", "/billing/stripe/events/replay", _OPERATOR),
    ("GET", "/billing/stripe/reconciliations", _OPERATOR),
    ("POST", "/billing/stripe/reconciliations", _OPERATOR),
    ("GET", "/billing/lago", _OPERATOR),
    ("GET", "/billing/lago/customers", _OPERATOR),
    ("PUT", "/billing/lago/customers/{tenant}", _OPERATOR),
    ("GET", "/billing/lago/events", _OPERATOR),
    ("POST", "/billing/lago/events/replay", _OPERATOR),
    ("POST", "/billing/lago/backfill", _OPERATOR),
    ("GET", "/dead-letters", _OPERATOR),
    ("GET", "/dead-letters/{number}", _OPERATOR),
    ("POST", "/dead-letters/replay", _OPERATOR),
    ("POST", "/dead-letters/discard", _OPERATOR),
    ("GET", "/health/providers", _OPERATOR),
    ("GET", "/health/outages", _OPERATOR),
    ("POST", "/health/force", _OPERATOR),
    ("POST", "/health/release", _OPERATOR),
    ("GET", "/models", _OPERATOR),
    ("PUT", "/models", _OPERATOR),
    ("POST", "/models/retire", _OPERATOR),
    ("POST", "/models/restore", _OPERATOR),
    ("POST", "/models/remove", _OPERATOR),
    ("GET", "/providers", _OPERATOR),
    ("PUT", "/providers/{name}", _OPERATOR),
    ("POST", "/providers/{name}/retire", _OPERATOR),
    ("POST", "/providers/{name}/restore", _OPERATOR),
    ("GET", "/prices", _OPERATOR),
    ("PUT", "/prices", _OPERATOR),
    ("POST", "/prices/remove", _OPERATOR),
)

ALLOWED: Mapping[tuple[str, str], frozenset[AccessRole]] = MappingProxyType(
    {(method, OWN_PREFIX + path): roles for method, path, roles in _ROWS}
    | {(method, OPERATOR_PREFIX + path): _OPERATOR for method, path, _ in _ROWS}
    | {(method, INSTALLATION_PREFIX + path): allowed for method, path, allowed in _INSTALLATION_ROWS}
    | {("POST", COMMANDS_PATH): _EVERYBODY}
    | dict(SELF_ROUTES)
)
"""Maps method and path template to the roles that are allowed."""

_PARAMETER = re.compile(r"\\\{[a-z_]+\\\}")
_TEMPLATES = tuple((method, re.compile(_PARAMETER.sub("[^/]+", re.escape(template)))) for method, template in ALLOWED)
_OWN_RESOURCES = ", ".join(sorted({"commands", "session", "sessions", *(path.split("/")[1] for _, path, _ in _ROWS)}))
_INSTALLATION_RESOURCES = ", ".join(sorted({path.split("/")[1] for _, path, _ in _INSTALLATION_ROWS}))


def methods_at(path: str) -> list[str]:
    """Return the methods of the routes at a path; empty if there is none."""
    return sorted({method for method, template in _TEMPLATES if template.fullmatch(path)})


def explain_unknown_path(path: str) -> str:
    """Return what there is instead of `path`, which is not repeated: it may hold a misplaced key."""
    shortened = path.rstrip("/")
    if path != shortened and methods_at(shortened):
        return "there is nothing at this address: leave out the slash at its end"
    if methods_at(OWN_PREFIX + shortened):
        return f"there is nothing at this address: the management API is under {OWN_PREFIX}"
    if path.startswith("/v1/"):
        return "there is nothing at this address: chats, embeddings and models are at the port of the gateway, not at this one"
    return (
        f"there is nothing at this address: under {OWN_PREFIX}, and for another tenant under {OPERATOR_PREFIX}, there are"
        f" {_OWN_RESOURCES}; under {INSTALLATION_PREFIX} {_INSTALLATION_RESOURCES}; docs/architecture/openapi.json lists all"
    )


def is_allowed(role: AccessRole, method: str, path_template: str) -> bool:
    """Return whether somebody with this role may call this route."""
    return role in ALLOWED.get((method, path_template), frozenset())
