"""The replay tool: every recording through the real client, server and adapter, compared with its expectation."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from services.provider_worker.adapters.registry import ADAPTERS
from services.provider_worker.replay.__main__ import main
from services.provider_worker.replay.player import rechunk
from services.provider_worker.replay.recording import find_provider, parse_recording
from tests.support.providers.recorded_traffic import Case, folder, mismatches, recorded_cases
from tests.support.providers.replay_matrix import REPLAY_RESULT, replay_matrix, replay_result
from tests.support.repository.files import ROOT

JsonObject = dict[str, object]
SEEDS = (0, 1, 2)
CHOICE: JsonObject = {"index": 0, "message": {"role": "assistant", "content": "hé"}, "finish_reason": "stop"}
USAGE: JsonObject = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}


def files_of(provider: str) -> list[Path]:
    return sorted((folder() / "cases" / provider).glob("*.json"))


PROVIDERS = sorted(path.name for path in (folder() / "cases").iterdir())


def lines(output: str) -> list[JsonObject]:
    return [json.loads(line) for line in output.splitlines()]


def write_recording(path: Path, **changes: object) -> Path:
    """A recording of our own making."""
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [CHOICE], "usage": USAGE}
    response = {"status": 200, "headers": {"Content-Type": "application/json", "Content-Length": "9"}, "body": body}
    record = {"case": "own", "provider": "groq", "kind": "chat", "stream": False, "model": "m", "response": response}
    path.write_text(json.dumps(record | changes))
    return path


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_recorded_provider_has_an_adapter(provider: str) -> None:
    for file in files_of(provider):
        assert find_provider(parse_recording(file.read_bytes(), file.stem), ADAPTERS) is not None


def test_all_shared_recordings_are_replayed() -> None:
    assert sum(len(files_of(provider)) for provider in PROVIDERS) >= 160


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_recording_matches_its_expectation(
    provider: str, seed: int, capsys: pytest.CaptureFixture[str], record_property: Callable[[str, object], None]
) -> None:
    assert main([*map(str, files_of(provider)), "--json", "--seed", str(seed)]) == 0
    printed = {str(line["case"]): line for line in lines(capsys.readouterr().out)}
    faults: dict[str, list[str]] = {}
    for case in recorded_cases(provider):
        wrong = mismatches(case, printed[case.name])
        record_property(REPLAY_RESULT, replay_result(provider, case.kind, right=not wrong))
        if wrong:
            faults[case.name] = wrong
    assert faults == {}
    assert len(printed) == len(recorded_cases(provider))


def test_a_wrong_line_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    case: Case = next(case for case in recorded_cases("openai") if case.kind == "tools")
    main([str(folder() / "cases" / "openai" / f"{case.name}.json"), "--json"])
    [line] = lines(capsys.readouterr().out)
    assert mismatches(case, line) == []
    assert mismatches(case, {**line, "tool_calls": []}) != []
    assert mismatches(case, {**line, "usage": {}}) != []


def test_the_command_replays_a_file_outside_the_project(tmp_path: Path) -> None:
    file = write_recording(tmp_path / "own.json")
    command = [sys.executable, "-m", "services.provider_worker.replay", str(file), "--json", "--seed", "7"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    [line] = lines(done.stdout)
    assert (line["case"], line["text"], line["finish_reason"], line["error"]) == ("own", "hé", "stop", None)
    assert line["usage"] == {
        **USAGE,
        "cached_tokens": None,
        "cache_write_tokens": None,
        "reasoning_tokens": None,
    }


def test_output_without_json_is_readable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(write_recording(tmp_path / "own.json"))]) == 0
    assert capsys.readouterr().out == "own: stop: 2 characters, 3 + 1 tokens\n"


def test_a_stream_is_assembled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def event(delta: JsonObject, finish_reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return "data: " + json.dumps({"object": "chat.completion.chunk", "choices": [choice]}) + "\n\n"

    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a"'}}
    rest = {"index": 0, "function": {"arguments": ": 1}"}}
    text = event({"content": "h"}) + event({"tool_calls": [call]}) + event({"tool_calls": [rest]})
    text += event({}, "tool_calls") + "data: [DONE]\n\n"
    response = {"status": 200, "headers": {"content-type": "text/event-stream"}, "body_text": text}
    file = write_recording(tmp_path / "own.json", stream=True, kind="tools_stream", response=response)
    assert main([str(file), "--json", "--seed", "3"]) == 0
    [line] = lines(capsys.readouterr().out)
    assert (line["text"], line["finish_reason"]) == ("h", "tool_calls")
    assert line["tool_calls"] == [{"name": "f", "arguments": {"a": 1}}]


def test_lone_surrogates_and_http2_headers_replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    halves = ("\\ud83d", "\\ude00", "\ud83d")
    chunks = [f'data: {{"choices":[{{"index":0,"delta":{{"content":"{half}"}}}}]}}\n\n' for half in halves]
    body = "".join(chunks) + 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    response: JsonObject = {"status": 200, "headers": {":status": "200", "x-a": "b"}, "body_text": body}
    assert main([str(write_recording(tmp_path / "a.json", stream=True, response=response)), "--json"]) == 0
    assert lines(capsys.readouterr().out)[0]["text"] == "😀\ud83d"


def test_an_unknown_provider_is_read_as_openai_compatible_with_a_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(write_recording(tmp_path / "own.json", provider="nobody")), "--json"]) == 0
    output = capsys.readouterr()
    assert "no adapter for 'nobody'" in output.err
    assert lines(output.out)[0]["text"] == "hé"


def test_a_named_adapter_is_used_without_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main([str(write_recording(tmp_path / "own.json", provider="nobody", adapter="openai_compatible")), "--json"])
        == 0
    )
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("{", "not JSON"),
        ("[]", "no JSON object"),
        ("{}", "no `response`"),
        ('{"response": {"status": "ok"}}', "no HTTP status"),
        ('{"response": {"status": 200}}', "`response.headers`"),
        ('{"response": {"status": 200, "headers": {}}}', "none of `body`"),
        ('{"response": {"status": 200, "headers": {}, "body_b64": "?"}}', "not base64"),
    ],
)
def test_an_invalid_file_is_reported_and_the_others_are_replayed(
    text: str, detail: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text(text)
    assert main([str(bad), str(write_recording(tmp_path / "own.json")), "--json"]) == 2
    output = capsys.readouterr()
    assert detail in output.err
    assert str(bad) in output.err
    assert [line["case"] for line in lines(output.out)] == ["own"]


def test_a_missing_file_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none.json"), "--json"]) == 2
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("seed", range(20))
def test_rechunking_loses_nothing_and_depends_on_the_seed(seed: int) -> None:
    data = bytes(range(256)) * 40
    assert b"".join(rechunk(data, seed)) == data
    assert list(rechunk(data, seed)) == list(rechunk(data, seed))
    assert list(rechunk(data, seed)) != list(rechunk(data, seed + 1))


def test_the_matrix_counts() -> None:
    results = [
        replay_result("a", "chat", right=True),
        replay_result("a", "chat", right=False),
        replay_result("b", "error", right=True),
    ]
    assert [line.split() for line in replay_matrix(results).splitlines()] == [
        ["provider", "chat", "error"],
        ["a", "1/2", "."],
        ["b", ".", "1/1"],
        ["2", "right", "of", "3"],
    ]
