"""Which keys are paused by a downgrade."""

from collections.abc import Sequence

import pytest

from keyferry.contracts.key import KeyFacts, KeyStatus
from keyferry.tiers.paused_keys import paused_keys


def key(key_id: str, *, provider: str = "openai", priority: int = 100) -> KeyFacts:
    return KeyFacts(
        key_id=key_id,
        tenant="acme",
        provider=provider,
        label=key_id,
        status=KeyStatus.VALID,
        version=1,
        origin="https://api.example.com",
        base_url="https://api.example.com/v1",
        priority=priority,
    )


KEYS = (
    key("key_02"),
    key("key_01"),
    key("key_03", priority=1),
    key("key_04", provider="mistral"),
)


@pytest.mark.parametrize(
    ("at_most", "paused"),
    [
        (None, ()),
        (3, ()),
        (2, ("key_02",)),
        (1, ("key_01", "key_02")),
        (0, ("key_01", "key_02", "key_03", "key_04")),
    ],
)
def test_the_first_by_priority_and_the_oldest_stay(at_most: int | None, paused: Sequence[str]) -> None:
    assert paused_keys(KEYS, at_most) == frozenset(paused)
