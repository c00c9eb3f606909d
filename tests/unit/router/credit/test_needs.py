"""What an attempt may spend: the most that it can cost, limited to what its accounts cover, or why it is not made."""

from datetime import UTC, datetime
from typing import Any

import pytest

from keyferry.billing.image_tokens import most_image_tokens
from keyferry.contracts.chat import ChatRequest, EmbeddingRequest
from keyferry.contracts.credit import MAX_AMOUNT
from keyferry.contracts.features import PowerLevel, RequestFeatures
from keyferry.contracts.route import Candidate, DropReason
from keyferry.contracts.tenancy import Tenant, Tier
from keyferry.contracts.usage import KeySource
from services.router.credit.affordable import NOTHING, AttemptNeeds, Unaffordable
from services.router.credit.needs import HardBudget
from services.router.credit.shortage import Shortage
from tests.support.router.credit import spending_rules

NOW = datetime(2026, 11, 1, tzinfo=UTC)
CREDITS, ALLOWANCE = "credits/acme", "allowance/acme/2026-11"
BUDGET = HardBudget("budget/bud_1/2026-11-01", "marketing", "on 1 December")


def candidate(source: KeySource = KeySource.PLATFORM, provider: str = "openai", model: str = "gpt-4o") -> Candidate:
    return Candidate(provider=provider, model=model, key_source=source, kept=True, detail="kept")


def needs(
    source: KeySource = KeySource.PLATFORM,
    *,
    tier: Tier = Tier.STARTER,
    short: dict[str, Shortage] | None = None,
    budgets: tuple[HardBudget, ...] = (),
    credits_required: bool = True,
    level: PowerLevel = PowerLevel.BALANCED,
    model: str = "gpt-4o",
    kind: type[ChatRequest] | type[EmbeddingRequest] = ChatRequest,
    **features: Any,
) -> AttemptNeeds | Unaffordable:
    rules = spending_rules(
        credits_required=credits_required, budgets=budgets, shortage=lambda account: (short or {}).get(account)
    )
    request = kind(
        request_id="req_1",
        tenant="acme",
        model=model,
        stream=False,
        deadline_ms=9000,
        start_by_unix_ms=1,
        features=RequestFeatures(**({"input_tokens": 100} | features)),
    )
    found = rules.needs_of(request, 400, Tenant(tenant="acme", name="Acme", tier=tier), NOW)
    return NOTHING if found is None else found(candidate(source, model=model), None, level)


def test_a_hold_is_the_charge_of_the_longest_answer() -> None:
    """264 prompt tokens at $2.50 and 1000 output tokens at $10 per million: $0.01066 x 0.25 x 1.4."""
    assert needs(max_output_tokens=1000) == AttemptNeeds({CREDITS: 3731})


def test_every_answer_of_several_has_that_length() -> None:
    """$0.00066 + 3 x $0.01 = $0.03066; x 0.35 = $0.010731."""
    assert needs(max_output_tokens=1000, choices=3) == AttemptNeeds({CREDITS: 10_731})


def test_an_answer_without_a_limit_is_as_long_as_the_model_gives() -> None:
    """16,384 tokens at $10 per million = $0.16384; + $0.00066 = $0.1645; x 0.35."""
    assert needs() == AttemptNeeds({CREDITS: 57_575})


@pytest.mark.parametrize(
    ("model", "image_tokens", "held"),
    [
        ("gpt-4o-mini", 1600, 2753),  # $0.15 x (264 + 48,169) + $0.60 x 1000 per million = $0.00786495, x 0.35 = 2752.7
        ("gpt-4o-mini", 85, 2753),
        ("gpt-4o", 1600, 8106),
    ],
)
def test_an_image_is_held_as_the_largest_that_the_model_takes(model: str, image_tokens: int, held: int) -> None:
    features: dict[str, Any] = {
        "input_tokens": 100 + image_tokens,
        "image_tokens": image_tokens,
        "images": True,
        "image_count": 1,
    }
    assert needs(model=model, max_output_tokens=1000, **features) == AttemptNeeds({CREDITS: held})


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4o-mini", "gpt-5.5", "claude-opus-4-7", "gemini-3-pro-preview"])
def test_what_providers_document_for_an_image_is_within_the_hold(model: str) -> None:
    """Base and tiles of 2048 x 768 pixels, patches, and the largest images that are not scaled down."""
    documented = {
        "gpt-4o": 85 + 8 * 170,
        "gpt-4o-mini": 2833 + 8 * 5667,
        "gpt-5.5": 10_000 * 12 // 10,
        "claude-opus-4-7": 4784,
        "gemini-3-pro-preview": 2240,
    }
    assert documented[model] <= most_image_tokens(model) <= max(5000, documented[model])


def test_more_than_the_model_gives_is_not_held() -> None:
    assert needs(max_output_tokens=10**9) == needs()


@pytest.mark.parametrize("source", [KeySource.BYOK, KeySource.CUSTOM, KeySource.NONE])
def test_own_keys_cost_no_credits(source: KeySource) -> None:
    assert needs(source) == NOTHING


