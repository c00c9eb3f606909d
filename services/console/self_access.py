"""Routes about the sender of a request, for which nobody else's tenant matters; and routes that need a step-up. Pure."""

from collections.abc import Mapping
from types import MappingProxyType

from keyferry.contracts.access_role import AccessRole
from services.console.role_sets import EVERYBODY

SELF_ROUTES: Mapping[tuple[str, str], frozenset[AccessRole]] = MappingProxyType(
    {
        ("GET", "/api/v1/session"): EVERYBODY,
        ("PUT", "/api/v1/session"): EVERYBODY,
        ("GET", "/api/v1/sessions"): EVERYBODY,
        ("DELETE", "/api/v1/sessions/{session_id}"): EVERYBODY,
        ("POST", "/api/v1/session/invitation"): EVERYBODY,
    }
)
"""Maps method and path template to the roles that are allowed: also somebody who is a member of no tenant yet."""

_CHANGES_OF_KEYS = (
    ("POST", "/provider-keys"),
    ("PATCH", "/provider-keys/{key_id}"),
    ("DELETE", "/provider-keys/{key_id}"),
    ("POST", "/provider-keys/{key_id}/rotate"),
    ("POST", "/provider-keys/{key_id}/revert"),
    ("POST", "/vault/rotate-data-keys"),
    ("POST", "/vault/shred"),
    ("POST", "/tenant/delete"),
)
STEP_UP: frozenset[tuple[str, str]] = frozenset(
    {
        (method, prefix + path)
        for prefix in ("/api/v1", "/api/v1/ops/tenants/{tenant}")
        for method, path in _CHANGES_OF_KEYS
    }
    | {("POST", "/api/v1/ops/vault/rotate-kek"), ("DELETE", "/api/v1/ops/tenants/{tenant}")}
)
"""Method and path template of what changes provider keys, or destroys them: a session must satisfy KEYFERRY_STEP_UP_*."""


def needs_step_up(method: str, path_template: str) -> bool:
    """Return whether a route changes or destroys provider keys."""
    return (method, path_template) in STEP_UP
