"""The short version of `make fuzz`: every parser with its seeds, with damaged ones, and with any bytes."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS

_DAMAGED = 40
_PIECES = (
    b"",
    b"\x00",
    b"\xff",
    b'"',
    b"\\",
    b"{",
    b"[",
    b"\r\n",
    b"\n\n",
    b":",
    b"-",
    b"9" * 400,
    b"\xed\xa0\x80",
    b"e999",
)


def damaged(seed: bytes, random_: random.Random) -> bytes:
    """Return a seed with a few pieces replaced, inserted or lost."""
    data = bytearray(seed)
    for _ in range(random_.randrange(1, 5)):
        at = random_.randrange(len(data) + 1)
        data[at : at + random_.randrange(4)] = random_.choice(_PIECES)
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_makes_a_parser_fail(name: str) -> None:
    target, random_ = TARGETS[name], random.Random(name)
    for seed in target.seeds:
        target.run(seed)
        for _ in range(_DAMAGED):
            target.run(damaged(seed, random_))
        for end in range(0, len(seed), max(1, len(seed) // 20)):
            target.run(seed[:end])

    @settings(max_examples=25, deadline=None, derandomize=True, database=None)
    @given(st.binary(max_size=300))
    def any_bytes(data: bytes) -> None:
        target.run(data)

    any_bytes()
