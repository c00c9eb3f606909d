"""The charge of an attempt against exact fractions, over the whole price table."""

import random
from decimal import Decimal
from fractions import Fraction
from functools import cache, partial
from math import floor

import pytest

from keyferry.billing.charge import OWN_KEY_SOURCES, ChargeTerms, charge, charge_terms, pico_usd, spend_terms
from keyferry.billing.hold import LargestUsage, affordable_output_tokens, largest_cost, worst_case_charge
from keyferry.billing.plan import BUNDLED_PLAN, BillingPlan
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.tenancy import Tier
from keyferry.contracts.usage import KeySource, TokenUsage
from keyferry.pricing.tariff import TOKEN_KINDS, Rate, Tariff
from tests.unit.billing.price_table import list_tariffs

TEXT = BUNDLED_PLAN.read_text(encoding="utf-8")
PLAN = BillingPlan.parse(TEXT)
PLANS = [
    PLAN,
    BillingPlan.parse(
        TEXT.replace("floor = false", "floor = true").replace("fee_micro_usd = 0", "fee_micro_usd = 700")
    ),
    BillingPlan.parse(TEXT.replace("eco = 0.1\n", "eco = 0.333333\n").replace("percent = 40", "percent = 33.3333")),
]
TARIFFS = list_tariffs()


@cache
def share_of(plan_index: int, level: PowerLevel | None, tier: Tier | None) -> Fraction:
    """Return the charge divided by the cost as the guide says it, in fractions."""
    plan = PLANS[plan_index]
    multiplier = Fraction(1) if level is None else Fraction(plan.multipliers[level])
    markup = Fraction(0) if tier is None else Fraction(plan.markups_percent[tier]) / 100
    share = multiplier * (1 + markup)
    return max(share, Fraction(1)) if plan.floor else share


def fraction_of(tariff: Tariff, tokens: TokenUsage) -> Fraction:
    """Return the cost in dollars."""
    prompt, total = tokens.prompt, tariff.per_request
    for kind in TOKEN_KINDS:
        if count := getattr(tokens, kind):
            rate = tariff.rate_of(kind)
            assert rate is not None
            total += count * rate.at(prompt)
    return Fraction(total, 10**12)


def random_usage(rng: random.Random, tariff: Tariff) -> TokenUsage:
    counts = {}
    for kind in TOKEN_KINDS:
        if tariff.rate_of(kind) is not None and (magnitude := int(rng.random() * 4)):
            counts[kind] = int(rng.random() * (0, 50, 300_000, 10**9)[magnitude])
    return TokenUsage.model_construct(None, **counts)


def count_differences(seed: int, rounds: int) -> int:
    rng = random.Random(seed)
    cases = [
        (index, source, level, tier)
        for index in range(len(PLANS))
        for source in KeySource
        for level in (None, *PowerLevel)
        for tier in (None, *Tier)
    ]
    differences = 0
    for _ in range(rounds):
        tariff = TARIFFS[int(rng.random() * len(TARIFFS))]
        index, source, level, tier = cases[int(rng.random() * len(cases))]
        tokens = random_usage(rng, tariff)
        cost = tariff.cost(tokens)
        assert cost is not None
        got = charge(cost, PLANS[index], key_source=source, level=level, tier=tier)
        if source in OWN_KEY_SOURCES:
            expected = PLANS[index].byok_fee_micro_usd
        elif source is KeySource.NONE:
            expected = 0
        else:
            expected = floor(fraction_of(tariff, tokens) * share_of(index, level, tier) * 10**6 + Fraction(1, 2))
        differences += got != expected
    return differences


def test_charges_equal_exact_fractions_over_the_price_table() -> None:
    assert len(TARIFFS) > 500
    assert count_differences(seed=25, rounds=100_000) == 0


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_million_charges_equal_exact_fractions() -> None:
    assert count_differences(seed=2525, rounds=1_000_000) == 0


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        ("0", 0),
        ("0.000000499999", 0),
        ("0.0000005", 1),
        ("0.000000500001", 1),
        ("0.0000015", 2),
        ("0.000001499999", 1),
        ("999999999999999.999999999999", 10**21),
        ("-0.01", 0),
        ("1E+3", 10**9),
        ("0E-12", 0),
    ],
)
def test_half_a_micro_dollar_is_rounded_up_once(cost: str, expected: int) -> None:
    got = charge(Decimal(cost), PLAN, key_source=KeySource.PLATFORM, level=PowerLevel.PRECISION, tier=Tier.FREE)
    assert got == expected


