"""What the spans of an attempt say: ids of ours, and the call in the terms of the GenAI semantic conventions; no content."""

from hashlib import blake2b

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.text import parse_digits
from keyferry.contracts.traces import SpanKind
from keyferry.contracts.usage import AttemptRecord, RequestKind
from keyferry.runtime.tracing.context import parse
from keyferry.runtime.tracing.sampling import KeepReason
from keyferry.runtime.tracing.span import Span
from keyferry.runtime.tracing.telemetry import Telemetry

ATTEMPT = "provider_worker.attempt"
_PROVIDER_NAMES = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "xai": "x_ai",
}
"""Names of providers in the conventions where they are not ours; https://opentelemetry.io/docs/specs/semconv/registry/attributes/gen-ai/."""


def provider_name(provider: str) -> str:
    """Return a provider's name as `gen_ai.provider.name` has it."""
    return _PROVIDER_NAMES.get(provider, provider)


def start_attempt_span(telemetry: Telemetry, run: AttemptRun) -> Span:
    """Start the span of an attempt, with an id from which the next process of a killed worker finds its parent."""
    parent = parse(run.traceparent)
    return telemetry.start(
        ATTEMPT,
        run.traceparent,
        kind=SpanKind.CONSUMER,
        span_id=None if parent is None else _mix(parent.span_id, run.attempt_id),
    )


def record_lost_attempt(telemetry: Telemetry, record: AttemptRecord) -> None:
    """Record the span of an attempt that a killed process left without a result: it ends now, as indeterminate."""
    known = parse(record.traceparent)
    if known is None:
        return
    parent = f"00-{known.trace_id}-{_mix(known.span_id, record.attempt_id)}-{'01' if known.sampled else '00'}"
    span = telemetry.start(
        ATTEMPT,
        parent,
        kind=SpanKind.CONSUMER,
        start_unix_ns=int(record.started_at.timestamp() * 1e9),
        span_id=known.span_id,
    )
    span.set(
        keyferry__request_id=record.request_id,
        keyferry__attempt_id=record.attempt_id,
        keyferry__attempt_number=record.attempt_number,
        keyferry__tenant=record.tenant,
        keyferry__provider=record.provider,
        keyferry__model=record.model,
    )
    describe_attempt(span, record)
    span.end()
    span.keep(KeepReason.ERROR)


def _mix(span_id: str, attempt_id: str) -> str:
    """Return a span id that is `span_id` again if it is mixed with the attempt's id once more."""
    mixed = int(span_id, 16) ^ int.from_bytes(blake2b(attempt_id.encode(), digest_size=8).digest())
    return f"{mixed:016x}"


def start_call_span(attempt: Span, run: AttemptRun) -> Span:
    """Start the span of the provider's call."""
    return attempt.child(f"{_operation_of(run.kind)} {run.model}", SpanKind.CLIENT)


def describe_call(span: Span, record: AttemptRecord) -> None:
    """Set what was called and used, and why it failed."""
    server, port = _address_of(record.origin)
    span.set(
        gen_ai__operation__name=_operation_of(record.kind),
        gen_ai__provider__name=provider_name(record.provider),
        gen_ai__request__model=record.model,
        gen_ai__response__model=record.model_served,
        gen_ai__usage__input_tokens=record.token_usage.prompt,
        gen_ai__usage__output_tokens=record.token_usage.completion,
        server__address=server,
        server__port=port,
        keyferry__tenant=record.tenant,
        keyferry__attempt_id=record.attempt_id,
    )
    if record.failure is not None:
        span.fail(record.failure.failure_class.value)


def describe_attempt(span: Span, record: AttemptRecord) -> None:
    """Set how an attempt ended."""
    span.set(keyferry__outcome=record.outcome.value, keyferry__first_token_ms=record.first_token_ms)
    if record.failure is not None:
        span.fail(record.failure.failure_class.value)


def _operation_of(kind: RequestKind) -> str:
    return "embeddings" if kind is RequestKind.EMBEDDING else "chat"


def _address_of(origin: str | None) -> tuple[str | None, int | None]:
    """Return host and port of an origin."""
    if origin is None:
        return None, None
    host, _, port = origin.partition("://")[2].rpartition(":")
    return host or None, parse_digits(port, 5)
