"""Framing is injective."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.sealing.framing import frame, from_base64, to_base64

PARTS = st.lists(st.text(max_size=20), max_size=6)


@given(PARTS, PARTS)
def test_different_parts_give_different_bytes(one: list[str], other: list[str]) -> None:
    assert (frame("context", *one) == frame("context", *other)) == (one == other)


def test_part_boundaries_are_encoded() -> None:
    slid = [("tenantA", "openai"), ("tenantAo", "penai"), ("tenantAopenai", ""), ("tenantAopenai",)]
    assert len({frame("c", *parts) for parts in slid}) == len(slid)
    assert len({"".join(("c", *parts)) for parts in slid}) == 1, "without lengths all of them are the same"


def test_frame_matches_its_documented_format() -> None:
    assert frame("ab", 12, b"\xff") == b"\0\0\0\x02ab\0\0\0\x0212\0\0\0\x01\xff"


@given(st.binary(max_size=100))
def test_base64_round_trip(data: bytes) -> None:
    assert from_base64(to_base64(data)) == data


@pytest.mark.parametrize("text", ["YQ==", "YR", "AAAAA", "a+b/", "a b", "ä", "YWI\n", "===="])
def test_only_canonical_base64_is_accepted(text: str) -> None:
    """`YR` decodes to what `YQ` does, and would be a second text for the same bytes."""
    with pytest.raises(ValueError, match="base64url") as failed:
        from_base64(text)
    assert text not in str(failed.value)
