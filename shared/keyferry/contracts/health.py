"""Health of targets: their circuits, cooling, latency and overrides, published by the health monitor. Pure."""

import base64
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import Field

from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.failure import FailureClass
from keyferry.contracts.ids import Actor, EndpointName, KeyId, ProviderName, TenantId
from keyferry.contracts.key_address import is_standard_origin
from keyferry.contracts.providers import NAMED_BY_TENANT
from keyferry.contracts.text import Count, Explanation, Line, Moment, Refusing, RequestedModel, Url
from keyferry.contracts.usage import KeySource

LONGEST_COOLING = timedelta(minutes=10)
"""No target and no key is withheld for longer because of what attempts have shown, whatever a clock or a server says."""
CLOCK_SKEW = timedelta(milliseconds=500)
"""The largest clock difference between a router, a worker and the monitor."""
MAX_FORCED_SECONDS = 7 * 24 * 3600
"""The longest time for which an operator may force a circuit: a forgotten one must not last for ever."""
ECHO_ADDRESS = "echo:"
"""The address of the built-in echo for probes: it answers where a worker does."""
_ORIGIN_BYTES = 10
_CACHED = 16_384


class CircuitState(StrEnum):
    """The circuit breaker's state of a target. A target without an entry is closed."""

    CLOSED = "closed"
    OPEN = "open"
    """It fails too often: no attempts until `until`, then a half-open probe."""
    COOLING = "cooling"
    """It asked to be retried later (429 or 503 with a delay): no attempts until `until`."""
    PACING = "pacing"
    """Of a key: most of its rate limit at the provider is used, so that other keys of equal rank come first until `until`."""


class KeyClass(StrEnum):
    """Whose keys a circuit is about: a provider may refuse one account's calls and serve another's."""

    PLATFORM = "platform"
    """The platform's keys, which may pay for any tenant."""
    OWN = "own"
    """Keys of tenants, and their own servers."""
    NONE = "none"
    """The built-in echo, which has no key."""


KEY_CLASSES: Mapping[KeySource, KeyClass] = MappingProxyType(
    {
        KeySource.PLATFORM: KeyClass.PLATFORM,
        KeySource.BYOK: KeyClass.OWN,
        KeySource.CUSTOM: KeyClass.OWN,
        KeySource.NONE: KeyClass.NONE,
    }
)


class Target(Message):
    """The unit of a circuit: one model at one provider's address, as it is called with one class of keys.

    With a `key_id` it is one key's use of that model, which is never open: it only cools, after a 429. What tenants share has a
    circuit of its own for each tenant besides (`of_tenant`), which opens where only that tenant's requests fail.
    """

    provider: ProviderName
    model: Line
    origin: Url | None = None
    """The `scheme://host[:port]` that is called, which distinguishes regions; null for the built-in echo."""
    key_class: KeyClass = KeyClass.OWN
    tenant: TenantId | None = None
    """Whose it is: of an endpoint, of a server or address that only one tenant calls, of the key, or of the requests; null if it
    is shared."""
    endpoint: EndpointName | None = None
    key_id: KeyId | None = None

    @property
    def shown_to_tenants(self) -> "Target":
        """The target without the address of a server that the operator has chosen for the platform's keys."""
        if self.key_class is not KeyClass.PLATFORM or is_standard_origin(self.provider, self.origin):
            return self
        return _target(self.provider, self.model, None, self.key_class, self.tenant, self.endpoint, self.key_id)

    @property
    def key(self) -> str:
        """The key in the views: short, of characters that subjects may contain, and distinct for distinct targets."""
        return _key(
            self.provider, self.model, self.origin, self.key_class.value, self.tenant, self.endpoint, self.key_id
        )

    @property
    def is_of_one_tenant(self) -> bool:
        """Whether it is what `of_tenant` returns: one tenant's use of a target that others share."""
        if self.tenant is None or self.key_id is not None or self.endpoint is not None:
            return False
        return self.key_class is not KeyClass.OWN or _is_shared(self.provider, self.origin)

    def of_tenant(self, tenant: str) -> "Target":
        """Return one tenant's use of a shared target: what only its requests prove holds for its requests only."""
        return _target(self.provider, self.model, self.origin, self.key_class, tenant, None, None)

    def of_key(self, key_id: str, tenant: str) -> "Target":
        """Return one key's use of this target, where `tenant` makes the request; the platform's keys belong to no tenant."""
        owner = None if self.key_class is KeyClass.PLATFORM else tenant
        return _target(self.provider, self.model, self.origin, self.key_class, owner, self.endpoint, key_id)


