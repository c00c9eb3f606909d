"""Usage events for Lago, made of attempts. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from keyferry.contracts.lago import USAGE_CODE
from keyferry.contracts.usage import AttemptRecord, KeySource

_LONGEST_MS = 10**11
OWN_KEYS = frozenset({KeySource.BYOK, KeySource.CUSTOM})


@dataclass(frozen=True, slots=True)
class UsageEvent:
    """What is reported of an attempt: the same at every time, since Lago knows an event by its id and time."""

    attempt_id: str
    tenant: str
    ended_at: datetime
    properties: dict[str, str | int]

    @property
    def tokens(self) -> int:
        """All tokens of the attempt."""
        return int(self.properties["tokens"])

    def to_lago(self, external_subscription_id: str) -> dict[str, Any]:
        """Return the event as an element of Lago's `events`."""
        unix_ms = round(self.ended_at.timestamp() * 1000)
        return {
            "transaction_id": self.attempt_id,
            "external_subscription_id": external_subscription_id,
            "code": USAGE_CODE,
            "timestamp": f"{unix_ms // 1000}.{unix_ms % 1000:03}",
            "properties": self.properties,
        }


def usage_event(record: AttemptRecord) -> UsageEvent | None:
    """Return the event of an attempt; None if it used nothing, or nobody knows what."""
    usage = record.token_usage
    if usage.total == 0:
        return None
    properties: dict[str, str | int] = {
        "tokens": usage.total,
        **{f"{kind}_tokens": count for kind, count in usage.model_dump().items()},
        "provider": record.provider,
        "model": record.model,
        "byok_used": "true" if record.key_source in OWN_KEYS else "false",
        "usage_source": record.usage_source.value,
        "kind": record.kind.value,
        "outcome": record.outcome.value,
    }
    chosen = {"operation": record.operation, "team": record.team, "model_served": record.model_served}
    properties |= {name: value for name, value in chosen.items() if value is not None}
    return UsageEvent(record.attempt_id, record.tenant, end_of(record), properties)


def end_of(record: AttemptRecord) -> datetime:
    """Return when an attempt ended."""
    return record.started_at + timedelta(milliseconds=min(record.latency_ms, _LONGEST_MS))


def chunks(events: list[UsageEvent], size: int) -> Iterator[list[UsageEvent]]:
    """Yield the events in parts of at most `size`, each attempt once: Lago refuses a batch that has an id twice."""
    once = list({event.attempt_id: event for event in events}.values())
    for start in range(0, len(once), size):
        yield once[start : start + size]
