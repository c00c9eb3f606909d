"""Requests to buy credits: amounts, return paths, and texts that are refused."""

import json
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from keyferry.contracts.envelope import Command, MalformedMessage
from keyferry.contracts.purchases import (
    CancelCheckout,
    CreateCheckout,
    GetCheckout,
    ResumeTopUp,
    SaveTopUp,
    SyncPackages,
    in_cents,
)
from keyferry.contracts.subscriptions import CancelSubscription, ChangeSubscription, StartSubscription

CHECKOUT: dict[str, Any] = {
    "tenant": "acme",
    "package": "usd-10",
    "return_path": "/t/acme/credits?tab=credits",
    "idempotency_key": "click-1",
}
TOP_UP: dict[str, Any] = {
    "tenant": "acme",
    "enabled": True,
    "threshold": "5000",
    "price_usd": "50",
    "monthly_ceiling_usd": "200",
    "consent": True,
}
START: dict[str, Any] = {"tenant": "acme", "tier": "professional", "return_path": "/", "idempotency_key": "k"}
TEXTS: list[tuple[type[Command], dict[str, Any], str]] = [
    (CreateCheckout, CHECKOUT, "tenant"),
    (CreateCheckout, CHECKOUT, "package"),
    (CreateCheckout, CHECKOUT, "return_path"),
    (CreateCheckout, CHECKOUT, "idempotency_key"),
    (CreateCheckout, CHECKOUT, "actor"),
    (GetCheckout, {"tenant": "acme", "purchase": "pur_1"}, "purchase"),
    (CancelCheckout, {"tenant": "acme", "purchase": "pur_1"}, "purchase"),
    (SyncPackages, {}, "actor"),
    (SaveTopUp, TOP_UP, "tenant"),
    (SaveTopUp, TOP_UP, "threshold"),
    (SaveTopUp, TOP_UP, "price_usd"),
    (SaveTopUp, TOP_UP, "monthly_ceiling_usd"),
    (SaveTopUp, TOP_UP, "actor"),
    (ResumeTopUp, {"tenant": "acme"}, "actor"),
    (StartSubscription, START, "tenant"),
    (StartSubscription, START, "tier"),
    (StartSubscription, START, "return_path"),
    (StartSubscription, START, "idempotency_key"),
    (ChangeSubscription, {"tenant": "acme", "tier": "starter"}, "actor"),
    (CancelSubscription, {"tenant": "acme"}, "tenant"),
]


UNSTORABLE = ["a\0b", "a\ud800b", "a\nb", "\u202ea", "", "a" * 5000, ["a"], {}]


@pytest.mark.parametrize(("command", "good", "field"), TEXTS, ids=lambda value: getattr(value, "__name__", str(value)))
def test_a_text_that_cannot_be_stored_is_refused(command: type[Command], good: dict[str, Any], field: str) -> None:
    command.model_validate(good)
    for bad in UNSTORABLE:
        with pytest.raises(ValidationError):
            command.model_validate({**good, field: bad})
        with pytest.raises(MalformedMessage):
            command.decode(json.dumps({**good, field: bad}).encode())


@pytest.mark.parametrize("field", ["package", "return_path", "idempotency_key"])
def test_a_secret_is_not_recorded_as_something_else(field: str) -> None:
    with pytest.raises(ValidationError, match=r"without keys|characters"):
        CreateCheckout.model_validate({**CHECKOUT, field: "/kf_live_" + "0" * 46})


@pytest.mark.parametrize(
    "path",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "evil",
        "/a//b",
        "/a#b",
        "/a b",
        "/%2f%2fevil",
        "/@evil.example:80/",
    ],
)
def test_the_browser_returns_to_the_console_only(path: str) -> None:
    with pytest.raises(ValidationError):
        CreateCheckout.model_validate({**CHECKOUT, "return_path": path})


@pytest.mark.parametrize("path", ["/", "/t/acme/credits", "/t/acme/credits/", "/ops/credits?tab=credits&as=a%20b"])
def test_a_path_of_the_console_is_accepted(path: str) -> None:
    assert CreateCheckout.model_validate({**CHECKOUT, "return_path": path}).return_path == path


@pytest.mark.parametrize("price", ["0", "-1", "0.001", "10.005", "1000000", "1e9", "NaN", "inf", 1.5, True, ""])
def test_an_amount_that_cannot_be_charged_is_refused(price: object) -> None:
    with pytest.raises(ValidationError):
        CreateCheckout.model_validate({**CHECKOUT, "package": None, "price_usd": price})


def test_an_amount_is_whole_cents() -> None:
    command = CreateCheckout.model_validate({**CHECKOUT, "package": None, "price_usd": "12.50"})
    assert command.price_usd is not None
    assert in_cents(command.price_usd) == 1250
    with pytest.raises(ValueError, match="two decimal places"):
        in_cents(Decimal("0.005"))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"price_usd": "10"}, "either"),
        ({"package": None}, "either"),
        ({"tenant": "platform"}, "the platform buys no credits"),
        ({"successUrl": "x"}, "successUrl"),
        ({"save_payment_method": "yes"}, "save_payment_method"),
    ],
)
def test_a_checkout_is_of_one_package_or_one_amount(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        CreateCheckout.model_validate({**CHECKOUT, **changes})


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"consent": False}, "charged without asking"),
        ({"monthly_ceiling_usd": "49.99"}, "below one payment"),
        ({"threshold": "-1"}, "threshold"),
        ({"tenant": "platform"}, "the platform"),
    ],
)
def test_a_top_up_that_cannot_work_is_refused(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        SaveTopUp.model_validate({**TOP_UP, **changes})


def test_a_top_up_is_switched_off_without_consent() -> None:
    assert not SaveTopUp.model_validate({**TOP_UP, "enabled": False, "consent": False}).enabled
