"""Requests that other gateways were reported to send wrongly, through `replay --request`: what is sent, or the refused field."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keyferry.contracts.providers import check_format
from services.provider_worker.replay.__main__ import main
from tests.support.providers.reported_faults import folder, request_files

Shown = dict[str, Any]


def show(file: Path, capsys: pytest.CaptureFixture[str]) -> Shown:
    assert main(["--request", str(file)]) == 0
    shown: Shown = json.loads(capsys.readouterr().out)
    return shown


def root_is_plain(shown: Shown) -> None:
    schema = shown["body"]["tools"][0]["input_schema"]
    assert schema["type"] == "object"
    assert not {"anyOf", "oneOf", "allOf"} & schema.keys()
    assert schema["properties"].keys() == {"a", "b"}
    assert '"required": ["b"]' in schema["description"]


def thinking_is_refused(shown: Shown) -> None:
    assert shown["param"] == "reasoning_effort"


def end_is_trimmed(shown: Shown) -> None:
    assert shown["body"]["messages"][-1]["content"][-1]["text"] == "The answer is"


def user_is_opaque(shown: Shown) -> None:
    assert re.fullmatch(r"[0-9a-f]{64}", shown["body"]["metadata"]["user_id"])


def blank_texts_are_left_out(shown: Shown) -> None:
    assert "system" not in shown["body"]
    blocks = [block for message in shown["body"]["messages"] for block in message["content"]]
    assert [block["type"] for block in blocks] == ["text", "tool_use", "tool_result"]
    assert all(block["text"].strip() for block in blocks if block["type"] == "text")


def result_is_filled(shown: Shown) -> None:
    [block] = shown["body"]["messages"][-1]["content"]
    [text] = block["toolResult"]["content"]
    assert text["text"].strip()


def document_has_a_text(shown: Shown) -> None:
    [message] = shown["body"]["messages"]
    assert sorted(kind for block in message["content"] for kind in block) == ["document", "text"]


def schema_is_closed(shown: Shown) -> None:
    schema = json.loads(shown["body"]["outputConfig"]["textFormat"]["structure"]["jsonSchema"]["schema"])
    assert schema["additionalProperties"] is False
    assert "minimum" not in schema["properties"]["r"]
    assert '"minimum": 1' in schema["properties"]["r"]["description"]


def name_is_googles(shown: Shown) -> None:
    [declared] = shown["body"]["tools"][0]["functionDeclarations"]
    assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}", declared["name"])


def reasoning_is_not_echoed(shown: Shown) -> None:
    assert shown["body"]["messages"][1] == {"role": "assistant", "content": "A"}


def ids_have_nine_characters(shown: Shown) -> None:
    call, result = shown["body"]["messages"][1:]
    assert re.fullmatch(r"[a-zA-Z0-9]{9}", call["tool_calls"][0]["id"])
    assert result["tool_call_id"] == call["tool_calls"][0]["id"]


def ids_are_left_out(shown: Shown) -> None:
    parts = [part for content in shown["body"]["contents"] for part in content["parts"]]
    assert [part["functionCall"]["name"] for part in parts if "functionCall" in part] == ["lookup"]
    assert not any("id" in part.get(kind, {}) for part in parts for kind in ("functionCall", "functionResponse"))


RIGHT: dict[str, Callable[[Shown], None]] = {
    "req-anthropic-root-anyof": root_is_plain,
    "req-anthropic-thinking-without-blocks": thinking_is_refused,
    "req-anthropic-trailing-space-at-the-end": end_is_trimmed,
    "req-anthropic-user-is-an-email": user_is_opaque,
    "req-anthropic-whitespace-text": blank_texts_are_left_out,
    "req-bedrock-empty-tool-result": result_is_filled,
    "req-bedrock-file-without-text": document_has_a_text,
    "req-bedrock-schema-not-closed": schema_is_closed,
    "req-gemini-name-begins-with-digit": name_is_googles,
    "req-groq-echoed-reasoning_content": reasoning_is_not_echoed,
    "req-mistral-foreign-call-id": ids_have_nine_characters,
    "req-vertex-function-call-id": ids_are_left_out,
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_sent_is_right(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    RIGHT[name](show(folder() / f"{name}.json", capsys))


def test_every_reported_request_is_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    """A file without a rule here is at least not sent as it was when it was reported."""
    for file in request_files():
        shown, wrong = show(file, capsys), json.loads(file.read_bytes())["what_was_sent"]
        assert shown.get("body") != wrong["body"], file.name
    assert {file.stem for file in request_files()} >= RIGHT.keys()


def test_thinking_without_its_blocks_is_dropped_where_the_tenant_allows_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    request = json.loads((folder() / "req-anthropic-thinking-without-blocks.json").read_bytes())
    file = tmp_path / "request.json"
    file.write_text(json.dumps(request | {"drop_unsupported": True}))
    shown = show(file, capsys)
    assert shown["dropped"] == ["reasoning_effort"]
    assert "thinking" not in shown["body"]


def test_keys_that_were_refused_are_taken_without_a_warning() -> None:
    for refused in json.loads((folder() / "key-formats.json").read_bytes())["refused_wrongly"]:
        assert check_format(refused["provider"], refused["key"]) is None