def target_of_call(
    *, provider: str, model: str, origin: str | None, key_source: KeySource, tenant: str, endpoint: str | None
) -> Target:
    """Return the target of a call that `tenant` makes: for the router before it, and for the monitor afterwards.

    A provider's standard address is shared by all tenants, and so is an address of the platform. An address that a tenant has
    chosen is a target of its own: one tenant's failures must not affect another, and nobody learns of another's servers.
    """
    key_class = KEY_CLASSES[key_source]
    if key_class is not KeyClass.OWN or (endpoint is None and _is_shared(provider, origin)):
        return _target(provider, model, origin, key_class, None, None, None)
    return _target(provider, model, origin, key_class, tenant, endpoint, None)


def _is_shared(provider: str, origin: str | None) -> bool:
    """Return whether tenants' own keys for a provider call the same servers at this address."""
    return provider not in NAMED_BY_TENANT and is_standard_origin(provider, origin)


@lru_cache(maxsize=_CACHED)
def _target(
    provider: str,
    model: str,
    origin: str | None,
    key_class: KeyClass,
    tenant: str | None,
    endpoint: str | None,
    key_id: str | None,
) -> Target:
    """Return the target with these fields; cached, since a request is planned in less time than a dozen are built."""
    return Target(
        provider=provider,
        model=model,
        origin=origin,
        key_class=key_class,
        tenant=tenant,
        endpoint=endpoint,
        key_id=key_id,
    )


@lru_cache(maxsize=_CACHED)
def _key(
    provider: str,
    model: str,
    origin: str | None,
    key_class: str,
    tenant: str | None,
    endpoint: str | None,
    key_id: str | None,
) -> str:
    name = base64.b32hexencode(model.encode()).decode().rstrip("=").lower()
    address = blake2b(origin.encode(), digest_size=_ORIGIN_BYTES).hexdigest() if origin else "-"
    return f"{provider}.{key_class}.{tenant or '-'}.{endpoint or '-'}.{address}.{key_id or '-'}.{name}"


ChosenProvider = Annotated[str, Refusing(63, pattern=r"^[a-z0-9_-]+$", form="a-z 0-9 _ and -", no_key=True)]
ForcedState = Literal[CircuitState.OPEN, CircuitState.CLOSED]


class Selector(Message):
    """The targets that an operator means: of a provider, of one of its models, or of a tenant's endpoint."""

    provider: ChosenProvider
    model: RequestedModel | None = None
    """As the provider names it; null for all of its models."""
    tenant: TenantId | None = None
    """With `endpoint`: its owner."""
    endpoint: EndpointName | None = None

    @property
    def key(self) -> str:
        """The key of its override in the view."""
        return _key(self.provider, self.model or "", None, "-", self.tenant, self.endpoint, None).rstrip(".")

    @property
    def precedence(self) -> tuple[bool, bool]:
        """The sort key of overrides: what names more precisely which targets it means comes first."""
        return self.endpoint is None, self.model is None

    def selects(self, target: Target) -> bool:
        """Return whether `target` is meant. One key's use of a target is never meant: a key is switched off by itself.

        A tenant's endpoints and the servers of its keys have different names, so a name is enough, whatever the provider.
        """
        if target.key_id is not None or self.model not in (None, target.model):
            return False
        if self.endpoint is None:
            return self.provider == target.provider
        return (self.tenant, self.endpoint) == (target.tenant, target.endpoint)

    def __str__(self) -> str:
        """Return what people call it: `openai`, `openai/gpt-4o`, `acme/my-server`, `acme/my-server/llama`."""
        owner = (self.provider,) if self.endpoint is None else (self.tenant or "", self.endpoint)
        return "/".join((*owner, self.model) if self.model else owner)


Reason = Annotated[str, Refusing(300, no_key=True, visible=True)]
"""Why an operator acts, on one line."""


class Override(Selector):
    """A circuit that an operator forces open or closed until a time, whatever the attempts say."""

    state: ForcedState
    reason: Reason
    actor: Actor
    since: Moment
    until: Moment