def test_a_cost_that_no_price_gives_is_refused() -> None:
    for cost in ("NaN", "Infinity", "1E-13"):
        with pytest.raises(ValueError, match="a cost"):
            pico_usd(Decimal(cost))


def test_zeros_beyond_the_last_place_are_no_further_places() -> None:
    assert pico_usd(Decimal("0.50000000000000")) == 5 * 10**11
    assert pico_usd(Decimal("0.500000000000")) == 5 * 10**11


def test_an_own_key_pays_the_fee_and_counts_its_cost_in_budgets() -> None:
    def terms(source: KeySource) -> tuple[ChargeTerms, ChargeTerms]:
        of = partial(charge_terms, PLANS[1], key_source=source)
        spend = partial(spend_terms, PLANS[1], key_source=source)
        return of(level=PowerLevel.ECO, tier=Tier.STARTER), spend(level=PowerLevel.ECO, tier=Tier.STARTER)

    for source in OWN_KEY_SOURCES:
        charged, spent = terms(source)
        assert charged.amount(10**12) == 700
        assert spent.amount(10**12) == 1_000_700
    for source in (KeySource.PLATFORM, KeySource.NONE):
        charged, spent = terms(source)
        assert charged == spent
    assert (charged, charged.amount(10**12)) == ((0, 0), 0), "where no key is needed nobody pays"


def test_an_amount_below_the_fee_pays_for_no_cost_at_all() -> None:
    terms = ChargeTerms(10**12, 700)
    assert (terms.largest_cost(699), terms.largest_cost(700)) == (-1, 499_999)
    assert (terms.amount(499_999), terms.amount(500_000)) == (700, 701)


def shares(rng: random.Random, tariff: Tariff, usage: LargestUsage) -> TokenUsage:
    """Return some usage within a bound: its tokens are spread over the kinds that it allows."""
    prompt = ["input", "cached_read", "cache_write", "cache_write_1h"]
    prompt += ["image"] * usage.images + ["audio"] * usage.audio
    output = ["output", "reasoning", "image_output"] + ["audio_output"] * usage.audio
    counts: dict[str, int] = {}
    for kinds, most in ((prompt, usage.prompt_tokens), (output, usage.output_tokens)):
        left = rng.choice((most, rng.randint(0, most)))
        known = [kind for kind in kinds if tariff.rate_of(kind) is not None]
        for kind in rng.sample(known, len(known)):
            counts[kind] = rng.choice((left, rng.randint(0, left)))
            left -= counts[kind]
    return TokenUsage.model_construct(None, **counts)


def test_no_usage_within_the_bound_is_charged_more() -> None:
    rng = random.Random(3)
    for _ in range(5000):
        tariff, plan = rng.choice(TARIFFS), rng.choice(PLANS)
        longest = LargestUsage(
            rng.choice((0, 1, 900, 200_001, rng.randrange(1, 10**6))),
            rng.choice((0, 1, 4096, rng.randrange(1, 10**6))),
            images=rng.random() < 0.3,
            audio=rng.random() < 0.3,
        )
        terms = spend_terms(
            plan,
            key_source=rng.choice(tuple(KeySource)),
            level=rng.choice(tuple(PowerLevel)),
            tier=rng.choice(tuple(Tier)),
        )
        worst = worst_case_charge(tariff, longest, terms)
        cost = tariff.cost(shares(rng, tariff, longest))
        assert cost is not None
        if worst is not None:
            assert terms.amount(pico_usd(cost)) <= worst


