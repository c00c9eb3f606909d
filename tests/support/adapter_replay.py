"""Recorded exchanges fed through an adapter, and their outcomes in the form that the recordings' judge reads."""

import json
from typing import TypedDict

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.usage import RequestKind
from services.provider_worker.adapters.adapter import Adapter, Answer, UpstreamRequest
from services.provider_worker.adapters.failures import judged_class
from tests.support.attempt_runs import attempt_run
from tests.support.provider_traffic import (
    Case,
    JsonObject,
    line_of_chunks,
    line_of_completion,
    line_of_error,
    rechunked,
)


class Embedded(TypedDict):
    """One vector of a `list`, as numbers."""

    embedding: list[float]


class Listed(TypedDict):
    """A `list` of embeddings."""

    data: list[Embedded]
    usage: dict[str, int]


def run_of(case: Case, *, include_usage: bool = True) -> AttemptRun:
    """The attempt that a case is the answer to."""
    kind = RequestKind.EMBEDDING if case.kind == "embeddings" else RequestKind.CHAT
    run = attempt_run(stream=case.stream, include_usage=include_usage, model=case.model)
    return run.model_copy(update={"kind": kind})


def replay(adapter: Adapter, case: Case, seed: int, *, include_usage: bool = True) -> tuple[list[bytes], Answer]:
    """The chunks and the answer of a case whose body comes in pieces cut by `seed`."""
    request = UpstreamRequest("https://provider.test", {}, b"")
    reader = adapter.reader(run_of(case, include_usage=include_usage), request, case.status, case.headers)
    chunks: list[bytes] = []
    for piece in rechunked(case.body, seed):
        chunks += reader.feed(piece)
        if reader.over:
            break
    return chunks, reader.close()


def judge_line(case: Case, chunks: list[bytes], answer: Answer) -> JsonObject:
    """The judge's line for an outcome: of a failure, a stream, a completion or a list of embeddings."""
    if answer.failure is not None:
        failure = answer.failure
        return line_of_error(
            case,
            status=failure.status,
            judged_class=judged_class(failure.failure_class),
            where=failure.where,
            retry_after_ms=failure.retry_after_ms,
        )
    if case.kind == "embeddings":
        return line_of_embeddings(case, json.loads(answer.body))
    if case.stream:
        return line_of_chunks(case, [json.loads(chunk) for chunk in chunks])
    return line_of_completion(case, json.loads(answer.body))


def line_of_embeddings(case: Case, document: Listed) -> JsonObject:
    """The judge's line for a `list` of embeddings that are lists of numbers."""
    rows = [row["embedding"] for row in document["data"]]
    return {
        "case": case.name,
        "text": None,
        "tool_calls": [],
        "usage": {**document["usage"], "completion_tokens": 0},
        "embeddings": {"count": len(rows), "dim": len(rows[0]), "head": [row[:3] for row in rows[:3]]},
        "error": None,
    }
