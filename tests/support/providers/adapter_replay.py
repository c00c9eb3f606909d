"""Recorded exchanges fed through an adapter, and the assertions that hold for every provider."""

import json

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.usage import RequestKind, UsageSource
from services.provider_worker.adapters.adapter import Adapter, Answer, UpstreamRequest
from services.provider_worker.adapters.response.errors import coarse_class
from tests.support.providers.attempt_runs import attempt_run
from tests.support.providers.recorded_traffic import (
    Case,
    JsonObject,
    line_of_chunks,
    line_of_completion,
    line_of_embeddings,
    line_of_error,
    mismatches,
    rechunk,
)

REPLAYS = 50
"""How often each recording is replayed, its body cut at other places each time."""


def run_of(case: Case, *, include_usage: bool = True) -> AttemptRun:
    """Return the attempt that the case is the response to."""
    kind = RequestKind.EMBEDDING if case.kind == "embeddings" else RequestKind.CHAT
    run = attempt_run(stream=case.stream, include_usage=include_usage, model=case.model)
    return run.model_copy(update={"kind": kind})


def replay(adapter: Adapter, case: Case, seed: int, *, include_usage: bool = True) -> tuple[list[bytes], Answer]:
    """Return the chunks and the answer of a case whose body arrives in pieces cut by `seed`."""
    request = UpstreamRequest("https://provider.test", {}, b"")
    reader = adapter.reader(run_of(case, include_usage=include_usage), request, case.status, case.headers)
    chunks: list[bytes] = []
    for piece in rechunk(case.body, seed):
        chunks += reader.feed(piece)
        if reader.over:
            break
    answer = reader.close()
    return [*chunks, *answer.late], answer


def outcome_line(case: Case, chunks: list[bytes], answer: Answer) -> JsonObject:
    """Return the outcome in the recordings' own format: a failure, a stream, a completion or embeddings."""
    if answer.failure is not None:
        failure = answer.failure
        return line_of_error(
            case,
            status=failure.status,
            coarse_class=coarse_class(failure.failure_class),
            where=failure.where,
            retry_after_ms=failure.retry_after_ms,
        )
    if case.kind == "embeddings":
        return line_of_embeddings(case, json.loads(answer.body))
    if case.stream:
        return line_of_chunks(case, [json.loads(chunk) for chunk in chunks])
    return line_of_completion(case, json.loads(answer.body))


def assert_matches_expectation(adapter: Adapter, case: Case) -> None:
    """Assert that the outcome matches the recording's expectation, and is the same for `REPLAYS` - 1 other cuts."""
    whole = replay(adapter, case, 0)
    assert mismatches(case, outcome_line(case, *whole)) == []
    for seed in range(1, REPLAYS):
        assert replay(adapter, case, seed) == whole, f"seed {seed}"


def assert_token_counts_add_up(adapter: Adapter, case: Case) -> None:
    """Assert that the ledger gets reported counts with the caller's total, and none for a failure."""
    chunks, answer = replay(adapter, case, 1)
    if answer.failure is not None:
        assert answer.usage_source is UsageSource.NONE
        assert answer.token_usage.total == 0
        return
    usage = outcome_line(case, chunks, answer)["usage"]
    assert isinstance(usage, dict)
    assert answer.usage_source is UsageSource.REPORTED
    assert answer.token_usage.total == usage["total_tokens"] > 0
    assert answer.token_usage.prompt == usage["prompt_tokens"]


def assert_usage_only_when_requested(adapter: Adapter, case: Case) -> None:
    """Assert that a caller who did not request usage gets all but the usage, and the ledger gets the same."""
    requested, answer_requested = replay(adapter, case, 1)
    chunks, answer = replay(adapter, case, 1, include_usage=False)
    documents = [json.loads(chunk) for chunk in chunks]
    assert [document for document in documents if document.get("usage")] == []
    assert answer == answer_requested
    line, line_requested = (
        line_of_chunks(case, documents),
        line_of_chunks(case, [json.loads(chunk) for chunk in requested]),
    )
    assert {**line, "usage": None} == {**line_requested, "usage": None}


def assert_role_comes_once(adapter: Adapter, case: Case) -> None:
    """Assert that the role comes with the first piece of a streamed answer and never again."""
    chunks, _ = replay(adapter, case, 0)
    deltas = [choice["delta"] for chunk in chunks for choice in json.loads(chunk)["choices"]]
    assert ["role" in delta for delta in deltas] == [True] + [False] * (len(deltas) - 1)
    assert deltas[0]["role"] == "assistant"


def assert_mismatches_are_found(adapter: Adapter, case: Case, **wrong: object) -> None:
    """Assert that the comparison rejects the outcome of `case` with any one of these fields changed."""
    line = outcome_line(case, *replay(adapter, case, 0))
    assert mismatches(case, line) == []
    for name, value in {"usage": {}, **wrong}.items():
        assert mismatches(case, {**line, name: value}) != [], name
