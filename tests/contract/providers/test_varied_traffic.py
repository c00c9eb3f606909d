"""Recorded traffic with other values in the same shapes, read by every adapter and compared with adjusted expectations."""

from dataclasses import replace

import pytest

from services.provider_worker.adapters.registry import ADAPTERS
from services.provider_worker.replay.outcome import describe_outcome
from services.provider_worker.replay.recording import CUSTOM, Recording, caller_body, find_provider, parse_recording
from tests.support.providers.attempt_runs import attempt_run
from tests.support.providers.recorded_traffic import (
    Case,
    JsonObject,
    expectation,
    faults,
    folder,
    rechunk,
    recorded_cases,
)
from tests.support.providers.traffic_variations import VARIATIONS, Variation, rewritten

PROVIDERS = sorted(path.name for path in (folder() / "cases").iterdir())
SEEDS = 2
KEY_FIELDS = {"region": "eu-central-1", "project": "p", "location": "l"}


def line(recorded: Recording, seed: int) -> JsonObject:
    """Return the outcome line of a recording whose body is cut by `seed`."""
    provider = find_provider(recorded, ADAPTERS) or CUSTOM
    run = attempt_run(
        stream=recorded.stream,
        include_usage=recorded.stream,
        model=recorded.model,
        provider=provider,
        kind=recorded.kind,
        drop_unsupported=True,
        key_fields=KEY_FIELDS,
    )
    request = ADAPTERS[provider].request(run, caller_body(recorded))
    reader = ADAPTERS[provider].reader(run, request, recorded.status, recorded.headers)
    chunks: list[bytes] = []
    for piece in rechunk(recorded.body, seed):
        chunks += [] if reader.over else reader.feed(piece)
    answer = reader.close()
    return describe_outcome(recorded, [*chunks, *answer.late], answer)


def read_recording(case: Case) -> Recording:
    """Parse the recording of `case` as the replay does."""
    return parse_recording((folder() / "cases" / case.provider / f"{case.name}.json").read_bytes(), case.name)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("variation", VARIATIONS.values(), ids=VARIATIONS)
def test_other_values_in_the_same_shapes_are_read(provider: str, variation: Variation) -> None:
    for case in recorded_cases(provider):
        original = read_recording(case)
        varied = replace(original, body=rewritten(original.body, variation))
        for seed in range(SEEDS):
            assert faults(variation.expected(expectation(case)), line(varied, seed)) == [], f"{case}, seed {seed}"


@pytest.mark.parametrize("name", ["other counts", "other texts"])
def test_a_variation_differs_from_the_original(name: str) -> None:
    differing = 0
    for case in recorded_cases("openai", "anthropic", "gemini", "bedrock", "cohere"):
        original = read_recording(case)
        varied = replace(original, body=rewritten(original.body, VARIATIONS[name]))
        differing += faults(expectation(case), line(varied, 0)) != []
    assert differing >= 40
