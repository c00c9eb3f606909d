"""What a candidate says about its key, and the order of equal keys."""

from hashlib import blake2b
from math import log

import pytest

from keyferry.contracts.key import KeyFacts, KeyStatus
from services.router.key_candidates import draw
from tests.support.router.keys_and_prices import key_facts
from tests.unit.router.test_key_plan import planned


def details(model: str, *keys: KeyFacts) -> dict[str | None, str]:
    return {candidate.key_id: candidate.detail for candidate in planned(model, *keys).candidates}


def test_a_kept_candidate_says_what_is_special_about_its_key() -> None:
    found = details(
        "gpt-4o",
        key_facts("openai", "key_valid", priority=7),
        key_facts("openai", "key_degraded", status=KeyStatus.DEGRADED),
    )
    assert found["key_valid"].endswith(" (priority 7)")
    assert found["key_degraded"].endswith(" (priority 100, degraded)")


def test_a_kept_candidate_says_its_region() -> None:
    found = details("claude-haiku-4-5", key_facts("bedrock", "key_eu", fields={"region": "eu-central-1"}))
    assert found["key_eu"].endswith(" (priority 100, region eu)")


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"region": "mars-1"}, "mars-1"),
        ({"location": "mars-2"}, "mars-2"),
        ({}, "no region that is known"),
    ],
)
def test_a_key_for_another_place_says_which(fields: dict[str, str], place: str) -> None:
    made = planned("nova-pro", key_facts("bedrock", "key_far", fields=fields))
    (candidate,) = [candidate for candidate in made.candidates if candidate.key_id == "key_far"]
    assert candidate.provider == "bedrock"
    assert f" is for {place}, where AWS Bedrock does not have nova-pro" in candidate.detail


@pytest.mark.parametrize("weight", [1, 3])
def test_the_draw_is_an_exponential_variate_with_the_weight_as_its_rate(weight: int) -> None:
    key = key_facts("openai", weight=weight)
    for request_id in ("req_1", "req_2", "req_3"):
        number = int.from_bytes(blake2b(f"{request_id} {key.key_id}".encode(), digest_size=8).digest())
        assert draw(request_id, key) == pytest.approx(-log((number + 1) / (2**64 + 1)) / weight, rel=1e-12)
