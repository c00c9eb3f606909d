"""A NATS server's report about itself."""

import json

import pytest

from keyferry.contracts.server_health import parse_server_health


def _reply(**data: object) -> bytes:
    return json.dumps({"server": {"name": "keyferry"}, "data": data}).encode()


def test_a_healthy_server_has_no_error() -> None:
    health = parse_server_health(_reply(status="ok", status_code=200))
    assert health is not None
    assert (health.server, health.error, health.needs_restart) == ("keyferry", "", False)


def test_a_failed_write_needs_a_restart_and_other_errors_do_not() -> None:
    failed = parse_server_health(
        _reply(
            status="unavailable", status_code=503, error="JetStream stream 'K > S' write error: no space left on device"
        )
    )
    assert failed is not None
    assert failed.needs_restart
    other = parse_server_health(_reply(status="unavailable", status_code=503))
    assert other is not None
    assert (other.error, other.needs_restart) == ("unavailable", False)


def test_text_of_the_server_is_cleaned_and_bounded() -> None:
    health = parse_server_health(_reply(status="error", status_code=500, error="a\x00b\x1b[31m\n" + "x" * 10_000))
    assert health is not None
    assert health.error.isprintable()
    assert len(health.error) <= 300


@pytest.mark.parametrize(
    "reply", [b"", b"{", b"[]", b"null", b'{"server": "x", "data": {}}', b'{"data": {"status_code": 200}}']
)
def test_what_is_no_report_is_ignored(reply: bytes) -> None:
    assert parse_server_health(reply) is None