def test_nothing_is_held_where_credits_are_off() -> None:
    assert needs(credits_required=False) == NOTHING


def test_a_free_request_takes_one_of_the_allowance_and_no_credits() -> None:
    assert needs(tier=Tier.FREE) == AttemptNeeds({ALLOWANCE: 1})


def test_a_used_up_allowance_is_followed_by_credits() -> None:
    used = {ALLOWANCE: Shortage(ALLOWANCE, 0)}
    found = needs(tier=Tier.FREE, short=used, max_output_tokens=1000)
    assert found == AttemptNeeds({CREDITS: 2665})  # $0.01066 x 0.25


def test_an_answer_without_a_limit_is_cut_to_what_the_credits_cover() -> None:
    """$0.01 of charge is $0.028571428571 of cost; without the prompt's $0.00066 it buys 2791 tokens at $0.00001."""
    found = needs(short={CREDITS: Shortage(CREDITS, 10_000)})
    assert found == AttemptNeeds({CREDITS: 10_000}, max_tokens=2791)


def test_a_limit_that_the_request_sets_is_not_changed() -> None:
    found = needs(short={CREDITS: Shortage(CREDITS, 3000)}, max_output_tokens=1000)
    assert isinstance(found, Unaffordable)
    assert found.reason is DropReason.NO_CREDIT
    assert "acme has 3 credits left, and this attempt may cost 3.731 credits" in found.detail
    assert "keyferry credits grant acme" in found.detail


def test_an_answer_is_not_cut_to_almost_nothing() -> None:
    found = needs(short={CREDITS: Shortage(CREDITS, 500)})
    assert isinstance(found, Unaffordable)


def test_what_running_attempts_hold_may_come_back() -> None:
    found = needs(short={CREDITS: Shortage(CREDITS, 0, held=5000)}, max_output_tokens=1000)
    assert isinstance(found, Unaffordable)
    assert found.may_return
    assert "5 credits are held by requests under way" in found.detail


def test_a_budget_counts_the_charge_on_platform_keys_and_the_cost_on_own_ones() -> None:
    platform = needs(budgets=(BUDGET,), max_output_tokens=1000)
    assert platform == AttemptNeeds({CREDITS: 3731, BUDGET.account: 3731})
    assert needs(KeySource.BYOK, budgets=(BUDGET,), max_output_tokens=1000) == AttemptNeeds({BUDGET.account: 10_660})


def test_a_spent_budget_is_named_with_its_reset() -> None:
    found = needs(KeySource.BYOK, budgets=(BUDGET,), short={BUDGET.account: Shortage(BUDGET.account, 0)})
    assert isinstance(found, Unaffordable)
    assert found.reason is DropReason.BUDGET_SPENT
    assert "the budget marketing has $0 left" in found.detail
    assert "on 1 December" in found.detail


def test_a_free_request_spends_nothing_of_a_budget() -> None:
    assert needs(tier=Tier.FREE, budgets=(BUDGET,)) == AttemptNeeds({ALLOWANCE: 1})


def test_a_model_without_a_price_is_refused_on_platform_keys_and_not_held_on_own_ones() -> None:
    found = needs(model="no-such-model")
    assert isinstance(found, Unaffordable)
    assert found.reason is DropReason.UNPRICED
    assert needs(KeySource.BYOK, budgets=(BUDGET,), model="no-such-model") == NOTHING


def test_embeddings_have_no_output() -> None:
    """264 tokens at $0.02 per million: $0.00000528 x 0.35 = 1.848 micro-dollars."""
    assert needs(model="text-embedding-3-small", kind=EmbeddingRequest) == AttemptNeeds({CREDITS: 2})


def test_faster_processing_is_held_at_its_own_price() -> None:
    """264 prompt tokens at $4.25 and 1000 output tokens at $17 per million: $0.018122 x 0.25 x 1.4, rounded half up."""
    assert needs(max_output_tokens=1000, priority=True) == AttemptNeeds({CREDITS: 6343})


def test_no_need_is_larger_than_any_account() -> None:
    assert needs(max_output_tokens=9 * 10**18, choices=9 * 10**18) == AttemptNeeds({CREDITS: MAX_AMOUNT})


def test_a_free_request_for_a_model_without_a_price_is_refused_on_platform_keys() -> None:
    found = needs(tier=Tier.FREE, model="nobody-prices-this")
    assert isinstance(found, Unaffordable)
    assert found.reason is DropReason.UNPRICED


def test_a_platform_key_that_costs_nothing_still_needs_a_hold_of_what_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    """The vault releases it only for a lease of credit; the hold comes back whole."""
    monkeypatch.setattr("services.router.credit.needs.worst_case_charge", lambda *_: 0)
    assert needs(max_output_tokens=1000) == AttemptNeeds({CREDITS: 1})
    assert needs(KeySource.BYOK) == NOTHING
    budgeted = needs(max_output_tokens=1000, budgets=(BUDGET,))
    assert budgeted == AttemptNeeds({CREDITS: 1})
