"""Ratings: a Bayesian average per tenant, which few ratings do not move."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.feedback import RatedModel, TenantRatings
from services.router.power.ratings import (
    LEAST_RATINGS,
    PRIOR_RATINGS,
    LearnedQuality,
    RatingIndex,
    RatingSum,
    learned_quality,
)


def rated(model: str, ratings: int, stars: int, operation: str | None = None) -> RatedModel:
    return RatedModel(provider="openai", model=model, operation=operation, ratings=ratings, stars=stars)


def known(provider: str, model: str) -> str | None:
    return None if model == "unlisted" else f"catalog-{model}"


@pytest.mark.parametrize(
    ("score", "ratings", "stars", "blended"),
    [
        (80, 0, 0, 80),
        (80, 4, 4, 80),
        (80, 5, 5, 64),
        (80, 20, 20, 40),
        (80, 20, 100, 90),
        (40, 20, 60, 45),
        (None, 4, 20, None),
        (None, 5, 25, 60),
    ],
)
def test_blend(score: int | None, ratings: int, stars: int, blended: int | None) -> None:
    learned = LearnedQuality({("m", None): RatingSum(ratings, stars)})
    assert learned.blend(score, "m", None) == blended


def test_ratings_of_the_operation_count_first() -> None:
    entry = TenantRatings(
        tenant="acme", models=[rated("m", 10, 50, "research"), rated("m", 10, 10), rated("m", 2, 2, "chat")]
    )
    learned = learned_quality(entry, known)
    assert learned.relevant("catalog-m", "research") == RatingSum(10, 50)
    assert learned.relevant("catalog-m", "chat") == RatingSum(22, 62), "two are too few"
    assert learned.relevant("catalog-m", None) == RatingSum(22, 62)
    assert learned.relevant("catalog-other", None) == RatingSum()


def test_names_of_one_model_are_added_and_unlisted_models_left_out() -> None:
    other = RatedModel(provider="openrouter", model="m", ratings=1, stars=5)
    entry = TenantRatings(tenant="acme", models=[rated("m", 6, 6), other, rated("unlisted", 9, 9)])
    assert learned_quality(entry, known).sums == {("catalog-m", None): RatingSum(7, 11)}


def test_one_tenants_ratings_are_no_other_tenants() -> None:
    index = RatingIndex(known)
    index.replace("acme", [TenantRatings(tenant="acme", models=[rated("m", 10, 50)])])
    index.replace("other", [TenantRatings(tenant="other", models=[rated("m", 10, 10)])])
    index.replace("third", [TenantRatings(tenant="acme", models=[rated("m", 10, 50)])])
    assert index.of("acme").blend(50, "catalog-m", None) == 67
    assert index.of("other").blend(50, "catalog-m", None) == 33
    assert index.of("third").blend(50, "catalog-m", None) == 50, "the entry names another tenant"
    kept = index.of("acme")
    index.replace("other", [])
    assert index.of("acme") is kept
    assert index.of("other").blend(50, "catalog-m", None) == 50


def test_a_model_that_is_added_to_the_catalog_gets_the_ratings_that_it_has_already() -> None:
    listed = {"m"}
    index = RatingIndex(lambda provider, model: f"catalog-{model}" if model in listed else None)
    index.replace("acme", [TenantRatings(tenant="acme", models=[rated("new", 10, 50)])])
    assert index.of("acme").blend(50, "catalog-new", None) == 50
    listed.add("new")
    index.read_again()
    assert index.of("acme").blend(50, "catalog-new", None) == 67


@given(st.none() | st.integers(0, 100), st.integers(0, 10**9), st.floats(1, 5))
def test_blended_quality_stays_within_the_scale(score: int | None, ratings: int, mean: float) -> None:
    stars = min(5 * ratings, max(ratings, round(ratings * mean)))
    blended = LearnedQuality({("m", None): RatingSum(ratings, stars)}).blend(score, "m", None)
    assert blended is None or 0 <= blended <= 100
    if ratings < LEAST_RATINGS:
        assert blended == score
    elif score is not None and blended is not None and ratings <= PRIOR_RATINGS:
        assert abs(blended - score) <= 51, "as many ratings as the prior move it half the way at most"
