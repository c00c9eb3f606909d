"""Who may call what: a route without a row here is denied to everybody. Pure."""

from collections.abc import Mapping
from types import MappingProxyType

from services.console.credential import Credential

OWN_PREFIX = "/api/v1"
"""The tenant is the credential's own."""
OPERATOR_PREFIX = "/api/v1/ops/tenants/{tenant}"
"""An operator acts for the tenant in the path."""

_OPERATOR = frozenset({Credential.OPERATOR})

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
    ("GET", "/audit", _OPERATOR, _OPERATOR),
    ("GET", "/audit/verify", _OPERATOR, _OPERATOR),
)

ALLOWED: Mapping[tuple[str, str], frozenset[Credential]] = MappingProxyType(
    {(method, OWN_PREFIX + path): own for method, path, own, _ in _ROWS}
    | {(method, OPERATOR_PREFIX + path): others for method, path, _, others in _ROWS}
)
"""Method and path template -> the credentials that are let in."""


def may(credential: Credential, method: str, path_template: str) -> bool:
    """Whether this credential may call this route."""
    return credential in ALLOWED.get((method, path_template), frozenset())
