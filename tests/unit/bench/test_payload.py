"""The fixed bodies have the shape and size that the benchmark's figures are reported for."""

import json
from pathlib import Path

import pytest

from tests.bench import payload, upstream


@pytest.mark.parametrize("body", [payload.request_body("m", stream=False), payload.plain_answer()])
def test_bodies_are_about_one_kilobyte(body: bytes) -> None:
    assert 900 <= len(body) <= 1200


def test_the_stream_has_fifty_texts_a_finish_the_usage_and_the_end() -> None:
    *lines, last = payload.stream_answer().decode().removesuffix("\n\n").split("\n\n")
    assert last == "data: [DONE]"
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    deltas = [event["choices"][0]["delta"] for event in events if event["choices"]]
    texts = [delta["content"] for delta in deltas if "content" in delta]
    assert len(texts) == payload.CHUNKS
    assert events[-2]["choices"][0]["finish_reason"] == "stop"
    assert events[-1]["choices"] == []
    assert events[-1]["usage"]["total_tokens"] == payload.PROMPT_TOKENS + payload.COMPLETION_TOKENS


def test_the_first_text_occurs_once_in_the_first_event() -> None:
    stream = payload.stream_answer()
    assert stream.count(payload.FIRST_DELTA_TEXT.encode()) == 1
    assert payload.FIRST_DELTA_TEXT.encode() in stream.split(b"\n\n")[0]


def test_the_upstream_listens_on_loopback_only_and_keeps_its_files_together() -> None:
    text = upstream.config_text(Path("/some/directory"), 4711)
    listens = [line.strip() for line in text.splitlines() if line.strip().startswith("listen")]
    assert listens == ["listen 127.0.0.1:4711 backlog=1024;"]
    paths = [word.rstrip(";") for word in text.split() if word.startswith("/") and word.count("/") > 1]
    written = [path for path in paths if not path.startswith(("/plain/", "/stream/"))]
    assert written
    assert all(path.startswith("/some/directory/") for path in written)