class Health(Message):
    """The health of one target as of `changed_at`."""

    target: Target
    state: CircuitState
    reason: Explanation
    """What was observed, in plain text."""
    failure_class: FailureClass | None = None
    """The failure that caused the last change of state; null if the circuit is closed."""
    until: Moment | None = None
    """When attempts may resume; null if they may now."""
    changed_at: Moment
    forced: Override | None = None
    """The operator's override that `state` comes from; null if it comes from attempts and probes."""
    samples: Count = 0
    """Number of attempts in the window of these figures."""
    failures: Count = 0
    p50_ms: Count | None = None
    p95_ms: Count | None = None
    p99_ms: Count | None = None
    first_token_p50_ms: Count | None = None
    first_token_p95_ms: Count | None = None
    last_attempt_at: Moment | None = None
    probed_at: Moment | None = None
    """When its address was last probed, because it was idle."""
    reachable: bool | None = None
    """Whether that probe was answered; null if it proved nothing."""

    @property
    def change_id(self) -> str:
        """The id of the change that led here, the same however often it is published."""
        return f"{self.target.key}.{self.state}.{self.changed_at.isoformat()}"


class HealthChange(Health):
    """A change of a target's health, with who may know of a model that the tenants' own keys call.

    The name of a fine-tuned model shows whose it is, and what for.
    """

    widely_known: bool = False
    """Whether several tenants are known to call it."""
    known_to: TenantId | None = None
    """The only tenant that is; null if none is, or several are."""

    def may_be_shown_to(self, tenant: str) -> bool:
        """Return whether a tenant may know of the target: what is its own, and what is shared and known to be."""
        target = self.target
        if target.tenant is not None:
            return target.tenant == tenant
        if target.key_id is not None:  # one of the platform's keys
            return False
        return target.key_class is not KeyClass.OWN or self.widely_known or self.known_to == tenant


class LatencySummary(Message):
    """How fast a target has answered within the last minutes; its circuit may be in any state.

    Of completed attempts only, each figure with a relative error of at most 1 %. Published when a figure has changed
    noticeably, about every ten seconds at most.
    """

    target: Target
    samples: Count
    """Completed attempts."""
    p50_ms: Count
    p95_ms: Count
    first_token_p50_ms: Count | None = None
    """Until the first token, of streamed attempts; null if there were none."""
    measured_at: Moment


class ListHealth(Command):
    """Request the health of the targets that a tenant can reach; null for all of them, which only an operator may see."""

    tenant: TenantId | None = None


class HealthList(Message):
    """Targets with recent attempts or probes, and the overrides that apply to them."""

    targets: list[Health]
    overrides: list[Override] = Field(default_factory=list)
    left_out: Count = 0
    """How many more there are than fit into a message: closed ones that were not used for longest."""


class ForceHealth(Selector, Command):
    """Force the circuits of a selector open or closed for a time. It replaces the selector's earlier override."""

    state: ForcedState
    for_seconds: int = Field(ge=1, le=MAX_FORCED_SECONDS)
    reason: Reason
    unseen: bool = False
    """Whether to accept a provider or a model that no attempt has called yet."""
    actor: Actor = "operator"
    """Who does it, for the audit."""


class ReleaseHealth(Selector, Command):
    """End the override of a selector before its time."""

    actor: Actor = "operator"


class Rerouted(Message):
    """Where requests went instead."""

    provider: ProviderName
    endpoint: EndpointName | None = None
    model: Line
    requests: Count


class Outage(Message):
    """A time in which targets of one provider got no attempts, or only probes, and what that did to requests.

    The figures count what is recorded so far: an attempt that is reported late counts when it arrives. For a tenant they count
    its own requests only.
    """

    provider: ProviderName
    tenant: TenantId | None = None
    """The owner of the endpoint or the address; null where it is shared."""
    endpoint: EndpointName | None = None
    origin: Url | None = None
    key_class: KeyClass
    models: list[Line]
    began_at: Moment
    ended_at: Moment | None = None
    """Null while it lasts."""
    reasons: list[Explanation]
    """Of the changes that opened circuits, oldest first."""
    forced: bool = False
    """Whether an operator forced it."""
    failed_attempts: Count
    """Attempts of these targets that failed while it lasted, or just before: those that opened a circuit."""
    affected_requests: Count
    """Requests with such an attempt, and requests for which the targets were skipped."""
    served_elsewhere: Count
    """Affected requests that another target completed."""
    refused: Count
    """Affected requests that no target was left for."""
    rerouted_to: list[Rerouted] = Field(default_factory=list)
    """Where the requests that were served elsewhere went, most first."""


class ListOutages(Command):
    """Request the outages that overlap a span of time, newest first. `since` is inclusive, `until` exclusive."""

    tenant: TenantId | None = None
    """Whose outages and figures; null for all, which only an operator may see."""
    since: Moment | None = None
    """Null for a week before `until`."""
    until: Moment | None = None
    """Null for now."""
    limit: int = Field(default=50, ge=1, le=200)


class Outages(Message):
    """Outages, newest first."""

    outages: list[Outage]
    more: bool = False
    """Whether there are older ones in that span than `limit` allows."""
