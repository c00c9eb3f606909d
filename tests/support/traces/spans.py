"""Spans of a request that Keyferry served, and the messages that carry them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from keyferry.contracts.traces import SPANS_RECORDED, SpanBatch, SpanKind, SpanRecord
from tests.support.servers.provisioned_bus import ProvisionedBus

TRACE = "0af7651916cd43dd8448eb211c80319c"
MILLISECOND = 10**6
BEGAN_NS = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()) * 10**9


def span(number: int, parent: int | None, begin_ms: float, end_ms: float, **values: Any) -> SpanRecord:
    """Return a span by its number and its parent's, `begin_ms` to `end_ms` after BEGAN_NS."""
    given: dict[str, Any] = {
        "trace_id": TRACE,
        "span_id": f"{number:016x}",
        "parent_span_id": None if parent is None else f"{parent:016x}",
        "name": f"operation {number}",
        "service": "router",
        "instance_id": "router-1",
        "start_unix_ns": BEGAN_NS + int(begin_ms * MILLISECOND),
        "end_unix_ns": BEGAN_NS + int(end_ms * MILLISECOND),
    }
    return SpanRecord.model_validate(given | values)


def served_request(
    request_id: str, tenant: str, *, trace_id: str = TRACE, first: int = 1, began_ns: int = BEGAN_NS
) -> list[SpanRecord]:
    """Return the spans of a request that fell back once: HTTP, two decisions, two provider calls, and their records."""
    owned = {"keyferry.tenant": tenant, "keyferry.request_id": request_id}
    late = (began_ns - BEGAN_NS) / MILLISECOND

    def one(
        number: int, parent: int | None, begin: float, end: float, service: str, name: str, **more: Any
    ) -> SpanRecord:
        return span(
            first + number,
            None if parent is None else first + parent,
            late + begin,
            late + end,
            trace_id=trace_id,
            service=service,
            instance_id=f"{service}-1",
            name=name,
            **more,
        )

    server, client, consumer = SpanKind.SERVER, SpanKind.CLIENT, SpanKind.CONSUMER
    token = [{"name": "first_token", "at_unix_ns": began_ns + 312 * MILLISECOND}]
    model = {"gen_ai.request.model": "gpt-4o", "gen_ai.provider.name": "openai"}
    return [
        one(0, None, 0, 640, "ingress", "POST /v1/chat/completions", kind=server, attributes=owned),
        one(1, 0, 2, 4, "router", "router.decide", kind=consumer, attributes={"keyferry.candidates": 3}),
        one(2, 1, 5, 120, "provider-worker", "chat gpt-4o-mini", kind=client, error="overloaded", attributes=model),
        one(3, 2, 121, 123, "router", "router.decide", kind=consumer),
        one(4, 3, 125, 638, "provider-worker", "chat gpt-4o", kind=client, events=token, attributes=model),
        one(5, 4, 126, 131, "key-vault", "key_vault.lease"),
        one(6, 4, 660, 671, "usage-ledger", "usage_ledger.record", kind=consumer),
    ]  # fmt: skip


async def store_spans(bus: ProvisionedBus, spans: Sequence[SpanRecord]) -> None:
    """Publish spans as their services do, and wait until the stream has them."""
    by_service: dict[tuple[str, str], list[SpanRecord]] = {}
    for each in spans:
        by_service.setdefault((each.service, each.trace_id), []).append(each)
    for (service, trace_id), group in by_service.items():
        user = "provider-worker-1" if service == "provider-worker" else service
        async with bus.client(user) as client:
            message = SpanBatch(spans=group).encode()
            await client.jetstream().publish(SPANS_RECORDED.format(trace=trace_id, service=user), message)
