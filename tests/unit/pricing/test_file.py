"""The price file: rejected with its fault if invalid, each price from its day on, before the package's."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from keyferry.contracts.usage import TokenUsage
from keyferry.pricing import package
from keyferry.pricing.file import BUNDLED_PRICES, BadPriceFile, PriceList
from keyferry.runtime.prices import load_prices
from keyferry.runtime.process.settings import SettingsError

HEAD = 'version = "v1"\neffective = 2026-01-01\n'
ROW = HEAD + '[[price]]\nprovider = "p"\nmodel = "m"\n'
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MILLION_IN = TokenUsage(input=1_000_000)


def cost(
    prices: PriceList, moment: datetime = NOON, tier: str | None = None, tokens: int = 1_000_000
) -> Decimal | None:
    """Return the cost of this many tokens of the model `m`."""
    found = prices.find("p", "m", moment, tier)
    return None if found is None else found[0].cost(TokenUsage(input=tokens))


def test_a_price_holds_from_its_first_day_and_the_latest_one_in_force_counts() -> None:
    prices = PriceList.parse(ROW + "input = 1\n" + ROW.removeprefix(HEAD) + "effective = 2026-06-01\ninput = 2\n")
    moments = (FIRST - timedelta(microseconds=1), FIRST, datetime(2026, 6, 1, tzinfo=UTC))
    assert [cost(prices, moment) for moment in moments] == [None, Decimal(1), Decimal(2)]


def test_service_tiers_and_long_prompts_have_their_own_prices() -> None:
    again = ROW.removeprefix(HEAD)
    text = ROW + "input = 4\n" + again + 'service_tier = "batch"\ninput = 2\n'
    prices = PriceList.parse(text + again + "above_prompt_tokens = 1_000_000\ninput = 8\n")
    assert (cost(prices), cost(prices, tier="batch"), cost(prices, tier="flex")) == (Decimal(4), Decimal(2), Decimal(4))
    assert cost(prices, tokens=1_000_001) == Decimal("8.000008")


def test_the_file_takes_precedence_over_the_package_and_each_has_its_version() -> None:
    prices = PriceList.parse(
        ROW.replace('"p"', '"openai"').replace('"m"', '"gpt-4o"') + "input = 7\n", with_package=True
    )
    own, theirs = prices.find("openai", "gpt-4o", NOON), prices.find("openai", "gpt-4o-mini", NOON)
    assert own is not None
    assert theirs is not None
    assert (own[0].cost(MILLION_IN), own[1]) == (Decimal(7), "v1")
    assert (theirs[0].cost(MILLION_IN), theirs[1]) == (Decimal("0.15"), package.VERSION)
    assert prices.find("openai", "gpt-of-nobody", NOON) is None


def test_the_bundled_file_prices_the_echo() -> None:
    found = load_prices(BUNDLED_PRICES).find("echo", "echo", NOON)
    assert found is not None
    assert found[0].cost(TokenUsage(input=1_000_000, output=1_000_000)) == Decimal("0.5")


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("version = ", "not TOML"),
        (ROW + "above_prompt_tokens = 5\ninput = 1\n", "a price for long prompts only"),
        (HEAD, "price: this is required"),
        (HEAD + "price = []\n", "at least 1 item"),
        (ROW + "input = -1\n", "between 0 and 1000000"),
        (ROW + "input = 0.0000001\n", "at most 6 decimal places"),
        (ROW + "input = nan\n", "not a finite amount"),
        (ROW + "input = 2_000_000\n", "between 0 and 1000000"),
        (ROW + "input = true\n", "money must be a decimal string"),
        (ROW + "inptu = 1\n", "inptu: there is no such field"),
        (ROW + ROW.removeprefix(HEAD), "two rows price the same provider and model"),
        ('version = ""\neffective = 2026-01-01\n', "version: it should be a string that is not empty"),
        ('version = "v"\neffective = "soon"\n', "effective: "),
    ],
)
def test_an_invalid_price_file_is_rejected_with_its_fault(text: str, detail: str) -> None:
    with pytest.raises(BadPriceFile, match=detail.replace("(", r"\(")):
        PriceList.parse(text)


def test_an_invalid_price_file_prevents_the_start(
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
