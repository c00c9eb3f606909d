"""Retries, signatures, mails and texts."""

from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from keyferry.contracts.alert_events import AlertChanged
from keyferry.contracts.secret import Secret
from keyferry.sealing.webhook_secret import mint_webhook_secret
from services.notifier.channels.address_rules import digest_of_code, is_right
from services.notifier.channels.texts import alert_chat, alert_mail, digest_mail
from services.notifier.delivery.outcome import MAX_ANSWER, of_http
from services.notifier.delivery.schedule import GIVE_UP_AFTER, RETRY_DELAYS, is_dead, next_attempt
from services.notifier.intake.routing import KnownChannel, channels_for
from services.notifier.intake.sequencing import MAX_SKIPPED, take_in_order
from services.notifier.mail.message import Mail, MailAttachment, build_mail
from services.notifier.webhooks.signature import UnusableSecret, headers_of

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
HOSTILE = st.text(st.characters(), max_size=60)


def change(**changes: object) -> AlertChanged:
    usual = {
        "tenant": "acme",
        "rule_id": "alr_0123",
        "rule_name": "spend",
        "alert_id": "alt_0123",
        "sequence": 1,
        "state": "fired",
        "severity": "warning",
        "metric": "spend",
        "subject": "",
        "since": NOW,
        "at": NOW,
        "title": "spending is high",
        "text": "",
    }
    return AlertChanged.model_validate(usual | changes)


def test_retries_take_three_days_and_then_end() -> None:
    now, attempts = NOW, 1
    while (again := next_attempt(NOW, attempts, now, 1.0)) is not None:
        now, attempts = again, attempts + 1
    assert attempts == len(RETRY_DELAYS) + 1
    assert timedelta(hours=71) < now - NOW <= GIVE_UP_AFTER


@given(st.integers(1, 13), st.floats(0, 1))
def test_jitter_shortens_a_delay_by_a_tenth_at_most(attempts: int, chance: float) -> None:
    again = next_attempt(NOW, attempts, NOW, chance)
    assert again is not None
    assert RETRY_DELAYS[attempts - 1] * 0.9 <= again - NOW + timedelta(seconds=1e-3)
    assert again - NOW <= RETRY_DELAYS[attempts - 1]


def test_a_target_is_dead_after_three_days_without_success() -> None:
    day = timedelta(days=1)
    assert not is_dead(NOW, None, None, NOW + 2 * day)
    assert is_dead(NOW, None, None, NOW + 3 * day)
    assert is_dead(NOW, NOW - day, NOW, NOW + day)
    assert not is_dead(NOW, NOW + day, NOW, NOW + 2 * day)


