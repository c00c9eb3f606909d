"""The addresses that are idle: of recently used targets and of tenants' endpoints, unless attempts have called them. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from keyferry.contracts.health import ECHO_ADDRESS, Target, target_of_call
from keyferry.contracts.origin import cached_origin
from keyferry.contracts.route import Endpoint, EndpointProbe, ProbeOutcome
from keyferry.contracts.usage import KeySource


@dataclass(slots=True)
class IdleAddress:
    """An address, and the targets behind it."""

    url: str
    """What is probed: the base URL of an endpoint if one tenant alone has targets there, else the origin."""
    owner: str | None
    targets: dict[str, Target] = field(default_factory=dict)

    def add(self, target: Target, origin: str) -> None:
        """Add a target. What several call is not probed by the path of one of them, which may hang where the others' do not."""
        self.targets[target.key] = target
        if target.tenant != self.owner:
            self.url = origin


def idle_addresses(
    targets: Iterable[tuple[Target, datetime]], endpoints: Iterable[Endpoint], *, now: datetime, idle: timedelta
) -> Mapping[str, IdleAddress]:
    """Return what is idle at `now`, by origin. `targets` are known ones and when each was last called.

    An address that one of its targets was called at is not idle: the attempt has proved more than a probe would.
    """
    found: dict[str, IdleAddress] = {}
    busy: set[str] = set()
    for endpoint in endpoints:
        origin = cached_origin(endpoint.base_url)
        if origin is not None and endpoint.enabled:
            address = found.setdefault(origin, IdleAddress(endpoint.base_url, endpoint.tenant))
            for model in endpoint.models:
                address.add(_endpoint_target(endpoint, model, origin), origin)
    for target, called_at in targets:
        origin = target.origin or ECHO_ADDRESS
        if target.endpoint is not None and target.provider == "custom" and origin not in found:
            continue  # an endpoint that was removed, switched off, or moved to another address
        found.setdefault(origin, IdleAddress(origin, target.tenant)).add(target, origin)
        if timedelta(0) <= now - called_at < idle:
            busy.add(origin)
    return {origin: address for origin, address in found.items() if origin not in busy}


def is_reachable(probe: EndpointProbe) -> bool | None:
    """Return whether an address answers; None if the probe proves nothing: it may not be called, or fails without a key."""
    if probe.outcome is ProbeOutcome.UNREACHABLE:
        return False
    if probe.outcome is ProbeOutcome.FORBIDDEN or probe.status is None or probe.status >= 500:
        return None
    return True


def _endpoint_target(endpoint: Endpoint, model: str, origin: str) -> Target:
    return target_of_call(
        provider="custom",
        model=model,
        origin=origin,
        key_source=KeySource.CUSTOM,
        tenant=endpoint.tenant,
        endpoint=endpoint.name,
    )
