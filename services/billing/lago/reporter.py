"""Reports usage events to Lago, whole batches or what is left of them.

Lago takes a batch whole or not at all. Events that it names as known are done, others that it names are parked, and the rest is
sent again. If it names none, the batch is halved until the one to blame is alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from keyferry.contracts.lago import LagoCustomer, LagoOutcome
from services.billing.lago.client import LagoClient, LagoRefused
from services.billing.lago.customers import LagoCustomerDirectory
from services.billing.lago.events import UsageEvent, chunks
from services.billing.lago.store import LagoStore

BATCH_SIZE: Final = 100
"""Most events that Lago takes at once."""


@dataclass(slots=True)
class Settled:
    """The events of a report that are done with, by what became of them."""

    accepted: list[UsageEvent] = field(default_factory=list)
    known: list[UsageEvent] = field(default_factory=list)
    skipped: list[UsageEvent] = field(default_factory=list)
    parked: list[tuple[UsageEvent, str]] = field(default_factory=list)

    def add(self, other: "Settled") -> None:
        """Add the events of another part of the report."""
        self.accepted += other.accepted
        self.known += other.known
        self.skipped += other.skipped
        self.parked += other.parked

    def outcome(self) -> LagoOutcome:
        """Return how many there are of each."""
        return LagoOutcome(
            accepted=len(self.accepted), known=len(self.known), skipped=len(self.skipped), parked=len(self.parked)
        )


class LagoReporter:
    """Reports events. What Lago has taken before an error is in `on_settled`'s hands already."""

    def __init__(
        self, store: LagoStore, client: LagoClient, customers: LagoCustomerDirectory, clock: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._client = client
        self._customers = customers
        self._clock = clock

    async def report(
        self, events: list[UsageEvent], on_settled: Callable[[Sequence[UsageEvent]], None] = lambda _: None
    ) -> Settled:
        """Report events; return what became of them. Raises LagoUnavailable and DatabaseUnavailable.

        `on_settled` is called with events as they are done with, also of a report that fails later.
        """
        everything = Settled()
        for chunk in chunks(events, BATCH_SIZE):
            settled = await self._report_chunk(chunk)
            if settled.parked:
                await self._store.park(settled.parked, self._clock())
            await self._store.count(settled.outcome(), self._clock())
            on_settled(chunk)
            everything.add(settled)
        return everything

    async def _report_chunk(self, chunk: list[UsageEvent]) -> Settled:
        settled, first_used = Settled(), dict[str, datetime]()
        for event in chunk:
            first_used[event.tenant] = min(event.ended_at, first_used.get(event.tenant, event.ended_at))
        customers = await self._resolve(first_used, settled, chunk)
        refused = {event.attempt_id for event, _ in settled.parked}
        wanted = []
        for event in chunk:
            if event.tenant in customers:
                wanted.append(event)
            elif event.attempt_id not in refused:
                settled.skipped.append(event)
        await self._send(wanted, customers, settled)
        return settled

    async def _resolve(
        self, first_used: dict[str, datetime], settled: Settled, chunk: list[UsageEvent]
    ) -> dict[str, LagoCustomer]:
        """Return the customers; a tenant that Lago takes no customer for has its events parked, and delays no other."""
        customers: dict[str, LagoCustomer] = {}
        for tenant, at in first_used.items():
            try:
                customers |= await self._customers.resolve({tenant: at})
            except LagoRefused as error:
                reason = f"no customer could be added for the tenant: {error}"
                settled.parked += [(event, reason) for event in chunk if event.tenant == tenant]
        return customers

    async def _send(self, events: list[UsageEvent], customers: dict[str, LagoCustomer], settled: Settled) -> None:
        waiting = [events] if events else []
        while waiting:
            batch = waiting.pop()
            sent = [event.to_lago(customers[event.tenant].external_subscription_id) for event in batch]
            refusal = await self._client.send_events(sent)
            if refusal is None:
                settled.accepted += batch
            elif refusal.names_events:
                settled.known += [batch[position] for position in refusal.known]
                settled.parked += [(batch[position], reason) for position, reason in refusal.bad.items()]
                named = refusal.known | refusal.bad.keys()
                rest = [event for position, event in enumerate(batch) if position not in named]
                waiting += [rest] if rest else []
            elif len(batch) == 1:
                settled.parked.append((batch[0], refusal.reason))
            else:
                middle = len(batch) // 2
                waiting += [batch[middle:], batch[:middle]]


def add_outcomes(one: LagoOutcome, other: LagoOutcome) -> LagoOutcome:
    """Return the sums of two outcomes."""
    return LagoOutcome(
        accepted=one.accepted + other.accepted,
        known=one.known + other.known,
        skipped=one.skipped + other.skipped,
        parked=one.parked + other.parked,
    )