@given(st.binary(max_size=200))
def test_the_official_library_accepts_signatures_by_either_secret(body: bytes) -> None:
    current, previous = mint_webhook_secret(), mint_webhook_secret()
    now = datetime.now(UTC)
    payload = b'{"x":"' + body.hex().encode() + b'"}'
    headers = headers_of("msg_1", now, payload, [current, previous])
    for secret in (current, previous):
        Webhook(secret.reveal()).verify(payload, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(current.reveal()).verify(payload + b" ", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(mint_webhook_secret().reveal()).verify(payload, headers)


@pytest.mark.parametrize("text", ["whsec_", "whsec_!!", "whsec_QUJD"])
def test_a_secret_that_cannot_sign_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(UnusableSecret) as caught:
        headers_of("msg_1", NOW, b"", [Secret(text)])
    assert text.removeprefix("whsec_") == "" or text not in str(caught.value)


@given(subject=HOSTILE, text=HOSTILE, name=st.text("abc.", min_size=1, max_size=8))
def test_no_text_can_add_a_header_or_break_a_mail(subject: str, text: str, name: str) -> None:
    mail = Mail(
        subject=f"a\r\nBcc: x@example.com\r\n\r\n{subject}",
        text=text,
        message_id="id.1",
        attachments=(MailAttachment(f"{name}.csv", "csv", text),),
    )
    raw = build_mail(mail, "keyferry@example.com", "ops@example.com", NOW).as_bytes()
    read = message_from_bytes(raw, policy=default)
    assert read["Bcc"] is None
    assert str(read["To"]) == "ops@example.com"
    assert sorted(set(read.keys())) == sorted(
        {"Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"}
    )


def test_a_chat_message_mentions_nobody_and_links_nothing() -> None:
    text = alert_chat(change(rule_name="<!channel> & <https://evil.example|here>"))
    assert "<" not in text
    assert "&lt;!channel&gt; &amp;" in text


def test_mails_name_the_state_and_the_tenant() -> None:
    assert alert_mail(change(state="resolved")).subject == "[acme] Resolved: spending is high"
    digest = digest_mail([change(sequence=number) for number in range(1, 61)])
    assert "60 notifications" in digest.subject
    assert "and 10 more" in digest.text


@given(st.binary(max_size=2000), st.integers(100, 599))
def test_an_answer_is_cut_and_cleaned(body: bytes, status: int) -> None:
    outcome = of_http(status, body, 5)
    assert len(outcome.answer) <= MAX_ANSWER
    assert outcome.answer.isprintable() or "\x00" not in outcome.answer
    assert "\n" not in outcome.answer
    assert outcome.delivered == (200 <= status < 300)
    assert outcome.gone == (status == 410)


@given(st.lists(st.integers(1, 30), max_size=60), st.integers(0, 10))
def test_changes_go_on_without_gaps_and_never_twice(numbers: list[int], position: int) -> None:
    found = take_in_order(position, {number: number for number in numbers})
    assert found.ready == list(range(position + 1, found.position + 1))
    assert not set(found.ready) & set(found.waiting)
    assert set(found.ready) | set(found.waiting) == {number for number in numbers if number > position}
    assert found.skipped == []
    passed = take_in_order(position, {number: number for number in numbers}, skip_gaps=True)
    assert passed.ready == sorted({number for number in numbers if number > position})
    assert sorted(passed.ready + passed.skipped) == list(range(position + 1, passed.position + 1))
    missing = {number: number for number in range(1, 31)}
    late = take_in_order(passed.position, missing, passed.skipped)
    assert late.ready == passed.skipped + list(range(passed.position + 1, 31))
    assert late.skipped == take_in_order(late.position, missing, late.skipped).ready == []


def test_of_a_large_gap_the_last_numbers_are_remembered() -> None:
    found = take_in_order(0, {1_000_000: "a", 1_000_002: "b"}, skip_gaps=True)
    assert found.ready == ["a", "b"]
    assert len(found.skipped) == MAX_SKIPPED
    assert found.skipped[0] == 1_000_001 - MAX_SKIPPED
    assert found.skipped[-1] == 1_000_001
    late = take_in_order(found.position, {5: "too late", 999_999: "late"}, found.skipped)
    assert late.ready == ["late"]


def test_a_rule_whose_channels_are_gone_uses_the_usual_ones() -> None:
    known = {each.channel_id: each for each in (KnownChannel("chn_a", True, True), KnownChannel("chn_b", True, False))}
    assert channels_for(["chn_gone"], known) == [known["chn_a"]]
    assert channels_for(["chn_b"], known) == [known["chn_b"]]
    assert channels_for(None, known) == [known["chn_a"]]
    assert channels_for([], known) == []
    assert channels_for(None, {}) is None


def test_a_code_is_right_until_it_expires_and_for_its_tenant_and_address_alone() -> None:
    digest, later = digest_of_code("acme", "a@example.com", "12345678"), NOW + timedelta(days=7)
    assert is_right("acme", "a@example.com", "12345678", digest, later, NOW)
    assert not is_right("other", "a@example.com", "12345678", digest, later, NOW)
    assert not is_right("acme", "b@example.com", "12345678", digest, later, NOW)
    assert not is_right("acme", "a@example.com", "12345679", digest, later, NOW)
    assert not is_right("acme", "a@example.com", "12345678", digest, later, later)
    assert not is_right("acme", "a@example.com", "12345678", None, None, NOW)
