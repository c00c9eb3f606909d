"""What channels, webhook endpoints and scheduled reports accept."""

from datetime import UTC, datetime

import orjson
import pytest
from pydantic import ValidationError

from keyferry.contracts.notification_channels import ChannelKind, ConfirmAddress, QuietHours, SaveChannel
from keyferry.contracts.usage_mail import ReportMail, SaveReport
from keyferry.contracts.webhooks import ListDeliveries, ReplayDeliveries, SaveWebhookEndpoint, WebhookEventType

BAD_NAMES = ["", " ", "a\x00b", "a\nb", "a\r\nBcc: x@example.com", "\ud800", "\u202eabc", "x" * 101]


def channel(**changes: object) -> SaveChannel:
    terms = {"tenant": "acme", "name": "on call", "kind": "email", "recipients": ["a@example.com"]}
    return SaveChannel.model_validate(terms | changes)


def endpoint(**changes: object) -> SaveWebhookEndpoint:
    terms = {"tenant": "acme", "name": "billing", "url": "https://example.com/hook", "event_types": ["key.changed"]}
    return SaveWebhookEndpoint.model_validate(terms | {"sealed": "c2VhbGVk"} | changes)


def report(**changes: object) -> SaveReport:
    terms = {"tenant": "acme", "name": "costs", "frequency": "monthly", "channel_id": "chn_0123"}
    return SaveReport.model_validate(terms | changes)


@pytest.mark.parametrize("time", ["2026-11-30T12:00:00", "2026-11-30T12:00:00Z", "2026-11-30T13:00:00+01:00"])
def test_times_of_the_log_are_in_utc_where_they_have_no_zone(time: str) -> None:
    span = {"tenant": "acme", "target_id": "whe_0123", "since": time, "until": "2026-11-30T14:00:00Z"}
    for command in (ListDeliveries, ReplayDeliveries):
        read = command.model_validate_json(orjson.dumps(span))
        assert read.since == datetime(2026, 11, 30, 12, tzinfo=UTC)
        assert read.since < (read.until or read.since)


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_is_one_visible_line(name: str) -> None:
    for save in (channel, endpoint, report):
        with pytest.raises(ValidationError):
            save(name=name)


@pytest.mark.parametrize(
    "address",
    [
        "a@example.com\r\nBcc: b@example.com",
        "a@example.com\n",
        "A <a@example.com>",
        "a@example.com,b@example.com",
        "a\x00@example.com",
        "ä@example.com",
        "@example.com",
        "a@",
    ],
)
def test_an_address_is_one_plain_address(address: str) -> None:
    with pytest.raises(ValidationError):
        channel(recipients=[address])


def test_addresses_are_in_lower_case_and_each_counts_once() -> None:
    assert channel(recipients=["A@Example.com", "a@example.com"]).recipients == ["a@example.com"]


@pytest.mark.parametrize(
    "target",
    [
        {"kind": "email", "recipients": None},
        {"kind": "slack"},
        {"kind": "slack", "recipients": None, "endpoint_id": "whe_0123"},
        {"kind": "webhook", "recipients": None, "secret_id": "isec_0123"},
        {"kind": "pager"},
    ],
)
def test_a_channel_has_exactly_the_target_of_its_kind(target: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        channel(**target)


def test_quiet_hours_are_a_span_of_a_known_zone_and_not_for_programs() -> None:
    quiet = {"begin": "22:00", "end": "07:00", "time_zone": "Europe/Berlin"}
    assert channel(quiet_hours=quiet).quiet_hours == QuietHours.model_validate(quiet)
    for wrong in ({"end": "22:00"}, {"begin": "24:00"}, {"begin": "7:00"}, {"time_zone": "Mars/Base"}):
        with pytest.raises(ValidationError):
            channel(quiet_hours=quiet | wrong)
    with pytest.raises(ValidationError):
        channel(kind=ChannelKind.WEBHOOK, recipients=None, endpoint_id="whe_0123", quiet_hours=quiet)


def test_a_code_is_eight_ascii_digits() -> None:
    assert ConfirmAddress(tenant="acme", address="a@example.com", code="01234567").code == "01234567"
    for code in ("1234567", "123456789", "1234567a", "١٢٣٤٥٦٧٨", "12345678\n"):
        with pytest.raises(ValidationError):
            ConfirmAddress(tenant="acme", address="a@example.com", code=code)


def test_event_types_are_known_and_each_counts_once() -> None:
    assert endpoint(event_types=["key.changed", "alert.changed", "key.changed"]).event_types == [
        WebhookEventType.ALERT_CHANGED,
        WebhookEventType.KEY_CHANGED,
    ]
    for types in ([], ["webhook.test"], ["unknown"]):
        with pytest.raises(ValidationError):
            endpoint(event_types=types)


def test_only_a_new_endpoint_brings_a_secret() -> None:
    with pytest.raises(ValidationError):
        endpoint(sealed=None)
    with pytest.raises(ValidationError):
        endpoint(endpoint_id="whe_0123")
    assert endpoint(endpoint_id="whe_0123", sealed=None).endpoint_id == "whe_0123"


def test_a_replay_names_one_delivery_or_a_span() -> None:
    base = {"tenant": "acme", "target_id": "whe_0123"}
    span = {"since": "2026-11-01T00:00:00Z", "until": "2026-11-02T00:00:00Z"}
    ReplayDeliveries.model_validate(base | span)
    ReplayDeliveries.model_validate(base | {"delivery_id": "dlv_0123"})
    for wrong in ({}, {"since": span["since"]}, span | {"delivery_id": "dlv_0123"}):
        with pytest.raises(ValidationError):
            ReplayDeliveries.model_validate(base | wrong)


@pytest.mark.parametrize(
    "terms",
    [
        {"day": 0},
        {"day": 32},
        {"weekday": 0},
        {"weekday": 8},
        {"at": "25:00"},
        {"by": "tag"},
        {"by": "tier"},
        {"tag": "x"},
    ],
)
def test_a_report_that_could_never_be_due_or_read_is_refused(terms: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        report(**terms)


def test_a_mail_keeps_its_lines_and_no_other_control_characters() -> None:
    moment = "2026-11-01T00:00:00Z"
    mail = ReportMail.model_validate(
        {
            "report_id": "rep_0123",
            "period_start": moment,
            "period_end": moment,
            "subject": "a\r\nBcc: b",
            "text": "a\n\x00b\ud800",
            "html": "",
            "csv": "",
            "sent": False,
        }
    )
    assert "\n" not in mail.subject
    assert mail.text == "a\n\ufffdb\ufffd"