def test_the_output_that_an_amount_affords_is_the_most_that_it_pays_for() -> None:
    rng = random.Random(4)
    limited = 0
    for _ in range(5000):
        tariff, plan = rng.choice(TARIFFS), rng.choice(PLANS)
        usage = LargestUsage(rng.choice((0, 100, 5000, 250_000)), 100_000)
        terms = charge_terms(
            plan, key_source=rng.choice(tuple(KeySource)), level=rng.choice(tuple(PowerLevel)), tier=Tier.STARTER
        )
        amount = rng.choice((0, 1, 699, 700, rng.randrange(10**4), rng.randrange(10**7)))
        tokens = affordable_output_tokens(amount, tariff, usage, terms)
        if tokens is None:
            bare = worst_case_charge(tariff, LargestUsage(usage.prompt_tokens), terms)
            assert bare is None or bare > amount
            continue
        affordable = worst_case_charge(tariff, LargestUsage(usage.prompt_tokens, tokens), terms)
        assert affordable is not None
        assert affordable <= amount
        if tokens < usage.output_tokens:
            limited += 1
            more = worst_case_charge(tariff, LargestUsage(usage.prompt_tokens, tokens + 1), terms)
            assert more is None or more > amount
    assert limited > 100


def test_the_bound_takes_the_dearest_rate_that_the_prompt_can_reach() -> None:
    tariff = Tariff(
        {
            "input": Rate(100, ((200_000, 300),)),
            "cached_read": Rate(10),
            "cache_write": Rate(125),
            "output": Rate(400, ((200_000, 200),)),
            "reasoning": Rate(500),
        },
        per_request=7,
    )
    assert largest_cost(tariff, LargestUsage(1000, 10)) == 7 + 1000 * 125 + 10 * 500
    assert largest_cost(tariff, LargestUsage(1000, 10, caching=False)) == 7 + 1000 * 100 + 10 * 500
    assert largest_cost(tariff, LargestUsage(200_000, 10)) == 7 + 200_000 * 125 + 10 * 500
    assert largest_cost(tariff, LargestUsage(200_001, 10)) == 7 + 200_001 * 300 + 10 * 500
    assert largest_cost(tariff, LargestUsage(1000)) == 7 + 1000 * 125


def test_the_bound_of_a_free_model_is_its_fee_per_request() -> None:
    free = Tariff({"input": Rate(0), "output": Rate(0)}, per_request=7)
    assert largest_cost(free, LargestUsage(1000, 10)) == 7
    terms = ChargeTerms(10**12, 0)
    assert affordable_output_tokens(1, free, LargestUsage(1000, 10), terms) == 10


def test_a_cached_prompt_may_cost_more_than_a_new_one() -> None:
    assert largest_cost(Tariff({"input": Rate(100), "cached_read": Rate(300)}), LargestUsage(10)) == 3000


def test_what_pays_for_exactly_the_prompt_affords_no_output() -> None:
    terms = ChargeTerms(10**12, 0)
    rates = {"input": Rate(10), "output": Rate(1), "image": Rate(50), "audio": Rate(70), "cache_write": Rate(20)}
    most = terms.largest_cost(1)
    assert most is not None
    for usage, rate in (
        (LargestUsage(1000, 5, caching=False), 10),
        (LargestUsage(1000, 5), 20),
        (LargestUsage(1000, 5, images=True), 50),
        (LargestUsage(1000, 5, audio=True), 70),
    ):
        left = most - 1000 * rate
        for output, affordable in ((0, 0), (1, 1), (4, 4), (5, 5), (6, 5), (-1, None)):
            tariff = Tariff(rates, per_request=left - output)
            found = affordable_output_tokens(1, tariff, usage, terms)
            assert found == affordable
            assert found is None or type(found) is int


def test_a_model_without_a_price_has_no_bound_and_affords_nothing() -> None:
    terms = charge_terms(PLAN, key_source=KeySource.PLATFORM, level=None, tier=None)
    input_only = Tariff({"input": Rate(100)})
    assert worst_case_charge(input_only, LargestUsage(10, 1), terms) is None
    assert worst_case_charge(input_only, LargestUsage(10_000), terms) == 1
    assert worst_case_charge(Tariff(), LargestUsage(10), terms) is None
    assert affordable_output_tokens(10**9, input_only, LargestUsage(10, 5), terms) == 0
    assert affordable_output_tokens(10**9, Tariff(), LargestUsage(10, 5), terms) is None
    own = charge_terms(PLANS[1], key_source=KeySource.BYOK, level=None, tier=None)
    assert worst_case_charge(Tariff(), LargestUsage(10, 1), own) == 700
    assert affordable_output_tokens(699, Tariff(), LargestUsage(10, 5), own) is None
    assert affordable_output_tokens(700, Tariff(), LargestUsage(10, 5), own) == 5
