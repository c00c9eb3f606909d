"""What is replaced in redacted content, and what stays."""

import pytest

from keyferry.contracts.client_token import mint
from services.provider_worker.content.personal_data import redact


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("write to kim.lee+work@mail.example.co.uk today", "e-mail"),
        ("my IBAN is DE89 3704 0044 0532 0130 00, please", "IBAN"),
        ("GB29NWBK60161331926819", "IBAN"),
        ("card 4111 1111 1111 1111 until 12/29", "card"),
        ("5500-0000-0000-0004", "card"),
        ("call +49 (0)30 901820 or +1-202-555-0143", "phone"),
        ("Tel. 030 90182000", "phone"),
        ("SSN 078-05-1120", "number"),
        ("from 203.0.113.77", "address"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----", "private key"),
    ],
)
def test_forms_of_personal_data_are_replaced(text: str, kind: str) -> None:
    redacted = redact(text)
    assert f"[redacted {kind}]" in redacted
    digits = "".join(one for one in redacted if one.isdigit())
    assert len(digits) < 6, redacted


def test_keys_and_client_tokens_are_replaced() -> None:
    token = mint().reveal()
    for secret in (token, "sk-proj-Qw7Zr2Lm9Xc4Vb8Nk3Jh6Gf1Ds5Ap0Oi7Uy2Te4RA9f2"):
        assert secret not in redact(f"use {secret} for it")


@pytest.mark.parametrize(
    "text",
    [
        "The order has 4111 1111 1111 1112 points",
        "DE00 ABCD EFGH IJKL MNOP QR is no account",
        "see section 3.14159 and chapter 12, pages 100-250",
        "in 2026-11-30T12:00:00Z and version 1.2.3.4.5",
        "for i in range(100): print(i * 12345678)",
        "Kim Lee lives at the lake",
        "@property and user@localhost",
    ],
)
def test_what_has_no_right_check_digit_or_another_form_stays(text: str) -> None:
    assert redact(text) == text


def test_a_text_of_any_form_takes_little_time_and_no_exception() -> None:
    for piece in ("1", "a@", "+1 ", "DE89 ", "4111 ", "sk-", "-----BEGIN ", "0 ", "a.b."):
        redact(piece * (70_000 // len(piece)))
