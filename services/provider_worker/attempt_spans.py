"""What the spans of an attempt say: ids of ours, and the call in the terms of the GenAI semantic conventions; no content."""

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.text import parse_digits
from keyferry.contracts.traces import SpanKind
from keyferry.contracts.usage import AttemptRecord, RequestKind
from keyferry.runtime.tracing.span import Span

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
