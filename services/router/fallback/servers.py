"""Names of what a candidate calls: its server, whose failures its other keys and models share, and its key. Pure."""

from typing import Protocol

from keyferry.contracts.key_address import is_standard_origin
from keyferry.contracts.providers import NAMED_BY_TENANT
from keyferry.contracts.usage import KeySource


class Place(Protocol):
    """What a candidate and a failed attempt have in common."""

    @property
    def provider(self) -> str:
        """The provider's name."""

    @property
    def endpoint(self) -> str | None:
        """The name of the tenant's own server, if it is one."""

    @property
    def model(self) -> str:
        """The provider's name for the model."""

    @property
    def key_id(self) -> str | None:
        """The key that would pay, or paid."""

    @property
    def key_source(self) -> KeySource | None:
        """Whose key that is, if it is known."""


def server_of(place: Place, tenant: str, origin: str | None) -> str:
    """Return the name of the server: a provider is one for all tenants, an own server or address is a tenant's.

    `origin` is what is called, or was.
    """
    if place.endpoint is not None:
        return f"{place.provider} {tenant}/{place.endpoint}"
    if place.provider in NAMED_BY_TENANT:
        return f"{place.provider} {tenant}/{place.key_id or ''}"
    if place.key_source is KeySource.BYOK and origin is not None and not is_standard_origin(place.provider, origin):
        return f"{place.provider} {tenant} {origin}"
    return place.provider


def same_server(one: Place, other: Place) -> bool:
    """Return whether both call the same provider, or the same server of the tenant."""
    return (one.provider, one.endpoint) == (other.provider, other.endpoint)


def queue_of(place: Place, tenant: str, origin: str | None) -> str:
    """Return a name for what requests wait for: one model at one server, with an own key if one pays.

    The pause of a tenant's key is no other's, and neither are the requests that wait for its end.
    """
    own = f" {place.key_id}" if place.key_source is KeySource.BYOK else ""
    return f"{server_of(place, tenant, origin)} {place.model}{own}"


def same_target(one: Place, other: Place) -> bool:
    """Return whether both call the same model at the same server, with whatever key."""
    if (one.provider, one.endpoint, one.model) != (other.provider, other.endpoint, other.model):
        return False
    if one.provider in NAMED_BY_TENANT and one.endpoint is None:
        return one.key_id == other.key_id  # another key of these may be for another server
    return True


def same_address(one: str | None, other: str | None) -> bool:
    """Return whether two origins may be one address: they are equal, or one of them is not known."""
    return one is None or other is None or one == other


def same_candidate(one: Place, other: Place) -> bool:
    """Return whether both make the same call with the same key."""
    return same_target(one, other) and (one.key_id is None or other.key_id is None or one.key_id == other.key_id)
