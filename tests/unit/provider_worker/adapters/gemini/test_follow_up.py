"""A follow-up turn: the assistant's message, echoed as it was answered, becomes the parts that Gemini had sent.

The signatures are hand-made; their places are those of recorded answers.
"""

import json
from typing import Any

import pytest

from services.provider_worker.adapters.adapter import UpstreamRequest
from tests.support.providers.attempt_runs import attempt_run
from tests.unit.provider_worker.adapters.gemini.request_building import GEMINI, QUESTION, content

NONE = UpstreamRequest("https://provider.test", {}, b"")
CALL = {"functionCall": {"name": "weather", "args": {"city": "Köln"}, "id": "x1"}}

TURNS: dict[str, list[dict[str, Any]]] = {
    "a signed call": [{**CALL, "thoughtSignature": "c2ln"}],
    "parallel calls, the first signed": [
        {**CALL, "thoughtSignature": "c2ln"},
        {"functionCall": {"name": "weather", "args": {"city": "Paris"}, "id": "x2"}},
    ],
    "text, then a signed call": [{"text": "Let me look."}, {**CALL, "thoughtSignature": "c2ln"}],
    "signed text": [{"text": "Grüße 👋", "thoughtSignature": "dGV4dA=="}],
    "a signature on an empty part at the end": [{"text": "All done."}, {"text": "", "thoughtSignature": "ZW5k"}],
    "several signed pieces of text": [
        {"text": "One. ", "thoughtSignature": "MQ=="},
        {"text": "Two. ", "thoughtSignature": "Mg=="},
        {"text": "Three."},
    ],
    "a signed thought": [
        {"text": "Hm.", "thought": True, "thoughtSignature": "dGg="},
        {"text": "Yes.", "thoughtSignature": "eQ=="},
    ],
}
"""Parts in the order in which Gemini sends them."""


def response(parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}]}


def read_complete(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """The assistant's message of an answer that is not streamed."""
    reader = GEMINI.reader(attempt_run(), NONE, 200, {})
    reader.feed(json.dumps(response(parts)).encode())
    message: dict[str, Any] = json.loads(reader.close().body)["choices"][0]["message"]
    return message


def read_stream(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Assemble the message of a stream with one part per piece: strings join, lists grow."""
    reader = GEMINI.reader(attempt_run(stream=True), NONE, 200, {})
    message: dict[str, Any] = {}
    for number, part in enumerate(parts):
        piece = response([part])
        if number < len(parts) - 1:
            del piece["candidates"][0]["finishReason"]
        for chunk in reader.feed(b"data: " + json.dumps(piece).encode() + b"\r\n\r\n"):
            for name, value in json.loads(chunk)["choices"][0]["delta"].items():
                message[name] = message[name] + value if name in message else value
    assert reader.close().failure is None
    return message


def follow_up(message: dict[str, Any], model: str = "gemini-3-pro-preview") -> list[dict[str, Any]]:
    """Gemini's parts for the echoed message."""
    parts: list[dict[str, Any]] = content({"messages": [*QUESTION, message]}, model=model)["contents"][1]["parts"]
    return parts


@pytest.mark.parametrize("answered", [read_complete, read_stream], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", TURNS)
def test_an_echoed_message_becomes_the_parts_that_gemini_sent(name: str, answered: Any) -> None:
    assert follow_up(answered(TURNS[name])) == TURNS[name]


@pytest.mark.parametrize("answered", [read_complete, read_stream], ids=["whole", "streamed"])
def test_a_calls_signature_is_read_from_either_place(answered: Any) -> None:
    message = answered(TURNS["a signed call"])
    assert message["tool_calls"][0]["extra_content"] == {"google": {"thought_signature": "c2ln"}}
    assert follow_up({**message, "reasoning_details": None}) == TURNS["a signed call"]
    del message["tool_calls"][0]["extra_content"]
    assert follow_up(message) == TURNS["a signed call"]


def test_another_models_call_gets_googles_placeholder_signature() -> None:
    call = {"id": "x1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Köln"}'}}
    message = {
        "role": "assistant",
        "content": "Hm.",
        "reasoning_content": "…",
        "tool_calls": [call, {**call, "id": "b"}],
    }
    parts = follow_up(message)
    assert [part.get("thoughtSignature") for part in parts] == [None, "skip_thought_signature_validator", None]
    assert [part.get("thoughtSignature") for part in follow_up(message, "gemini-2.5-pro")] == [None, None, None]


def test_reasoning_of_another_provider_is_dropped() -> None:
    details = [
        {"type": "reasoning.text", "format": "anthropic-claude-v1", "text": "hm", "signature": "abc"},
        {"type": "reasoning.encrypted", "data": "abc", "content_start": 0, "content_end": 2},
    ]
    assert follow_up({"role": "assistant", "content": "Yes.", "reasoning_details": details}) == [{"text": "Yes."}]


def test_signatures_stay_within_a_shortened_message() -> None:
    message = read_complete(TURNS["several signed pieces of text"])
    assert follow_up({**message, "content": "One."}) == [
        {"text": "One.", "thoughtSignature": "MQ=="},
        {"text": "", "thoughtSignature": "Mg=="},
    ]


def test_an_empty_assistant_message_is_dropped() -> None:
    body = {"messages": [*QUESTION, {"role": "assistant", "content": None}, {"role": "user", "content": "so?"}]}
    contents = content(body)["contents"]
    assert [turn["role"] for turn in contents] == ["user"]
    assert contents[0]["parts"][-1] == {"text": "so?"}


def test_a_refusal_is_the_assistants_text() -> None:
    assert follow_up({"role": "assistant", "content": None, "refusal": "No."}) == [{"text": "No."}]
