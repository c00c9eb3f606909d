"""Answers made after public reports of other gateways, replayed by the tool: what is right stands here."""

import json

import pytest

from services.provider_worker.replay.__main__ import main
from tests.support.providers.reported_faults import folder

USAGE = {"prompt_tokens": 5000, "completion_tokens": 20, "total_tokens": 5020, "cached_tokens": 4800}
RIGHT: dict[str, dict[str, object]] = {
    "cogito-66-arguments-repeated-whole": {
        "tool_calls": [{"name": "f", "arguments": {"a": 1}}], "finish_reason": "tool_calls", "usage": USAGE,
    },
    "experiential-893-foundry-deepseek-empty-args-then-quotes": {
        "tool_calls": [{"name": "now", "arguments": {}}], "finish_reason": "tool_calls", "usage": USAGE,
    },
    "sglang-3912-empty-finish-reason": {"text": "Hello", "finish_reason": "stop", "usage": USAGE},
    "usage-real-then-zero": {"text": "Hello", "finish_reason": "stop", "usage": USAGE},
    "envoy-1631-message-delta-zero-input": {
        "text": "Hello", "usage": {"prompt_tokens": 1800, "completion_tokens": 42, "total_tokens": 1842, "cached_tokens": 300},
    },
    "overflow-dashscope": {"error": {"class": "context_length", "status": 400}},
}  # fmt: skip


@pytest.mark.parametrize("case", RIGHT)
@pytest.mark.parametrize("seed", ["0", "3"])
def test_a_reported_answer_is_read_right(case: str, seed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder() / f"{case}.json"), "--json", "--seed", seed]) == 0
    line = json.loads(capsys.readouterr().out)
    for field, right in RIGHT[case].items():
        if isinstance(right, dict):
            assert {name: line[field][name] for name in right} == right
        else:
            assert line[field] == right
