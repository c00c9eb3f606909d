"""`replay --request`: what would be sent for a caller's body, after the ingress's validation and by the real adapter."""

import json
from pathlib import Path
from typing import Any

import pytest

from services.provider_worker.replay.__main__ import main

HELLO: dict[str, Any] = {"model": "x", "messages": [{"role": "user", "content": "hi"}]}


def show(capsys: pytest.CaptureFixture[str], tmp_path: Path, **request: Any) -> dict[str, Any]:
    file = tmp_path / "request.json"
    file.write_text(
        json.dumps({"provider": "anthropic", "model": "claude-sonnet-4-5", "callers_body": HELLO} | request)
    )
    assert main(["--request", str(file)]) == 0
    [line] = capsys.readouterr().out.splitlines()
    shown: dict[str, Any] = json.loads(line)
    return shown


def test_what_would_be_sent_is_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    shown = show(capsys, tmp_path, callers_body=HELLO | {"stream": True})
    assert shown.keys() == {"url", "headers", "body", "dropped", "added"}
    assert shown["url"] == "https://api.anthropic.com/v1/messages"
    assert shown["headers"]["accept"] == "text/event-stream"
    assert shown["body"]["model"] == "claude-sonnet-4-5"
    assert shown["body"]["stream"] is True
    assert shown["dropped"] == []


def test_a_refusal_of_the_adapter_names_the_field(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    shown = show(capsys, tmp_path, callers_body=HELLO | {"seed": 7})
    assert shown.keys() == {"refused", "param"}
    assert shown["param"] == "seed"


def test_a_field_is_dropped_where_the_tenant_allows_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    shown = show(capsys, tmp_path, callers_body=HELLO | {"seed": 7}, drop_unsupported=True)
    assert shown["dropped"] == ["seed"]


def test_a_refusal_of_the_ingress_names_the_field(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    shown = show(capsys, tmp_path, callers_body=HELLO | {"temperature": 7})
    assert shown["param"] == "temperature"


def test_embeddings_key_fields_and_base_url_are_used(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    body = {"model": "x", "input": "hi"}
    shown = show(capsys, tmp_path, provider="openai", model="e", base_url="https://example.com/v1", callers_body=body)
    assert shown["url"] == "https://example.com/v1/embeddings"
    fields = {"region": "eu-central-1"}
    shown = show(capsys, tmp_path, provider="bedrock", model="amazon.nova-pro-v1:0", key_fields=fields)
    assert shown["url"].startswith("https://bedrock-runtime.eu-central-1.amazonaws.com/")


def test_an_unknown_provider_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "anthropic" in show(capsys, tmp_path, provider="nosuch")["refused"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"provider": "openai"}', '{"provider": "openai", "callers_body": {}, "key_fields": 1}']
)
def test_an_invalid_file_is_reported_and_the_others_are_shown(
    text: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    bad, good = tmp_path / "bad.json", tmp_path / "good.json"
    bad.write_text(text)
    good.write_text(json.dumps({"provider": "openai", "model": "m", "callers_body": HELLO}))
    assert main(["--request", str(bad), str(good), str(tmp_path / "missing.json")]) == 2
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 1
    assert "bad.json" in captured.err
    assert "missing.json" in captured.err
