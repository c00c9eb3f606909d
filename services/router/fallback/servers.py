"""Names of what a candidate calls: its server, whose failures its other keys and models share, and its key. Pure."""

from typing import Protocol

from keyferry.contracts.providers import NAMED_BY_TENANT


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


def server_of(place: Place, tenant: str) -> str:
    """Return the name of the server: a provider is one for all tenants, an own server is a tenant's."""
    if place.endpoint is not None:
        return f"{place.provider} {tenant}/{place.endpoint}"
    if place.provider in NAMED_BY_TENANT:
        return f"{place.provider} {tenant}/{place.key_id or ''}"
    return place.provider


def same_server(one: Place, other: Place) -> bool:
    """Return whether both call the same provider, or the same server of the tenant."""
    return (one.provider, one.endpoint) == (other.provider, other.endpoint)


def target_name(place: Place, tenant: str) -> str:
    """Return a name for one model at one server."""
    return f"{server_of(place, tenant)} {place.model}"


def same_target(one: Place, other: Place) -> bool:
    """Return whether both call the same model at the same server, with whatever key."""
    if (one.provider, one.endpoint, one.model) != (other.provider, other.endpoint, other.model):
        return False
    if one.provider in NAMED_BY_TENANT and one.endpoint is None:
        return one.key_id == other.key_id  # another key of these may be for another server
    return True


def same_candidate(one: Place, other: Place) -> bool:
    """Return whether both make the same call with the same key."""
    return same_target(one, other) and (one.key_id is None or other.key_id is None or one.key_id == other.key_id)
