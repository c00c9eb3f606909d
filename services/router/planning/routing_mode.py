"""What the routing mode of an operation excludes: the platform's keys, the tenant's own, or its endpoints. Pure."""

from keyferry.contracts.key import KeyFacts
from keyferry.contracts.preferences import PreferenceOrigin, RoutingMode
from keyferry.contracts.providers import SELF_HOSTED
from keyferry.contracts.route import DropReason
from keyferry.contracts.tenancy import KeyPolicy, Tenant
from services.router.planning.context import RouteRequest, RoutingContext
from services.router.preferences.effective import Source

Exclusion = tuple[DropReason, str] | None
"""Why the mode excludes something, as a reason code and a text; None if it does not."""


class ActiveMode:
    """The routing mode of one request, and where it is saved."""

    __slots__ = ("mode", "source")

    def __init__(self, mode: RoutingMode | None, source: Source) -> None:
        self.mode = mode
        self.source = source

    @property
    def consents_to_platform_keys(self) -> bool:
        """Whether the tenant itself has chosen the platform's keys. A mode of the whole installation is no tenant's consent."""
        return self.mode is RoutingMode.PLATFORM and self.source.origin is not PreferenceOrigin.PLATFORM

    def check_own_keys(self) -> Exclusion:
        """Return why no own key may serve the request."""
        if self.mode is RoutingMode.PLATFORM:
            return self._exclude("only the platform's keys serve it")
        return None

    def check_platform_keys(self, tenant: Tenant) -> Exclusion:
        """Return why no key of the platform may serve the request."""
        if self.mode is RoutingMode.CUSTOM:
            return self._exclude("only the tenant's own endpoints and servers serve it")
        if self.mode is RoutingMode.BYOK and tenant.key_policy is not KeyPolicy.OWN_THEN_PLATFORM:
            return self._exclude(
                "the platform's keys follow only where the tenant allows it"
                f" (`keyferry tenants set {tenant.tenant} --keys own-then-platform`)"
            )
        return None

    def check_key(self, key: KeyFacts) -> Exclusion:
        """Return why this own key may not serve the request."""
        if self.mode is RoutingMode.CUSTOM and key.provider not in SELF_HOSTED:
            return self._exclude("only the tenant's own endpoints and servers serve it")
        return None

    def check_endpoint(self) -> Exclusion:
        """Return why no endpoint may serve the request."""
        if self.mode is RoutingMode.PLATFORM:
            return self._exclude("only the platform's keys serve it")
        if self.mode is RoutingMode.BYOK:
            return self._exclude("only provider keys serve it")
        return None

    def _exclude(self, rule: str) -> Exclusion:
        return DropReason.ROUTING_MODE, f"the routing mode is {self.mode}{describe_source(self.source)}: {rule}"


NO_MODE = ActiveMode(None, Source(PreferenceOrigin.DEFAULT))


def mode_of(request: RouteRequest, context: RoutingContext) -> ActiveMode:
    """Return the routing mode of a request by its operation."""
    preferences = context.preferences(request)
    mode = preferences.mode_of(request.operation)
    return NO_MODE if mode is None else ActiveMode(mode, preferences.source_of_mode(request.operation))


def describe_source(source: Source) -> str:
    """Return where a preference is saved, in parentheses and with a space before them; empty for a default."""
    if source.origin is PreferenceOrigin.DEFAULT:
        return ""
    if source.origin is PreferenceOrigin.PLATFORM:
        return " (a preference of the platform)"
    kind = source.origin.value.replace("_", " ")
    return f" (a preference of the {kind} {source.id})"
