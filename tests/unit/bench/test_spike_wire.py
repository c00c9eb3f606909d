"""The spike's framing loses nothing and follows the product's coalescing."""

from pathlib import Path

import pytest

from tests.bench import payload
from tests.bench.spike import wire


@pytest.mark.parametrize("part_bytes", [1, 7, 100, 100_000])
def test_events_survive_any_cutting_of_the_network(part_bytes: int) -> None:
    stream = payload.stream_answer()
    events: list[bytes] = []
    rest = b""
    for at in range(0, len(stream), part_bytes):
        whole, rest = wire.split_events(rest + stream[at : at + part_bytes])
        events += whole
    assert rest == b""
    assert b"".join(events) == stream
    assert len(events) == payload.CHUNKS + 3


def test_the_first_event_goes_alone_and_the_others_four_to_a_frame() -> None:
    events = [b"%d" % number for number in range(10)]
    assert list(wire.frames(events, first_sent=False)) == [b"D0", b"D1234", b"D5678", b"D9"]
    assert list(wire.frames(events, first_sent=True)) == [b"D0123", b"D4567", b"D89"]
    assert list(wire.frames([], first_sent=False)) == []


def test_a_process_is_ready_once_it_has_said_so(tmp_path: Path) -> None:
    assert wire.announced(tmp_path, "ingress") is None
    wire.announce(tmp_path, "ingress", "8080")
    assert wire.announced(tmp_path, "ingress") == "8080"
