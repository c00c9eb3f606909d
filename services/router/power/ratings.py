"""Ratings of a tenant, and how they change the quality of a model for that tenant.

The blended quality is a Bayesian average: the score of the reviewed file counts as much as `PRIOR_RATINGS` ratings, and each
rating as one. One star is 0, five stars are 100. Fewer than `LEAST_RATINGS` change nothing: no single opinion moves
traffic. Pure.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from keyferry.contracts.feedback import HIGHEST, LOWEST, TenantRatings

PRIOR_RATINGS = 20
LEAST_RATINGS = 5
UNKNOWN_PRIOR = 50
"""The score that counts where the reviewed file knows none."""
_POINTS_PER_STAR = 100 // (HIGHEST - LOWEST)

CatalogId = Callable[[str, str], str | None]
"""Returns the catalog's id of a provider's model; None if the catalog lacks it."""


@dataclass(frozen=True, slots=True)
class RatingSum:
    """Some ratings together."""

    ratings: int = 0
    stars: int = 0

    def __add__(self, other: "RatingSum") -> "RatingSum":
        return RatingSum(self.ratings + other.ratings, self.stars + other.stars)


_NONE = RatingSum()


@dataclass(frozen=True, slots=True)
class LearnedQuality:
    """One tenant's ratings by model of the catalog and operation; those of all operations are under None."""

    sums: Mapping[tuple[str, str | None], RatingSum] = field(default_factory=dict)

    def relevant(self, model_id: str, operation: str | None) -> RatingSum:
        """Return the ratings that count: of the operation if there are enough, or else of all operations together."""
        if operation is not None:
            of_operation = self.sums.get((model_id, operation), _NONE)
            if of_operation.ratings >= LEAST_RATINGS:
                return of_operation
        return self.sums.get((model_id, None), _NONE)

    def blend(self, score: int | None, model_id: str, operation: str | None) -> int | None:
        """Return the quality that a score of the file becomes; None if it is unknown and there are too few ratings."""
        found = self.relevant(model_id, operation)
        if found.ratings < LEAST_RATINGS:
            return score
        prior = UNKNOWN_PRIOR if score is None else score
        points = PRIOR_RATINGS * prior + _POINTS_PER_STAR * (found.stars - LOWEST * found.ratings)
        return round(points / (PRIOR_RATINGS + found.ratings))


NOTHING_LEARNED = LearnedQuality()


class RatingIndex:
    """The ratings of all tenants, each read when it changes. No tenant's ratings count for another."""

    def __init__(self, catalog_id: CatalogId) -> None:
        self._catalog_id = catalog_id
        self._entries: dict[str, TenantRatings] = {}
        self._by_tenant: dict[str, LearnedQuality] = {}

    def replace(self, tenant: str, entries: Collection[TenantRatings]) -> None:
        """Replace the entry of one tenant, whose ratings are in one; without any it has none."""
        self._entries.pop(tenant, None)
        self._by_tenant.pop(tenant, None)
        for entry in entries:
            if entry.tenant == tenant:
                self._entries[tenant] = entry
                self._by_tenant[tenant] = learned_quality(entry, self._catalog_id)

    def read_again(self) -> None:
        """Read all entries again after the catalog has changed: models may have been added that were rated before."""
        self._by_tenant = {tenant: learned_quality(entry, self._catalog_id) for tenant, entry in self._entries.items()}

    def of(self, tenant: str) -> LearnedQuality:
        """Return what a tenant's ratings say."""
        return self._by_tenant.get(tenant, NOTHING_LEARNED)


def learned_quality(entry: TenantRatings, catalog_id: CatalogId) -> LearnedQuality:
    """Return one tenant's ratings by model of the catalog; those of other models count for nothing."""
    sums: dict[tuple[str, str | None], RatingSum] = {}
    for rated in entry.models:
        model_id = catalog_id(rated.provider, rated.model)
        if model_id is None:
            continue
        found = RatingSum(rated.ratings, rated.stars)
        for operation in {rated.operation, None}:
            key = (model_id, operation)
            sums[key] = sums.get(key, _NONE) + found
    return LearnedQuality(sums)
