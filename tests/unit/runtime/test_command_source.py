"""From where a request came, in the header of its message."""

import pytest

from keyferry.contracts.audit import SOURCE_HEADER, CommandChannel, CommandSource
from keyferry.runtime.command_source import command_source, read_source, source_headers, source_scope

SOURCE = CommandSource(channel=CommandChannel.API, address="2001:db8::1", request_id="req_1")


def test_a_source_is_sent_and_read_again() -> None:
    assert source_headers() is None
    with source_scope(SOURCE):
        headers = source_headers()
        with source_scope(None):
            assert (command_source(), source_headers()) == (None, None)
        assert command_source() == SOURCE
    assert read_source(headers) == SOURCE
    assert command_source() is None


@pytest.mark.parametrize(
    "text",
    [
        *("", "{}", "not json", '{"channel":"phone"}', '{"channel":"api","address":"1.2.3.4\\u0000"}'),
        *('{"channel":"api","request_id":"a b"}', '{"channel":"api","address":"\\ud800"}'),
        '{"channel":"api","address":"' + "1" * 100 + '"}',
        '{"channel":"api","address":"10.0.0.1\\r\\nkeyferry-x: y"}',
    ],
)
def test_a_malformed_source_is_none(text: str) -> None:
    assert read_source({SOURCE_HEADER: text}) is None


def test_a_message_without_headers_has_none() -> None:
    assert read_source(None) is None
    assert read_source({}) is None
