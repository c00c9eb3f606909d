"""Recorded OpenAI and OpenRouter answers through the running system, read with the official SDK, and compared.

The provider is a local server that answers with the recording, cut at random offsets.
"""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from keyferry.contracts.failure import FailureClass
from services.provider_worker.adapters.response.errors import coarse_class
from tests.support.providers.recorded_traffic import (
    Case,
    JsonObject,
    chat_cases,
    line_of_chunks,
    line_of_completion,
    line_of_error,
    mismatches,
    rechunk,
)
from tests.support.providers.upstream import ProviderRequest, Reply, pieces_of, running_upstream
from tests.support.system.keyferry_system import KeyferrySystem

CASES = {case.name: case for case in chat_cases("openai", "openrouter") if case.kind != "vision"}
SEEDS = (1, 2)
CHARGED_ERRORS = {
    "error--hermes-4-405b--token-limit--c24fcb": 'error.where: want "http_200_body" got "mid_stream"',
}
"""Errors beside output that the provider counts, and so may charge for: to callers they are in the middle of the answer."""
_OWN = ("model", "messages", "stream", "stream_options")
_HOP_BY_HOP = frozenset({"content-length", "transfer-encoding", "content-encoding", "connection", "keep-alive"})


def replay_case(request: ProviderRequest) -> Reply:
    name, _, seed = request.body["model"].rpartition("@")
    case = CASES[name]
    headers = {key: value for key, value in case.headers.items() if key not in _HOP_BY_HOP}
    return Reply(case.status, headers, pieces_of(*rechunk(case.body, int(seed))))


@pytest.fixture(scope="module")
def recorded(system: KeyferrySystem) -> Iterator[KeyferrySystem]:
    with running_upstream(replay_case) as upstream:
        system.add_endpoint("recorded", upstream.base_url, "recorded-probe")
        yield system


def test_every_chat_case_is_here() -> None:
    assert len(CASES) == 27


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", list(CASES))
def test_the_official_sdk_sees_what_the_provider_said(recorded: KeyferrySystem, name: str, seed: int) -> None:
    case = CASES[name]
    expected = [CHARGED_ERRORS[name]] if name in CHARGED_ERRORS else []
    assert mismatches(case, outcome(recorded.openai(), case, f"recorded/{name}@{seed}")) == expected


def outcome(client: openai.OpenAI, case: Case, model: str) -> JsonObject:
    """Return the outcome line of one call, from nothing but what the SDK returned."""
    body = case.request_body
    extra = {key: value for key, value in body.items() if key not in _OWN}
    call: Any = client.chat.completions.create
    arguments = {"model": model, "messages": body["messages"], "extra_body": extra}
    try:
        if not case.stream:
            completion = call(**arguments)
            return line_of_completion(case, json.loads(completion.model_dump_json()))
        stream = call(**arguments, stream=True, stream_options={"include_usage": True})
        return line_of_chunks(case, [json.loads(chunk.model_dump_json(exclude_unset=True)) for chunk in stream])
    except openai.APIError as error:
        body_of_error: Any = error.body
        own = body_of_error["keyferry"]
        return line_of_error(
            case,
            status=own.get("provider_status"),
            coarse_class=coarse_class(FailureClass(own["failure"])),
            where=own["where"],
            retry_after_ms=own.get("retry_after_ms"),
        )
