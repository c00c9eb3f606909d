"""Tenants' own endpoints: validation, and an index by tenant. Pure."""

from collections.abc import Iterable
from urllib.parse import urlsplit

from keyferry.contracts.addresses import AddressPolicy, check_reachable
from keyferry.contracts.features import VIRTUAL_MODELS
from keyferry.contracts.origin import ForbiddenUrl
from keyferry.contracts.providers import may_name_endpoint
from keyferry.contracts.route import Endpoint, SaveEndpoint


class InvalidEndpoint(ValueError):
    """An invalid endpoint; the message says what to change."""


def validate_endpoint(command: SaveEndpoint) -> Endpoint:
    """Return the endpoint to save. Raises InvalidEndpoint for a name or a URL that no setting makes valid."""
    if not may_name_endpoint(command.name):
        raise InvalidEndpoint(f"an endpoint cannot be called {command.name!r}: that name is reserved")
    if virtual := next((name for name in command.models if name in VIRTUAL_MODELS), None):
        raise InvalidEndpoint(
            f"an endpoint cannot list {virtual}: that name stands for a choice of the gateway; a request may still name"
            f" {command.name}/{virtual}"
        )
    return Endpoint(
        tenant=command.tenant,
        name=command.name,
        base_url=parse_base_url(command.base_url),
        models=list(dict.fromkeys(command.models)),
        priority=command.priority,
        enabled=command.enabled,
        eu=command.eu,
    )


def find_forbidden(endpoint: Endpoint, policy: AddressPolicy) -> str | None:
    """Return why the gateway does not call this address; None if it may.

    Checks what needs no network: scheme, port, and an address in place of a host name. The worker checks the address when it
    connects, since a name may resolve to another one by then.
    """
    try:
        check_reachable(endpoint.base_url, policy)
    except ForbiddenUrl as error:
        return f"the base URL cannot be used: {error.reason}"
    return None


def parse_base_url(text: str) -> str:
    """Return the base URL of an OpenAI-compatible API without a slash at its end. Raises InvalidEndpoint."""
    if any(character.isspace() or not character.isprintable() for character in text):
        raise InvalidEndpoint("the base URL contains a space or a control character")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise InvalidEndpoint("the base URL cannot be read; give one like https://llm.example.com/v1") from None
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise InvalidEndpoint("the base URL must start with https:// (or http://) and name a host")
    if parts.username is not None or parts.password is not None:
        raise InvalidEndpoint("the base URL must not contain a user name or password")
    if parts.query or parts.fragment or "?" in text or "#" in text:
        raise InvalidEndpoint("the base URL must end with its path: no '?' and no '#'")
    if port == 0:
        raise InvalidEndpoint("the base URL names port 0")
    if parts.path.rstrip("/").endswith("/chat/completions"):
        raise InvalidEndpoint("give the base URL without /chat/completions, which is added for each call")
    return text.rstrip("/")


class EndpointIndex:
    """Endpoints by tenant."""

    def __init__(self) -> None:
        self._by_tenant: dict[str, list[Endpoint]] = {}

    def rebuild(self, endpoints: Iterable[Endpoint]) -> None:
        """Replace the index by these endpoints of any tenants."""
        fresh: dict[str, list[Endpoint]] = {}
        for endpoint in endpoints:
            fresh.setdefault(endpoint.tenant, []).append(endpoint)
        self._by_tenant = fresh

    def replace(self, tenant: str, endpoints: Iterable[Endpoint]) -> None:
        """Replace the endpoints of one tenant. One that says that it belongs to another is left out."""
        found = [endpoint for endpoint in endpoints if endpoint.tenant == tenant]
        if found:
            self._by_tenant[tenant] = found
        else:
            self._by_tenant.pop(tenant, None)

    def of(self, tenant: str) -> list[Endpoint]:
        """Return a tenant's endpoints."""
        return self._by_tenant.get(tenant, [])
