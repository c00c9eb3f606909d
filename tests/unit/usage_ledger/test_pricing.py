"""Costs are exact, and never guessed."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.money import plain, usd
from keyferry.contracts.usage import Basis, Outcome, TokenMeters
from keyferry.runtime.settings import SettingsError
from services.usage_ledger.prices import BUNDLED_PRICES, load_prices
from services.usage_ledger.pricing import FREE, UNPRICED, BadPriceFile, Price, PriceTable
from tests.support.attempt_records import attempt_record

METERS = tuple(TokenMeters.model_fields)
HEAD = 'version = "v1"\neffective = 2026-01-01\n'
ROW = HEAD + '[[price]]\nprovider = "p"\nmodel = "m"\n'
NOTHING = TokenMeters()

prices = st.integers(min_value=0, max_value=10**12).map(lambda micros: Decimal(micros).scaleb(-6))
tokens = st.integers(min_value=0, max_value=10**9)


@pytest.fixture(scope="module")
def bundled() -> PriceTable:
    return load_prices(BUNDLED_PRICES)


@given(
    rates=st.fixed_dictionaries(dict.fromkeys(METERS, prices)),
    counts=st.lists(tokens, min_size=len(METERS), max_size=len(METERS)),
)
def test_a_cost_is_the_exact_sum(rates: dict[str, Decimal], counts: list[int]) -> None:
    table = PriceTable.parse(ROW + "".join(f"{meter} = {rate:f}\n" for meter, rate in rates.items()))
    meters = TokenMeters(**dict(zip(METERS, counts, strict=True)))
    found = table.price(attempt_record(provider="p", model="m", meters=meters))
    assert found.pricing == "priced"
    assert found.version == "v1"
    assert found.cost_usd is not None
    expected = sum(Fraction(rates[meter]) * count for meter, count in zip(METERS, counts, strict=True)) / 1_000_000
    assert Fraction(found.cost_usd) == expected
    assert found.cost_usd.as_tuple().exponent == -12


def test_a_cost_travels_as_money(bundled: PriceTable) -> None:
    meters = TokenMeters(input=1_000, cached_read=11, output=7, reasoning=3)
    found = bundled.price(attempt_record(provider="openai", model="gpt-4o-mini", meters=meters))
    assert found.cost_usd == Decimal("0.000156825")
    assert plain(usd(found.cost_usd)) == "0.000156825"


def test_the_demo_shows_a_cost(bundled: PriceTable) -> None:
    found = bundled.price(attempt_record(provider="echo", model="echo", meters=TokenMeters(input=10, output=10)))
    assert found == Price("priced", Decimal("0.000005"), bundled.version)


def test_reasoning_costs_what_output_costs_unless_it_has_its_own_price() -> None:
    meters = TokenMeters(reasoning=1_000_000)
    record = attempt_record(provider="p", model="m", meters=meters)
    assert PriceTable.parse(ROW + "output = 4\n").price(record).cost_usd == 4
    assert PriceTable.parse(ROW + "output = 4\nreasoning = 5\n").price(record).cost_usd == 5
    assert PriceTable.parse(ROW + "output = 4\nreasoning = 0\n").price(record).cost_usd == 0


def test_what_has_no_price_is_unpriced(bundled: PriceTable) -> None:
    some = TokenMeters(input=1)
    for provider, model in (("openai", "gpt-of-nobody"), ("custom", "gpt-4o"), ("echo", "other")):
        assert bundled.price(attempt_record(provider=provider, model=model, meters=some)) == UNPRICED
    audio = TokenMeters(input=1, audio=1)
    assert bundled.price(attempt_record(provider="openai", model="gpt-4o", meters=audio)) == UNPRICED


def test_prices_hold_from_their_first_day() -> None:
    table = PriceTable.parse(ROW + "input = 1\n")
    first = datetime(2026, 1, 1, tzinfo=UTC)
    record = attempt_record(provider="p", model="m", meters=TokenMeters(input=1))
    for started_at, pricing in ((first, "priced"), (first - timedelta(microseconds=1), "unpriced")):
        assert table.price(record.model_copy(update={"started_at": started_at})).pricing == pricing


@pytest.mark.parametrize(
    ("outcome", "basis", "meters", "first_token_ms", "expected"),
    [
        (Outcome.FAILED, Basis.NONE, NOTHING, None, "free"),
        (Outcome.FAILED, Basis.NONE, NOTHING, 5, "unpriced"),
        (Outcome.FAILED, Basis.ESTIMATED, TokenMeters(input=1), 5, "priced"),
        (Outcome.CANCELLED, Basis.NONE, NOTHING, None, "unpriced"),
        (Outcome.CANCELLED, Basis.ESTIMATED, TokenMeters(input=1), 5, "priced"),
        (Outcome.COMPLETED, Basis.NONE, NOTHING, 5, "unpriced"),
        (Outcome.COMPLETED, Basis.REPORTED, NOTHING, 5, "priced"),
        (Outcome.INDETERMINATE, Basis.NONE, NOTHING, None, "unpriced"),
        (Outcome.INDETERMINATE, Basis.REPORTED, TokenMeters(input=1), None, "unpriced"),
    ],
)
def test_every_outcome(
    bundled: PriceTable,
    outcome: Outcome,
    basis: Basis,
    meters: TokenMeters,
    first_token_ms: int | None,
    expected: str,
) -> None:
    record = attempt_record(outcome=outcome, basis=basis, meters=meters, first_token_ms=first_token_ms)
    assert bundled.price(record).pricing == expected


def test_a_failure_is_free_at_any_provider(bundled: PriceTable) -> None:
    record = attempt_record(
        provider="custom", outcome=Outcome.FAILED, basis=Basis.NONE, meters=NOTHING, first_token_ms=None
    )
    assert bundled.price(record) == FREE


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("version = ", "not TOML"),
        (HEAD, "price: Field required"),
        (HEAD + "price = []\n", "at least 1 item"),
        (ROW + "input = -1\n", "between 0 and 1000000"),
        (ROW + "input = 0.0000001\n", "at most 6 decimal places"),
        (ROW + "input = nan\n", "not a finite amount"),
        (ROW + "input = 2_000_000\n", "between 0 and 1000000"),
        (ROW + "input = true\n", "money must be a decimal string"),
        (ROW + "inptu = 1\n", "inptu: Extra inputs are not permitted"),
        (ROW + ROW.removeprefix(HEAD), "two rows price the same provider and model"),
        ('version = ""\neffective = 2026-01-01\n', "version: String should have at least 1 character"),
        ('version = "v"\neffective = "soon"\n', "effective: "),
    ],
)
def test_a_bad_price_file_says_what_is_wrong(text: str, words: str) -> None:
    with pytest.raises(BadPriceFile, match=words.replace("(", r"\(")):
        PriceTable.parse(text)


def test_a_price_file_that_cannot_be_used_keeps_the_service_from_starting(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("prices")
    with pytest.raises(SettingsError, match=r"missing\.toml.*KEYFERRY_PRICE_FILE"):
        load_prices(folder / "missing.toml")
    (folder / "bad.toml").write_text(ROW + "input = -1\n")
    with pytest.raises(SettingsError, match=r"bad\.toml cannot be used.*between 0"):
        load_prices(folder / "bad.toml")
    (folder / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=r"binary\.toml is not UTF-8"):
        load_prices(folder / "binary.toml")
