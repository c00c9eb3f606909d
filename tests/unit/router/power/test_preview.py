"""The preview of learned quality: what was rated, and whose rank would change."""

from services.router.power.preview import preview_ranks
from services.router.power.ratings import NOTHING_LEARNED, LearnedQuality, RatingSum
from tests.support.router.keys_and_prices import catalog
from tests.support.router.power import quality


def test_without_ratings_nothing_is_shown() -> None:
    found = preview_ranks("acme", catalog(), quality(), NOTHING_LEARNED, operation=None, applied=False)
    assert (found.models, found.applied) == ([], False)


def test_ranks_move_with_the_ratings() -> None:
    learned = LearnedQuality({("gpt-5.5", None): RatingSum(20, 20), ("claude-opus-5", None): RatingSum(40, 200)})
    found = preview_ranks("acme", catalog(), quality(), learned, operation="research", applied=True)
    by_model = {each.model: each for each in found.models}
    worse, new = by_model["gpt-5.5"], by_model["claude-opus-5"]
    assert (worse.quality, worse.rank, worse.learned_quality, worse.ratings) == (98, 1, 49, 20)
    assert worse.learned_rank is not None
    assert worse.learned_rank > 30
    assert (new.quality, new.rank, new.learned_quality) == (None, None, 83)
    assert by_model["gemini-3.1-pro-preview"].learned_rank == 1, "who follows moves up"
    order = [each.learned_quality for each in found.models if each.learned_quality is not None]
    assert order == sorted(order, reverse=True)


def test_equal_qualities_share_a_rank() -> None:
    learned = LearnedQuality({(model.id, None): RatingSum(5, 15) for model in catalog()})
    found = preview_ranks("acme", catalog(), quality(), learned, operation=None, applied=False)
    ranks = {each.quality: each.rank for each in found.models if each.quality is not None}
    assert all(ranks[each.quality] == each.rank for each in found.models if each.quality is not None)
