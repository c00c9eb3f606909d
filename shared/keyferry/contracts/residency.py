"""Where a call is processed, and whether it may be processed there: one judgement for the router and the worker.

A European region of a cloud is not always inside the European Union. Sources: AWS, "Regions and Availability Zones"; Google
Cloud, "Regions and zones". Pure.
"""

from collections.abc import Mapping, Sequence

from pydantic import Field

from keyferry.contracts.envelope import Message
from keyferry.contracts.providers import NAMED_BY_TENANT
from keyferry.contracts.text import Line

EU = "eu"
"""In a list of allowed regions: the European Union, whatever a provider calls its regions there."""
EUROPE_OUTSIDE_EU = frozenset({"eu-west-2", "eu-central-2", "europe-west2", "europe-west6"})
"""London and Zurich, at AWS and at Google Cloud."""
_PROCESSED_IN = "processed_in"
_REGION_FIELDS = ("region", "location")
"""The fields of a key that say where it is used."""


class Residency(Message):
    """Where an attempt may be processed, and where its offering is processed as far as the plan knows."""

    eu_only: bool = False
    allowed_regions: list[list[Line]] = Field(default_factory=list, max_length=10)
    """Lists of regions, each of which has to allow it; none allows all."""
    eu: bool = False
    """Whether the offering, or the tenant's own endpoint or server, is marked as inside the European Union."""
    region: Line | None = None
    """The region of the key, or of the offering; null if it is not known."""


def region_of(fields: Mapping[str, str], offering_region: str | None = None) -> str | None:
    """Return the region that calls with a key of these fields go to; `offering_region` applies if the key names none."""
    return next((fields[name] for name in _REGION_FIELDS if fields.get(name)), offering_region)


def states_eu(provider: str, fields: Mapping[str, str]) -> bool:
    """Return whether the owner of a key for an address of its own states that it is inside the European Union.

    For a provider's own address the catalog says it, whatever the key says.
    """
    return provider in NAMED_BY_TENANT and fields.get(_PROCESSED_IN) == EU


def is_in_eu(*, marked: bool, region: str | None) -> bool:
    """Return whether what is marked as inside the European Union really is, by the region that is called."""
    return marked and region not in EUROPE_OUTSIDE_EU


def is_allowed(allowed: Sequence[str], *, eu: bool, region: str | None) -> bool:
    """Return whether a region is allowed: by itself, by its beginning up to a hyphen, or as a part of the European Union."""
    if eu and EU in allowed:
        return True
    return region is not None and any(
        name != EU and (region == name or region.startswith(f"{name}-")) for name in allowed
    )


def find_violation(residency: Residency, key_fields: Mapping[str, str]) -> str | None:
    """Return why an attempt must not be made; None if it may. `key_fields` are those of the key that pays for it.

    The worker knows no catalog: it checks that what the plan promised still fits the key, and fails closed.
    """
    region = region_of(key_fields, residency.region)
    if region != residency.region:
        return f"the plan was made for {residency.region or 'no region'}, and the key is for {region}"
    eu = is_in_eu(marked=residency.eu, region=region)
    if residency.eu_only and not eu:
        return "it would not be processed inside the European Union"
    if not all(is_allowed(allowed, eu=eu, region=region) for allowed in residency.allowed_regions):
        return f"{region or 'an unknown region'} is not among the allowed regions"
    return None
