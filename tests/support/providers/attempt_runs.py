"""Attempts for tests of provider adapters."""

from collections.abc import Mapping

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.usage import KeySource, RequestKind


def attempt_run(
    *,
    stream: bool = False,
    include_usage: bool = False,
    model: str = "some-model",
    base_url: str | None = "http://127.0.0.1:9/v1",
    provider: str = "custom",
    kind: RequestKind = RequestKind.CHAT,
    drop_unsupported: bool = False,
    key_fields: Mapping[str, str] | None = None,
) -> AttemptRun:
    """Return one attempt, by default at a custom endpoint at whose address nothing listens."""
    return AttemptRun(
        request_id="req_test",
        tenant="acme",
        model=model,
        model_asked=model,
        stream=stream,
        include_usage=include_usage,
        deadline_ms=60_000,
        start_by_unix_ms=2_000_000_000_000,
        attempt_id="att_test",
        attempt_number=1,
        decision_id="dec_test",
        provider=provider,
        kind=kind,
        drop_unsupported=drop_unsupported,
        key_fields=dict(key_fields or {}),
        base_url=base_url,
        key_source=KeySource.CUSTOM,
    )
