"""A request's trace as text and as JSON: route and reasons, each attempt, tokens and cost, and where it is recorded. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import TypeAlias

from keyferry.cli.request_trace import RequestTrace
from keyferry.cli.terminal import format_time, format_usd
from keyferry.contracts.money import plain
from keyferry.contracts.route import Candidate, DecisionRecord
from keyferry.contracts.usage import AttemptRecord, KeySource, LedgerRow, TokenUsage, UsageSource

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

_KEYS = {
    KeySource.PLATFORM: "the platform's key",
    KeySource.BYOK: "the tenant's own key",
    KeySource.CUSTOM: "the tenant's endpoint",
    KeySource.NONE: "no key needed",
}
_USAGE_SOURCES = {
    UsageSource.REPORTED: "as the provider reported",
    UsageSource.ESTIMATED: "estimated, as the provider reported none",
}


def format_trace(trace: RequestTrace) -> list[str]:
    """Return the trace as lines, which name what has not reached the ledger."""
    lines = [*_format_decision(trace.decision)]
    for decision in trace.later:
        lines += _format_decision(decision)
    if trace.attempts:
        lines.append("Attempts")
        for row in trace.attempts:
            lines += (f"  {line}" for line in _format_attempt(row))
    elif trace.missing():
        lines.append("Attempts  none has reached the ledger")
    lines.append(f"Trace     {trace.trace_id or 'none'}")
    lines.append(f"Request   {trace.request_id}")
    if trace.trace_id is not None:
        lines.append(f"Spans     `trace {trace.request_id}` shows where its time went")
    return lines


def trace_to_json(trace: RequestTrace) -> dict[str, Json]:
    """Return the trace as a JSON object."""
    return {
        "request_id": trace.request_id,
        "tenant": trace.tenant,
        "trace_id": trace.trace_id,
        "decision": trace.decision.model_dump(mode="json") if trace.decision else None,
        "later_decisions": [decision.model_dump(mode="json") for decision in trace.later],
        "attempts": [row.model_dump(mode="json") for row in trace.attempts],
    }


def usage_to_json(rows: Sequence[LedgerRow], attempts: int) -> dict[str, Json]:
    """Return the usage and cost of all `attempts` of a request; `unknown` unless all are recorded and have a price."""
    used = [row.record for row in rows]
    prompt, completion = (sum(getattr(one.token_usage, name) for one in used) for name in ("prompt", "completion"))
    complete = len(rows) >= attempts
    priced = complete and all(row.cost_usd is not None for row in rows)
    return {
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "source": ", ".join(sorted({one.usage_source.value for one in used})),
        }
        if complete and used
        else None,
        "cost_usd": plain(sum((row.cost_usd or Decimal(0) for row in rows), Decimal(0))) if priced else "unknown",
    }


def _format_decision(decision: DecisionRecord | None) -> Iterator[str]:
    if decision is None:
        yield "Route     the decision record has not reached the ledger"
        return
    cause, before = f"{decision.tenant} asked for {decision.model_asked}", decision.attempt_number - 1
    if decision.attempt_refused and not decision.candidates:
        yield f"Route     {decision.router} did not make attempt {before} ({decision.decision_id})"
        yield from _format_refusal(decision)
        return
    if decision.attempt_refused:
        cause = f"after a worker had refused attempt {before}"
    elif before:
        cause = f"after attempt {before} had failed"
    yield (
        f"Route     {cause}; {decision.router} decided in {_milliseconds(decision.duration_us)} ({decision.decision_id})"
    )
    yield from _format_circumstances(decision)
    for rank, candidate in _rank(decision):
        kept = "dropped" if rank is None else f"kept {rank}."
        yield f"  {kept} {_name(candidate)}: {candidate.detail}{_reason(candidate)}"
    yield from _format_refusal(decision)
    if decision.refusal is None and decision.order:
        chosen = decision.candidates[decision.order[0]]
        delay = f", after {decision.delay_ms} ms" if decision.delay_ms else ""
        yield f"  chosen: {_name(chosen)}, {_KEYS[chosen.key_source]}{delay}"
        if decision.fallback_reason is not None:
            yield f"  not the first choice: {decision.fallback_reason}"


def _format_refusal(decision: DecisionRecord) -> Iterator[str]:
    if decision.refusal is not None:
        yield f"  refused: {decision.refusal.message} ({decision.refusal.failure_class})"


def _format_circumstances(decision: DecisionRecord) -> Iterator[str]:
    """Yield what the choice of models depended on, and the models, where the request did not simply name one."""
    named = {
        "operation": decision.operation,
        "power level": decision.power_level,
        "team": decision.team,
        "member": decision.member,
        "conversation": decision.conversation,
    }
    if given := [f"{name} {value}" for name, value in named.items() if value is not None]:
        yield f"  with {', '.join(given)}"
    if (rule := decision.rule) is not None:
        yield f"  by the rule {rule.rule} of {rule.owner}, version {rule.version}"
    for applied in decision.preferences:
        origin = " ".join(filter(None, (applied.origin.replace("_", " "), applied.origin_id)))
        yield f"  preference {applied.name} {applied.value} ({origin})"
    if [model.model for model in decision.models] in ([], [decision.model_asked]):
        return
    for model in decision.models:
        yield f"  model {model.model}{'' if model.planned else ' passed over'}: {model.detail}"


def _rank(decision: DecisionRecord) -> Iterable[tuple[int | None, Candidate]]:
    """Return the candidates with their rank in the plan: the planned ones in order, then the dropped ones."""
    ranks = {index: rank for rank, index in enumerate(decision.order, start=1)}
    ordered = sorted(enumerate(decision.candidates), key=lambda item: ranks.get(item[0], len(ranks) + 1))
    return [(ranks.get(index), candidate) for index, candidate in ordered]


def _name(candidate: Candidate) -> str:
    owner = candidate.endpoint or candidate.provider
    return owner if owner == candidate.model else f"{owner}/{candidate.model}"


def _reason(candidate: Candidate) -> str:
    return f" [{candidate.reason}]" if candidate.reason else ""


def _format_attempt(row: LedgerRow) -> Iterator[str]:
    record = row.record
    owner = record.endpoint or record.provider
    served = f", served as {record.model_served}" if record.model_served not in (None, record.model) else ""
    finish = f" ({record.finish_reason})" if record.finish_reason else ""
    yield f"{record.attempt_number}. {owner}, model {record.model}{served}: {record.outcome}{finish}"
    if record.failure is not None:
        status = f", status {record.failure.status}" if record.failure.status else ""
        yield f"   failure  {record.failure.message} ({record.failure.failure_class}, {record.failure.where}{status})"
    note = f": {record.usage_note}" if record.usage_note else ""
    yield f"   tokens   {_format_tokens(record.token_usage, record.usage_source)}{note}"
    yield f"   cost     {_format_cost(row)}"
    yield f"   latency  {record.latency_ms} ms, {_first_token(record)}"
    yield f"   ledger   {record.attempt_id}, recorded {format_time(row.recorded_at)}, {_lag(row)} after the attempt ended"


def _first_token(record: AttemptRecord) -> str:
    if record.first_token_ms is not None:
        return f"first token after {record.first_token_ms} ms"
    return "no token arrived" if record.stream else "not streamed"


def _format_tokens(token_usage: TokenUsage, usage_source: UsageSource) -> str:
    if usage_source is UsageSource.NONE:
        return "none, or unknown"
    used = [f"{name.replace('_', ' ')} {count}" for name, count in token_usage.model_dump().items() if count]
    return f"{', '.join(used) or 'none'}, {_USAGE_SOURCES[usage_source]}"


def _format_cost(row: LedgerRow) -> str:
    prices = f" at prices {row.price_version}" if row.price_version else ""
    if row.pricing == "unpriced":
        return f"unknown: the model has no price{prices.replace(' at', ' in')}"
    free = ", free of charge" if row.pricing == "free" else ""
    return f"{format_usd(row.cost_usd)}{free}{prices}"


def _lag(row: LedgerRow) -> str:
    ended = row.record.started_at + timedelta(milliseconds=row.record.latency_ms)
    return f"{max(0, (row.recorded_at - ended) // timedelta(milliseconds=1))} ms"


def _milliseconds(duration_us: int) -> str:
    return f"{duration_us // 1000}.{duration_us % 1000:03d} ms"
