"""Server-sent events, cut anywhere."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.provider_worker.adapters.response.sse import EventParser, ServerSentEvent


def events_of(*pieces: bytes, max_event_bytes: int = 1024) -> list[ServerSentEvent]:
    parser = EventParser(max_event_bytes)
    events = [event for piece in pieces for event in parser.feed(piece)]
    return events + parser.finish()


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"], ids=["lf", "cr", "crlf"])
def test_every_line_end_ends_a_line(end: bytes) -> None:
    body = end.join([b": comment", b"", b"event: error", b"data: one", b"data:two", b"", b"data: three", b"", b""])
    expected = [ServerSentEvent(b"error", b"one\ntwo"), ServerSentEvent(b"", b"three")]
    assert events_of(body) == expected
    assert events_of(*(body[at : at + 1] for at in range(len(body)))) == expected


def test_comments_unknown_fields_and_events_without_data_are_ignored() -> None:
    assert events_of(b": OPENROUTER PROCESSING\n\nid: 7\nretry: 5\n\nevent: ping\n\ndata: x\n\n") == [
        ServerSentEvent(b"", b"x")
    ]


def test_one_space_after_the_colon_is_dropped() -> None:
    assert events_of(b"data:  two spaces\n\ndata\n\n") == [
        ServerSentEvent(b"", b" two spaces"),
        ServerSentEvent(b"", b""),
    ]


def test_a_byte_order_mark_is_skipped() -> None:
    assert events_of(b"\xef\xbb\xbf", b"data: x\n\n") == [ServerSentEvent(b"", b"x")]


def test_the_last_event_may_lack_its_blank_line() -> None:
    assert events_of(b"data: x\n\ndata: [DO", b"NE]") == [ServerSentEvent(b"", b"x"), ServerSentEvent(b"", b"[DONE]")]


def test_an_event_above_the_limit_overflows() -> None:
    for body in (b"data: " + b"x" * 2000, b"data: x\n" * 2000):
        parser = EventParser(1024)
        assert parser.feed(b"data: before\n\n") == [ServerSentEvent(b"", b"before")]
        assert [event for at in range(0, len(body), 100) for event in parser.feed(body[at : at + 100])] == []
        assert parser.overflow
        assert parser.feed(b"\n\ndata: after\n\n") == []
        assert parser.finish() == []


def test_an_event_at_the_limit_passes() -> None:
    assert events_of(b"data:" + b"x" * 1000 + b"\n\n") == [ServerSentEvent(b"", b"x" * 1000)]


LINES = st.sampled_from(
    [b"data: {}", b"data:x", b"data", b": c", b"event: error", b"event:", b"", b"junk", b"\xff\xfe", b"id: 1"]
)
ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])


@given(st.lists(st.tuples(LINES, ENDS), max_size=20), st.integers(0, 2**32))
def test_any_cutting_gives_the_same_events(lines: list[tuple[bytes, bytes]], seed: int) -> None:
    body = b"".join(line + end for line, end in lines)
    source = random.Random(seed)
    cuts = sorted(source.randint(0, len(body)) for _ in range(source.randint(0, 12)))
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert events_of(*pieces) == events_of(body)


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b'data: {"a":1}\ndata: {"b":2}\ndata: [DONE]\n', [(b"", b'{"a":1}'), (b"", b'{"b":2}'), (b"", b"[DONE]")]),
        (b'event: x\ndata:{"a":1}\nevent: y\ndata:{"b":2}\n\n', [(b"x", b'{"a":1}'), (b"y", b'{"b":2}')]),
        (b'data: {"a":1}\nevent: y\n\n', [(b"y", b'{"a":1}')]),
        (b'data: {"a":[\ndata: {"b":2}\ndata: ,{"c":3}\ndata: ]}\n\n', [(b"", b'{"a":[\n{"b":2}\n,{"c":3}\n]}')]),
        (b"data: a}\ndata: b\n\n", [(b"", b"a}\nb")]),
    ],
)
def test_json_events_without_blank_lines_are_separated(body: bytes, events: list[tuple[bytes, bytes]]) -> None:
    for size in (1, 3, len(body)):
        parser = EventParser()
        read = [event for at in range(0, len(body), size) for event in parser.feed(body[at : at + size])]
        assert [*read, *parser.finish()] == events
