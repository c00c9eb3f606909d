"""Access control: which credential may call which route. A route without a row is denied to everybody. Pure."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from keyferry.contracts.envelope import Message
from services.console.authentication import CredentialKind

OWN_PREFIX = "/api/v1"
"""The tenant is the credential's own."""
OPERATOR_PREFIX = "/api/v1/ops/tenants/{tenant}"
"""An operator acts for the tenant in the path."""
INSTALLATION_PREFIX = "/api/v1/ops"
"""An operator acts for the whole installation."""

_OPERATOR = frozenset({CredentialKind.OPERATOR})


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


_ROWS = (
    # method, path, for the credential's own tenant, for another tenant
    ("GET", "/provider-keys", _OPERATOR, _OPERATOR),
    ("POST", "/provider-keys", _OPERATOR, _OPERATOR),
    ("POST", "/provider-keys/test", _OPERATOR, _OPERATOR),
    ("GET", "/provider-keys/summary", _OPERATOR, _OPERATOR),
    ("GET", "/provider-keys/intake-key", _OPERATOR, _OPERATOR),
    ("GET", "/provider-keys/{key_id}", _OPERATOR, _OPERATOR),
    ("PATCH", "/provider-keys/{key_id}", _OPERATOR, _OPERATOR),
    ("DELETE", "/provider-keys/{key_id}", _OPERATOR, _OPERATOR),
    ("POST", "/provider-keys/{key_id}/test", _OPERATOR, _OPERATOR),
    ("POST", "/provider-keys/{key_id}/rotate", _OPERATOR, _OPERATOR),
    ("POST", "/provider-keys/{key_id}/revert", _OPERATOR, _OPERATOR),
    ("GET", "/providers", _OPERATOR, _OPERATOR),
    ("GET", "/models", _OPERATOR, _OPERATOR),
    ("GET", "/health/providers", _OPERATOR, _OPERATOR),
    ("GET", "/health/outages", _OPERATOR, _OPERATOR),
    ("GET", "/tiers", _OPERATOR, _OPERATOR),
    ("GET", "/audit", _OPERATOR, _OPERATOR),
    ("GET", "/audit/verify", _OPERATOR, _OPERATOR),
    ("GET", "/client-tokens", _OPERATOR, _OPERATOR),
    ("POST", "/client-tokens", _OPERATOR, _OPERATOR),
    ("GET", "/client-tokens/{token_id}", _OPERATOR, _OPERATOR),
    ("PATCH", "/client-tokens/{token_id}", _OPERATOR, _OPERATOR),
    ("DELETE", "/client-tokens/{token_id}", _OPERATOR, _OPERATOR),
    ("GET", "/endpoints", _OPERATOR, _OPERATOR),
    ("GET", "/endpoints/{name}", _OPERATOR, _OPERATOR),
    ("PUT", "/endpoints/{name}", _OPERATOR, _OPERATOR),
    ("DELETE", "/endpoints/{name}", _OPERATOR, _OPERATOR),
    ("GET", "/preferences", _OPERATOR, _OPERATOR),
    ("PUT", "/preferences", _OPERATOR, _OPERATOR),
    ("GET", "/preferences/scopes", _OPERATOR, _OPERATOR),
    ("GET", "/power-level", _OPERATOR, _OPERATOR),
    ("PUT", "/power-level", _OPERATOR, _OPERATOR),
    ("GET", "/usage/summary", _OPERATOR, _OPERATOR),
    ("GET", "/usage/series", _OPERATOR, _OPERATOR),
    ("GET", "/usage/breakdown", _OPERATOR, _OPERATOR),
    ("GET", "/usage/top-models", _OPERATOR, _OPERATOR),
    ("GET", "/usage/errors", _OPERATOR, _OPERATOR),
    ("GET", "/usage/latency", _OPERATOR, _OPERATOR),
    ("GET", "/usage/savings", _OPERATOR, _OPERATOR),
    ("GET", "/usage/forecast", _OPERATOR, _OPERATOR),
    ("GET", "/usage/tags", _OPERATOR, _OPERATOR),
    ("GET", "/requests", _OPERATOR, _OPERATOR),
    ("GET", "/requests/export", _OPERATOR, _OPERATOR),
    ("GET", "/requests/{request_id}", _OPERATOR, _OPERATOR),
    ("POST", "/estimates", _OPERATOR, _OPERATOR),
    ("GET", "/credits", _OPERATOR, _OPERATOR),
    ("GET", "/credits/history", _OPERATOR, _OPERATOR),
    ("POST", "/credits/grants", _OPERATOR, _OPERATOR),
    ("POST", "/credits/adjustments", _OPERATOR, _OPERATOR),
    ("PUT", "/credits/threshold", _OPERATOR, _OPERATOR),
    ("GET", "/allowance", _OPERATOR, _OPERATOR),
    ("GET", "/budgets", _OPERATOR, _OPERATOR),
    ("POST", "/budgets", _OPERATOR, _OPERATOR),
    ("GET", "/budgets/{budget_id}", _OPERATOR, _OPERATOR),
    ("PUT", "/budgets/{budget_id}", _OPERATOR, _OPERATOR),
    ("DELETE", "/budgets/{budget_id}", _OPERATOR, _OPERATOR),
    ("GET", "/routing/rules", _OPERATOR, _OPERATOR),
    ("GET", "/routing/rules/draft", _OPERATOR, _OPERATOR),
    ("PUT", "/routing/rules/draft", _OPERATOR, _OPERATOR),
    ("DELETE", "/routing/rules/draft", _OPERATOR, _OPERATOR),
    ("POST", "/routing/rules/diff", _OPERATOR, _OPERATOR),
    ("POST", "/routing/rules/dry-run", _OPERATOR, _OPERATOR),
    ("POST", "/routing/rules/publish", _OPERATOR, _OPERATOR),
    ("POST", "/routing/rules/rollback", _OPERATOR, _OPERATOR),
    ("GET", "/routing/rules/versions", _OPERATOR, _OPERATOR),
    ("POST", "/feedback", _OPERATOR, _OPERATOR),
    ("GET", "/feedback", _OPERATOR, _OPERATOR),
    ("GET", "/feedback/preview", _OPERATOR, _OPERATOR),
    ("GET", "/vault/verify", _OPERATOR, _OPERATOR),
    ("POST", "/vault/rotate-data-keys", _OPERATOR, _OPERATOR),
    ("POST", "/vault/shred", _OPERATOR, _OPERATOR),
)
_INSTALLATION_ROWS = (
    # method, path, allowed
    ("GET", "/tenants", _OPERATOR),
    ("POST", "/tenants", _OPERATOR),
    ("GET", "/tenants/{tenant}", _OPERATOR),
    ("PATCH", "/tenants/{tenant}", _OPERATOR),
    ("GET", "/provider-keys", _OPERATOR),
    ("GET", "/analytics", _OPERATOR),
    ("GET", "/usage/breakdown", _OPERATOR),
    ("GET", "/vault", _OPERATOR),
    ("POST", "/vault/rotate-kek", _OPERATOR),
    ("GET", "/vault/verify", _OPERATOR),
    ("GET", "/audit/verify", _OPERATOR),
    ("GET", "/ledger/margin", _OPERATOR),
    ("POST", "/ledger/rerate", _OPERATOR),
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

ALLOWED: Mapping[tuple[str, str], frozenset[CredentialKind]] = MappingProxyType(
    {(method, OWN_PREFIX + path): own for method, path, own, _ in _ROWS}
    | {(method, OPERATOR_PREFIX + path): others for method, path, _, others in _ROWS}
    | {(method, INSTALLATION_PREFIX + path): allowed for method, path, allowed in _INSTALLATION_ROWS}
)
"""Maps method and path template to the credentials that are allowed."""

_PARAMETER = re.compile(r"\\\{[a-z_]+\\\}")
_TEMPLATES = tuple((method, re.compile(_PARAMETER.sub("[^/]+", re.escape(template)))) for method, template in ALLOWED)
_OWN_RESOURCES = ", ".join(sorted({path.split("/")[1] for _, path, _, _ in _ROWS}))
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


def is_allowed(credential: CredentialKind, method: str, path_template: str) -> bool:
    """Return whether this credential may call this route."""
    return credential in ALLOWED.get((method, path_template), frozenset())
