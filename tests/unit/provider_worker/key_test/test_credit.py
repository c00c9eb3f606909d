from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.money import usd
from services.provider_worker.key_test.credit import UNKNOWN, Credit, combine_credit, read_credit


@pytest.mark.parametrize(
    ("body", "left", "enough"),
    [
        ('{"data":{"limit":10,"limit_remaining":2.5,"usage":7.5}}', "2.5", True),
        ('{"data":{"limit":null,"limit_remaining":null,"usage":7.5}}', None, None),
        ('{"data":{"total_credits":0.3,"total_usage":0.1}}', "0.2", True),
        ('{"data":{"total_credits":100000000000.1,"total_usage":0.2}}', "99999999999.9", True),
        ('{"data":{"total_credits":10,"total_usage":10}}', "0", False),
        ('{"data":{"total_credits":10,"total_usage":10.5}}', "-0.5", False),
        ('{"data":{"limit_remaining":0.1234567890123456}}', "0.123456789012", True),
        ('{"data":{"limit_remaining":1e400}}', None, None),
        ('{"data":{"limit_remaining":1e99999999999999999999}}', None, None),
        ('{"data":{"limit_remaining":NaN}}', None, None),
        ('{"data":{"limit_remaining":true}}', None, None),
        ('{"data":{"limit_remaining":"much"}}', None, None),
        ('{"data":{"limit_remaining":' + "9" * 5000 + "}}", None, None),
        ('{"data":{}}', None, None),
        (
            (
                '{"is_available":true,"balance_infos":[{"currency":"CNY","total_balance":"9"},'
                '{"currency":"USD","total_balance":"110.00"}]}'
            ),
            "110",
            True,
        ),
        ('{"is_available":false,"balance_infos":[{"currency":"USD","total_balance":"0.01"}]}', "0.01", False),
        ('{"is_available":true,"balance_infos":[]}', None, True),
        ('{"balance_infos":[{"currency":"USD","total_balance":"0.00"}]}', "0", False),
    ],
)
def test_remaining_credit_is_read_exactly(body: str, left: str | None, enough: bool | None) -> None:
    assert read_credit(body.encode()) == Credit(None if left is None else Decimal(left), enough)


@pytest.mark.parametrize(
    "body", ["", "[]", "null", '"x"', "{}", '{"data":[]}', "{" * 100_000, '{"a":' * 100_000, "\xff", "x" * 100_000]
)
def test_other_bodies_are_not_credit(body: str) -> None:
    assert read_credit(body.encode("latin-1")) is None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(
    st.binary()
    | _JSON.map(lambda value: repr({"data": {"limit_remaining": value}}).replace("'", '"').encode(errors="replace"))
)
def test_nothing_raises_and_credit_fits_the_contract(body: bytes) -> None:
    credit = read_credit(body)
    if credit is not None and credit.left_usd is not None:
        assert usd(credit.left_usd) == credit.left_usd


@given(st.decimals(0, 10**12, places=15), st.decimals(0, 10**12, places=15))
def test_remaining_credit_is_rounded_down(bought: Decimal, used: Decimal) -> None:
    credit = read_credit(f'{{"data":{{"total_credits":{bought},"total_usage":{used}}}}}'.encode())
    assert credit is not None
    assert credit.left_usd is not None
    assert 0 <= (bought - used) - credit.left_usd < Decimal("1e-12")


def test_a_limit_and_a_balance_combine_to_the_stricter() -> None:
    assert combine_credit(Credit(Decimal(5), True), Credit(Decimal(2), True)) == Credit(Decimal(2), True)
    assert combine_credit(Credit(Decimal(0), False), Credit(Decimal(2), True)) == Credit(Decimal(0), False)
    assert combine_credit(UNKNOWN, Credit(Decimal(2), True)) == Credit(Decimal(2), True)
    assert combine_credit(UNKNOWN, UNKNOWN) == UNKNOWN
