"""Which spans of a trace a tenant may see, and what of them.

Callers choose trace ids, so one trace may have spans of several tenants. A span belongs to the tenant and to the request that it
names, or else to those of the nearest span above it that names any. Spans that belong to nobody are shown to nobody. Pure.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from keyferry.contracts.traces import MAX_TRACE_SPANS, AttributeValue, SpanEvent, SpanRecord

TENANT_ATTRIBUTE = "keyferry.tenant"
REQUEST_ATTRIBUTE = "keyferry.request_id"
MAX_ANSWER_BYTES = 3 * 1024**2
"""Of spans in one answer."""
_SHOWN = ("gen_ai.", "http.", "server.", "error.", "keyferry.")
"""How the names of attributes begin that are about the request itself."""
_SHOWN_NAMES = frozenset({"url.scheme", "url.path", "messaging.operation", "messaging.destination.template"})
_HIDDEN = ("keyferry.internal.",)
"""Of the installation, or of other tenants."""


class TenantRequest(NamedTuple):
    """Whom a span belongs to; None if it is not known."""

    tenant: str | None
    request_id: str | None


_NOBODY = TenantRequest(None, None)


@dataclass(frozen=True, slots=True)
class Selection:
    """The spans that are shown, by start, and how many more there are."""

    spans: Sequence[SpanRecord]
    omitted: int


def select_spans(
    found: Iterable[SpanRecord], tenant: str, known_requests: Collection[str], only_request: str | None
) -> Selection:
    """Return the tenant's spans among those of one trace: of one request, or of all if `only_request` is None.

    A span that names a request and no tenant is the tenant's if the request is one of `known_requests`.
    """
    by_id = _without_repetitions(found)
    owners = _resolve_owners(by_id, tenant, known_requests)
    own = [
        span
        for span in by_id.values()
        if (owner := owners[span.span_id]).tenant == tenant and only_request in (None, owner.request_id)
    ]
    own.sort(key=lambda span: (span.start_unix_ns, span.span_id))
    shown_ids = {span.span_id for span in own}
    shown: list[SpanRecord] = []
    size = 0
    for span in own[:MAX_TRACE_SPANS]:
        public = _to_public(span, shown_ids)
        size += len(public.encode())
        if size > MAX_ANSWER_BYTES:
            break
        shown.append(public)
    return Selection(shown, len(own) - len(shown))


def _without_repetitions(found: Iterable[SpanRecord]) -> dict[str, SpanRecord]:
    """Return the spans by id; of those that were stored twice, the one that ended last."""
    by_id: dict[str, SpanRecord] = {}
    for span in found:
        known = by_id.get(span.span_id)
        if known is None or span.end_unix_ns > known.end_unix_ns:
            by_id[span.span_id] = span
    return by_id


def _resolve_owners(
    by_id: Mapping[str, SpanRecord], tenant: str, known_requests: Collection[str]
) -> dict[str, TenantRequest]:
    owners: dict[str, TenantRequest] = {}
    for span in by_id.values():
        path: list[SpanRecord] = []
        on_path: set[str] = set()
        at: SpanRecord | None = span
        while at is not None and at.span_id not in owners and at.span_id not in on_path:
            path.append(at)
            on_path.add(at.span_id)
            at = by_id.get(at.parent_span_id or "")
        above = owners.get(at.span_id, _NOBODY) if at is not None else _NOBODY
        for each in reversed(path):
            above = owners[each.span_id] = _owner(each, above, tenant, known_requests)
    return owners


def _owner(span: SpanRecord, above: TenantRequest, tenant: str, known_requests: Collection[str]) -> TenantRequest:
    """Return the owner that a span itself names, or else that of the span above it."""
    named, request = span.attributes.get(TENANT_ATTRIBUTE), span.attributes.get(REQUEST_ATTRIBUTE)
    request_id = request if isinstance(request, str) else None
    if isinstance(named, str):
        inherited = above.request_id if above.tenant == named else None
        return TenantRequest(named, request_id or inherited)
    if request_id is None:
        return above
    return TenantRequest(tenant if request_id in known_requests else None, request_id)


def _to_public(span: SpanRecord, shown_ids: Collection[str]) -> SpanRecord:
    """Return a span without attributes that are not about the request, and without links to spans that are not shown."""
    return span.model_copy(
        update={
            "attributes": _public_attributes(span.attributes),
            "events": [
                SpanEvent(name=event.name, at_unix_ns=event.at_unix_ns, attributes=_public_attributes(event.attributes))
                for event in span.events
            ],
            "links": [link for link in span.links if link.trace_id == span.trace_id and link.span_id in shown_ids],
        }
    )


def _public_attributes(attributes: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    return {
        name: value
        for name, value in attributes.items()
        if (name.startswith(_SHOWN) or name in _SHOWN_NAMES)
        and name != TENANT_ATTRIBUTE
        and not name.startswith(_HIDDEN)
    }
