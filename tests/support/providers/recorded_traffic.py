"""Recorded provider traffic: its cases, their bytes cut at random, and the comparison with what is expected.

The recordings live beside the repository and are not copied into it; `KEYFERRY_PROVIDER_TRAFFIC` names another place. A missing
folder is an error, never a reason to test less.
"""

import base64
import functools
import importlib.util
import json
import os
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from tests.support.repository.files import ROOT

JsonObject = dict[str, object]


@dataclass(frozen=True)
class Case:
    """One recorded exchange. `headers` have names in lower case; `body` is what the provider sent, whole."""

    name: str
    provider: str
    endpoint: str
    kind: str
    stream: bool
    model: str
    request_body: JsonObject
    status: int
    headers: dict[str, str]
    body: bytes

    def __str__(self) -> str:
        return f"{self.provider}/{self.name}"


def folder() -> Path:
    """Return where the recordings are. Raises FileNotFoundError."""
    path = Path(os.environ.get("KEYFERRY_PROVIDER_TRAFFIC") or ROOT.parent / "shared" / "provider-traffic")
    if not (path / "cases").is_dir():
        raise FileNotFoundError(f"no recorded provider traffic at {path}; set KEYFERRY_PROVIDER_TRAFFIC to its folder")
    return path


def chat_cases(*providers: str) -> list[Case]:
    """Return the chat completions recorded from `providers`, in a fixed order. Raises FileNotFoundError if one has none."""
    cases: list[Case] = []
    for provider in providers:
        paths = sorted((folder() / "cases" / provider).glob("*.json"))
        if not paths:
            raise FileNotFoundError(f"no recorded traffic of {provider}")
        cases += [case for path in paths if "chat" in (case := _load(path)).endpoint]
    return cases


def recorded_cases(*providers: str) -> list[Case]:
    """Return everything recorded from `providers`, whatever the endpoint, in a fixed order.

    Raises FileNotFoundError where one of them has nothing.
    """
    cases: list[Case] = []
    for provider in providers:
        paths = sorted((folder() / "cases" / provider).glob("*.json"))
        if not paths:
            raise FileNotFoundError(f"no recorded traffic of {provider}")
        cases += [_load(path) for path in paths]
    return cases


def rechunk(data: bytes, seed: int) -> Iterator[bytes]:
    """Yield `data` cut at random offsets: tiny pieces with some seeds, large ones with others, whole with seed 0."""
    source = random.Random(seed)
    largest = len(data) if seed == 0 else source.choice((1, 2, 7, 64, 1024, 16384))
    sizes = range(1, largest + 1) if seed else (largest,)
    start = 0
    while start < len(data):
        for size in source.choices(sizes, k=min(1024, len(data) - start)):
            yield data[start : start + size]
            start += size
            if start >= len(data):
                return


def mismatches(case: Case, line: JsonObject) -> list[str]:
    """Return what the recordings' own check finds wrong with the outcome `line` of `case`."""
    return faults(expectation(case), line)


def expectation(case: Case) -> JsonObject:
    """Return the outcome that a faithful gateway makes of `case`."""
    return _dict(json.loads((folder() / "expected" / case.provider / f"{case.name}.json").read_text()))


def faults(expected: JsonObject, line: JsonObject) -> list[str]:
    """Return what the recordings' own check finds wrong with an outcome, given the expected one."""
    return [str(fault) for fault in _comparator().mismatches(expected, line)]


def line_of_completion(case: Case, completion: JsonObject) -> JsonObject:
    """Return the outcome line of a `chat.completion` object."""
    choice = _dict(_list(completion["choices"])[0])
    message = _dict(choice["message"])
    calls = [_dict(_dict(call)["function"]) for call in _list(message.get("tool_calls"))]
    return _line(case, message, calls, choice.get("finish_reason"), completion.get("usage"))


def line_of_chunks(case: Case, chunks: Iterable[JsonObject]) -> JsonObject:
    """Return the outcome line of `chat.completion.chunk` objects, joined by index as OpenAI's clients do."""
    message: JsonObject = {}
    calls: dict[int, JsonObject] = {}
    finish_reason: object = None
    usage: object = None
    for chunk in chunks:
        usage = chunk.get("usage") or usage
        for choice in map(_dict, _list(chunk["choices"])):
            finish_reason = choice.get("finish_reason") or finish_reason
            delta = _dict(choice["delta"])
            for piece in map(_dict, _list(delta.pop("tool_calls", None))):
                index = piece["index"]
                assert isinstance(index, int)
                _join(calls.setdefault(index, {}), _dict(piece.get("function")))
            _join(message, delta)
    return _line(case, message, [calls[index] for index in sorted(calls)], finish_reason, usage)


def line_of_embeddings(case: Case, document: JsonObject) -> JsonObject:
    """Return the outcome line of a `list` of embeddings whose vectors are lists of numbers."""
    rows = [_list(_dict(row)["embedding"]) for row in _list(document["data"])]
    line = _line(case, {}, [], None, document.get("usage"))
    # An answer of embeddings has no completion, and says so by leaving the count out.
    line["usage"] = {"completion_tokens": 0} | {k: v for k, v in _dict(line["usage"]).items() if v is not None}
    return line | {"embeddings": {"count": len(rows), "dim": len(rows[0]), "head": [row[:3] for row in rows]}}


def line_of_error(
    case: Case, *, status: int | None, coarse_class: str, where: str, retry_after_ms: int | None
) -> JsonObject:
    """Return the outcome line of a failure."""
    retry_after_seconds = None if retry_after_ms is None else retry_after_ms / 1000
    error = {"status": status, "class": coarse_class, "where": where, "retry_after_s": retry_after_seconds}
    return {"case": case.name, "error": error}


def _load(path: Path) -> Case:
    record = json.loads(path.read_text())
    response = record["response"]
    if response.get("body_b64") is not None:
        body = base64.b64decode(response["body_b64"])
    elif response.get("body_text") is not None:
        body = response["body_text"].encode()
    else:
        body = json.dumps(response["body"]).encode()
    return Case(
        name=record["case"],
        provider=record["provider"],
        endpoint=record["endpoint"],
        kind=record["kind"],
        stream=record["stream"],
        model=record["model"],
        request_body=record["request"]["body"],
        status=response["status"],
        headers={name.lower(): str(value) for name, value in response["headers"].items()},
        body=body,
    )


@functools.cache
def _comparator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("provider_traffic_judge", folder() / "judge.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _line(case: Case, message: JsonObject, calls: list[JsonObject], finish_reason: object, usage: object) -> JsonObject:
    counts = _dict(usage or {})
    prompts, completions = _dict(counts.get("prompt_tokens_details")), _dict(counts.get("completion_tokens_details"))
    return {
        "case": case.name,
        "text": message.get("content"),
        "reasoning_text": message.get("reasoning_content"),
        "refusal": message.get("refusal"),
        "tool_calls": [{"name": call.get("name"), "arguments": call.get("arguments")} for call in calls],
        "finish_reason": finish_reason,
        "usage": {name: counts.get(name) for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
        | {"cached_tokens": prompts.get("cached_tokens"), "cache_write_tokens": prompts.get("cache_write_tokens")}
        | {"reasoning_tokens": completions.get("reasoning_tokens")},
        "error": None,
    }


def _join(into: JsonObject, delta: JsonObject) -> None:
    for name, value in delta.items():
        before = into.get(name)
        into[name] = before + value if isinstance(before, str) and isinstance(value, str) else before or value


def _dict(value: object) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
