"""Credits in messages: exact, bounded, and with texts that can be stored."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from keyferry.contracts.credit_management import (
    AdjustCredits,
    CreditEntry,
    GrantCredits,
    SetCreditThreshold,
    from_micro_usd,
    to_micro_usd,
)
from keyferry.contracts.envelope import MalformedMessage

GRANT: dict[str, Any] = {"tenant": "acme", "credits": "5", "idempotency_key": "k-1", "reason": "welcome"}


@given(st.integers(-(2**63), 2**63 - 1))
def test_credits_are_exact(micro_usd: int) -> None:
    amount = from_micro_usd(micro_usd)
    assert to_micro_usd(amount) == micro_usd
    entry = CreditEntry.model_validate(
        {"entry_id": "e", "kind": "grant", "credits": amount, "balance": 0, "at": "2026-11-29T00:00:00Z"}
    )
    assert to_micro_usd(CreditEntry.decode(entry.encode()).credits) == micro_usd


@pytest.mark.parametrize(("given", "micro_usd"), [("0.001", 1), ("12.5", 12500), (7, 7000), ("1e3", 10**6)])
def test_amounts_that_are_understood(given: object, micro_usd: int) -> None:
    assert to_micro_usd(GrantCredits.model_validate(GRANT | {"credits": given}).credits) == micro_usd


@pytest.mark.parametrize(
    "given",
    [0, "0", "-1", "0.0001", 0.5, True, None, "", "five", "NaN", "Infinity", "1e999999999", "1e-999999999", 10**12 + 1,
     "9" * 50, "9" * 10**6, [], {}, "0e99999"],
    ids=lambda given: repr(given)[:20],
)  # fmt: skip
def test_amounts_that_are_refused(given: object) -> None:
    with pytest.raises(ValidationError):
        GrantCredits.model_validate(GRANT | {"credits": given})


def test_a_float_on_the_wire_is_refused() -> None:
    with pytest.raises(MalformedMessage, match="at most 3 places, as text"):
        GrantCredits.decode(b'{"tenant":"acme","credits":0.1,"idempotency_key":"k","reason":"r"}')


def test_an_adjustment_goes_either_way_and_is_never_nothing() -> None:
    for amount in ("-5", "5", str(10**12), str(-(10**12))):
        assert AdjustCredits.model_validate(GRANT | {"credits": amount}).credits == Decimal(amount)
    for amount in ("0", "-0", str(10**12 + 1), str(-(10**12) - 1)):
        with pytest.raises(ValidationError):
            AdjustCredits.model_validate(GRANT | {"credits": amount})
    assert SetCreditThreshold.model_validate({"tenant": "acme", "credits": "0"}).credits == 0
    with pytest.raises(ValidationError):
        SetCreditThreshold.model_validate({"tenant": "acme", "credits": "-1"})


@pytest.mark.parametrize("field", ["reason", "idempotency_key", "source", "source_id", "tenant", "actor"])
@pytest.mark.parametrize(
    "value",
    ["", "a\0b", "a\nb", "\ud800", "\u202eb", "x" * 301, "sk-proj-" + "Ab3" * 12],
    ids=lambda value: repr(value)[:12],
)
def test_texts_that_cannot_be_kept_are_refused(field: str, value: str) -> None:
    if field in ("source_id", "actor") and value.startswith("sk-"):
        return  # an id of another system may look like anything printable
    with pytest.raises(ValidationError):
        GrantCredits.model_validate(GRANT | {"source": "stripe", "source_id": "evt"} | {field: value})
