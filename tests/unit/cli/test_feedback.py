"""What `keyferry feedback` prints."""

from datetime import UTC, datetime

from keyferry.cli.feedback import format_feedback, format_preview, format_sums
from keyferry.contracts.feedback import Feedback, FeedbackPreview, PreviewedModel, RatedModel, TenantRatings

SAVED = Feedback(
    tenant="acme",
    request_id="req_1",
    rater="ann",
    rating=4,
    operation="research",
    provider="openai",
    model="gpt-4o",
    rated_at=datetime(2026, 11, 1, tzinfo=UTC),
)


def test_a_rating_is_one_line() -> None:
    assert format_feedback(SAVED) == "ann rated req_1: 4 of 5, gpt-4o of openai for research"
    again = SAVED.model_copy(update={"replaced": True, "operation": None})
    assert format_feedback(again) == "ann replaced the earlier rating of req_1: 4 of 5, gpt-4o of openai"


def test_sums_have_a_mean() -> None:
    sums = TenantRatings(tenant="acme", models=[RatedModel(provider="openai", model="gpt-4o", ratings=3, stars=10)])
    assert format_sums(sums).splitlines()[1].split() == ["openai", "gpt-4o", "-", "3", "3.3"]
    assert format_sums(TenantRatings(tenant="acme", models=[])) == "nothing was rated"


def test_preview_says_whether_it_is_in_force() -> None:
    model = PreviewedModel(model="gpt-4o", quality=67, rank=20, ratings=5, learned_quality=70, learned_rank=18)
    table, state = format_preview(FeedbackPreview(tenant="acme", applied=False, models=[model]))
    assert table.splitlines()[1].split() == ["gpt-4o", "5", "67", "70", "20", "18"]
    assert "not applied" in state
    unknown = PreviewedModel(model="new", ratings=1)
    table, state = format_preview(FeedbackPreview(tenant="acme", applied=True, models=[unknown]))
    assert table.splitlines()[1].split() == ["new", "1", "unknown", "unknown", "unknown", "unknown"]
    assert "is applied" in state
