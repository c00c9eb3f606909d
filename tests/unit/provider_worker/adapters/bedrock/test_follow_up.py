"""A message that the caller echoes is sent to Bedrock as the blocks it was made of."""

import json

from tests.support.providers.aws_event_stream import START, delta, ending, event, stop
from tests.unit.provider_worker.adapters.bedrock.exchanges import HELLO, NOVA, bedrock_run, deltas, read, sent_body

JsonObject = dict[str, object]

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
BLOCKS: list[JsonObject] = [
    {"reasoningContent": {"reasoningText": {"text": "First I look.", "signature": "c2lnbmVk"}}},
    {"reasoningContent": {"redactedContent": "aGlkZGVu"}},
    {"text": "I will look."},
    {"toolUse": {"toolUseId": "tooluse_1", "name": "weather", "input": {"city": "Köln", "days": [1, 2]}}},
    {"toolUse": {"toolUseId": "tooluse_2", "name": "weather", "input": {}}},
]
RESULTS: list[JsonObject] = [
    {"role": "tool", "tool_call_id": "tooluse_1", "content": "rain"},
    {"role": "tool", "tool_call_id": "tooluse_2", "content": [{"type": "text", "text": "sun"}]},
    {"role": "user", "content": "And?"},
]


def follow_up(message: JsonObject) -> list[JsonObject]:
    body = sent_body(messages=[*HELLO, message, *RESULTS], tools=[TOOL])
    messages = body["messages"]
    assert isinstance(messages, list)
    return messages


def test_an_echoed_answer_is_sent_back_unchanged() -> None:
    answer = {"output": {"message": {"role": "assistant", "content": BLOCKS}}, "stopReason": "tool_use"}
    _, read_answer = read(json.dumps(answer).encode(), run=bedrock_run())
    message = json.loads(read_answer.body)["choices"][0]["message"]
    assert message["reasoning_content"] == "First I look."
    turns = follow_up(message)
    assert turns[1] == {"role": "assistant", "content": BLOCKS}
    assert turns[2] == {
        "role": "user",
        "content": [
            {"toolResult": {"toolUseId": "tooluse_1", "content": [{"text": "rain"}]}},
            {"toolResult": {"toolUseId": "tooluse_2", "content": [{"text": "sun"}]}},
            {"text": "And?"},
        ],
    }


def test_an_echoed_streamed_answer_is_sent_back_unchanged() -> None:
    uses = [{"toolUseId": f"tooluse_{at}", "name": "weather"} for at in (1, 2)]
    chunks, _ = read(
        START,
        delta(0, reasoningContent={"text": "First "}),
        delta(0, reasoningContent={"text": "I look."}),
        delta(0, reasoningContent={"signature": "c2lnbmVk"}),
        stop(0),
        delta(1, reasoningContent={"redactedContent": "aGlkZGVu"}),
        stop(1),
        delta(2, text="I will look."),
        stop(2),
        event("contentBlockStart", {"contentBlockIndex": 3, "start": {"toolUse": uses[0]}}),
        delta(3, toolUse={"input": '{"city":"Kö'}),
        delta(3, toolUse={"input": 'ln","days":[1,2]}'}),
        stop(3),
        event("contentBlockStart", {"contentBlockIndex": 4, "start": {"toolUse": uses[1]}}),
        stop(4),
        ending("tool_use"),
    )
    assert follow_up(join(deltas(chunks)))[1] == {"role": "assistant", "content": BLOCKS}


def test_reasoning_of_another_provider_is_left_out() -> None:
    details = [{"type": "reasoning.text", "text": "x", "signature": "y", "format": "google-gemini-v1"}]
    message: JsonObject = {
        "role": "assistant",
        "content": "Yes.",
        "reasoning_details": details,
        "reasoning_content": "x",
    }
    body = sent_body(messages=[*HELLO, message, {"role": "user", "content": "Why?"}])
    assert body["messages"] == [
        {"role": "user", "content": [{"text": "Hello"}]},
        {"role": "assistant", "content": [{"text": "Yes."}]},
        {"role": "user", "content": [{"text": "Why?"}]},
    ]


def test_signatures_of_other_families_have_their_own_format() -> None:
    block = {"reasoningContent": {"reasoningText": {"text": "x", "signature": "y"}}}
    answer = {"output": {"message": {"content": [block]}}, "stopReason": "end_turn"}
    _, read_answer = read(json.dumps(answer).encode(), run=bedrock_run(model=NOVA))
    message = json.loads(read_answer.body)["choices"][0]["message"]
    assert message["reasoning_details"][0]["format"] == "amazon-bedrock-v1"


def join(pieces: list[JsonObject]) -> JsonObject:
    """Assemble the message as a client does: texts join, lists grow, tool calls join by their index."""
    message: JsonObject = {"content": ""}
    calls: dict[object, JsonObject] = {}
    details: list[object] = []
    for piece in pieces:
        message["role"] = piece.get("role", message.get("role"))
        message["content"] = f"{message['content']}{piece.get('content') or ''}"
        added = piece.get("reasoning_details") or []
        assert isinstance(added, list)
        details += added
        parts = piece.get("tool_calls") or []
        assert isinstance(parts, list)
        for part in parts:
            known = calls.setdefault(
                part["index"], {"id": part.get("id"), "type": "function", "name": "", "arguments": ""}
            )
            for name in ("name", "arguments"):
                known[name] = f"{known[name]}{part['function'].get(name, '')}"
    message["tool_calls"] = [
        {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}
        for call in calls.values()
    ]
    return message | {"reasoning_details": details}
