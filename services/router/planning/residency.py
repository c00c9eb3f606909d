"""Where a candidate is processed, and whether the request may be processed there: by its offering, never by its maker.

It fails closed: what is not known to be inside the European Union is outside, and an unknown region is not allowed. Pure.
"""

from collections.abc import Sequence

from keyferry.contracts.key import KeyFacts
from keyferry.contracts.key_address import is_default_address
from keyferry.contracts.providers import NAMED_BY_TENANT
from keyferry.contracts.residency import Residency, is_allowed, is_in_eu, region_of, states_eu
from keyferry.contracts.route import DropReason, Endpoint
from services.router.planning.constraints import Place, Violation
from services.router.planning.provider_keys import provider_title
from services.router.planning.routing_mode import describe_source
from services.router.preferences.effective import EffectivePreferences


def residency_of(preferences: EffectivePreferences, place: Place, key: KeyFacts | None) -> Residency:
    """Return where a candidate may be and would be processed.

    Of a key for an address that somebody chose that is unknown, unless its owner states that it is in the European Union.
    """
    known = key is None or is_default_address(key.provider, key.base_url, key.fields)
    region = None if isinstance(place, Endpoint) else region_of(key.fields if key else {}, place.region)
    return Residency(
        eu_only=preferences.eu_only,
        allowed_regions=[list(names) for names in preferences.allowed_regions],
        eu=place.eu if known else key is not None and states_eu(key.provider, key.fields),
        region=region if known else None,
    )


def check_residency(
    residency: Residency, preferences: EffectivePreferences, place: Place, key: KeyFacts | None
) -> Violation:
    """Return why a candidate must not be processed where it would be; None if it may."""
    eu = is_in_eu(marked=residency.eu, region=residency.region)
    if preferences.eu_only and not eu:
        detail = (
            f"{_name(place)} is not known to process requests inside the European Union{_in_region(residency)}, and they may be"
            f" processed only there{describe_source(preferences.source('eu_only'))}{_remedy(place, key)}"
        )
        return DropReason.OUTSIDE_EU, detail
    for regions, source in zip(preferences.allowed_regions, preferences.region_sources, strict=True):
        if not is_allowed(regions, eu=eu, region=residency.region):
            detail = (
                f"{_name(place)} processes requests in {residency.region or 'no region that is known'}, and the allowed regions"
                f" are {', '.join(regions)}{describe_source(source)}"
            )
            return DropReason.REGION_NOT_ALLOWED, detail
    return None


def may_ever_serve(preferences: EffectivePreferences, place: Place, *, stated: bool = False) -> bool:
    """Return whether some key could satisfy the limits at this place, so that a model may be chosen or saved for it.

    `stated`: whether the owner of a key states that its own server there is inside the European Union.
    """
    eu = is_in_eu(marked=place.eu or stated, region=None)
    if preferences.eu_only and not eu:
        return False
    region = None if isinstance(place, Endpoint) else place.region
    return all(
        is_allowed(regions, eu=eu, region=region) or _may_begin(regions, region)
        for regions in preferences.allowed_regions
    )


def _may_begin(regions: Sequence[str], region: str | None) -> bool:
    """Return whether an allowed region begins with the offering's, which is only the beginning of the key's."""
    return region is not None and any(name.startswith(region) for name in regions)


def _name(place: Place) -> str:
    if isinstance(place, Endpoint):
        return f"the endpoint {place.name}"
    return f"{place.upstream} of {provider_title(place.provider)}"


def _in_region(residency: Residency) -> str:
    return f" ({residency.region})" if residency.region else ""


def _remedy(place: Place, key: KeyFacts | None) -> str:
    if isinstance(place, Endpoint):
        return f"; if it is there, save it with that mark (`keyferry endpoints add {place.name} --eu --tenant {place.tenant}`)"
    if key is not None and place.eu and not is_default_address(key.provider, key.base_url, key.fields):
        return "; the key is for an address that somebody chose, about which nothing is known"
    if key is not None and key.provider in NAMED_BY_TENANT:
        return (
            "; if it is there, state that when its key is added"
            f" (`keyferry keys add --provider {key.provider} --field processed_in=eu --tenant {key.tenant}`)"
        )
    return ""
