"""Many deliveries: duplicated, in any order, with stops between any two steps; at the end the credits are exactly right."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import pytest

from deploy.billing_demo.stripe.disputes import close_dispute, open_dispute
from deploy.billing_demo.stripe.refunds import fail_refund, refund_charge
from keyferry.contracts.payments import RecordedPayment, RecordPayment
from keyferry.contracts.stripe_events import EventState
from keyferry.runtime.bus.requests import BusError
from services.billing.stripe.parts import StripeParts
from tests.integration.billing.stripe.installation import PaymentInstallation
from tests.support.random_seed import random_seed

_TENANTS = ("acme", "globex", "initech", "umbrella")
_COPIES = (1, 2, 3, 4, 5)
_AT_ONCE = 16


@dataclass
class Stops:
    """Lets requests to the ledger be lost: before they arrive, or after they have had their effect."""

    record: Callable[[RecordPayment], Awaitable[RecordedPayment]]
    chance: random.Random
    lost: int = 0

    async def __call__(self, command: RecordPayment) -> RecordedPayment:
        drawn = self.chance.random()
        if drawn < 0.05:
            self.lost += 1
            raise BusError("the request is lost")
        found = await self.record(command)
        if drawn < 0.15:
            self.lost += 1
            raise BusError("the answer is lost, and the effect is there")
        return found


async def make_payments(installation: PaymentInstallation, count: int, chance: random.Random) -> Counter[str]:
    """Make payments with refunds and disputes of every kind; return what each tenant has to have, in micro-dollars."""
    expected: Counter[str] = Counter()
    state = installation.double.state
    for _ in range(count):
        tenant = chance.choice(_TENANTS)
        minor = chance.choice([100, 1000, 5000, 9999])
        bought = minor * 10_000 + chance.choice([0, 1, 777])
        payment = await installation.pay(tenant, minor, bought, currency=chance.choice(["usd", "eur", "jpy"]))
        charge = installation.charge_of(payment)
        left = bought
        fate = chance.randrange(8)
        if fate == 0:  # the whole in three parts
            for part in (minor // 3, minor // 3, minor - 2 * (minor // 3)):
                refund_charge(state, charge, part, reason=None, metadata={})
            left = 0
        elif fate == 1:  # a part
            refund_charge(state, charge, minor // 2, reason=None, metadata={})
            left -= bought * (minor // 2) // minor
        elif fate == 2:  # a refund that fails
            fail_refund(state, refund_charge(state, charge, None, reason=None, metadata={}))
        elif fate == 3:
            open_dispute(state, charge, "fraudulent")
            left = 0
        elif fate == 4:
            close_dispute(state, open_dispute(state, charge, "fraudulent"), won=True)
        elif fate == 5:
            close_dispute(state, open_dispute(state, charge, "fraudulent"), won=False)
            left = 0
        expected[tenant] += left
    return expected


async def deliver_with_stops(installation: PaymentInstallation, deliveries: int, chance: random.Random) -> int:
    """Deliver events until there were so many deliveries; processes are stopped at any moment meanwhile."""
    waiting = [event for event in installation.events() for _ in range(chance.choice(_COPIES))]
    chance.shuffle(waiting)
    made = 0
    parts = _fresh(installation, chance)
    while waiting:
        batch, waiting = waiting[:500], waiting[500:]
        limit = asyncio.Semaphore(_AT_ONCE)

        async def deliver(event: dict[str, object], to: StripeParts, within: asyncio.Semaphore) -> None:
            async with within:
                await installation.deliver(to, event)

        await asyncio.gather(*(deliver(event, parts, limit) for event in batch))
        made += len(batch)
        working = asyncio.create_task(parts.processor.work())
        await asyncio.wait({working}, timeout=chance.choice([0.02, 0.1, 0.5, 5.0]))
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working
        # What was claimed by the process that was stopped is due again after its claim has ended.
        installation.ahead += timedelta(seconds=chance.choice([0, 30, 150]))
        parts = _fresh(installation, chance)
    assert made >= deliveries
    return made


async def settle_the_rest(installation: PaymentInstallation) -> None:
    """Process until nothing is pending."""
    parts = installation.parts()
    for _ in range(50):
        installation.ahead += timedelta(minutes=11)
        await installation.process(parts)
        if not await installation.rows("SELECT 1 FROM billing.stripe_events WHERE state = 'pending' LIMIT 1"):
            return
    raise AssertionError("events stay pending")


def _fresh(installation: PaymentInstallation, chance: random.Random) -> StripeParts:
    """Return the parts of a process that has just been started."""
    parts = installation.parts()
    parts.settler._record = Stops(parts.settler._record, chance)
    return parts


@pytest.mark.parametrize(
    ("payments", "deliveries"),
    [
        pytest.param(30, 200, id="short"),
        pytest.param(12_000, 100_000, id="long", marks=[pytest.mark.long, pytest.mark.timeout(7200)]),
    ],
)
async def test_credits_are_exactly_right(installation: PaymentInstallation, payments: int, deliveries: int) -> None:
    chance = random.Random(random_seed())
    expected = await make_payments(installation, payments, chance)

    made = await deliver_with_stops(installation, deliveries, chance)
    await settle_the_rest(installation)

    for tenant, amount in expected.items():
        found = await installation.credits(tenant)
        assert found.balance - found.owed == Decimal(amount) / 1000, tenant
    states = await installation.rows(
        "SELECT state, sum(deliveries) AS deliveries FROM billing.stripe_events GROUP BY 1"
    )
    assert {row.state for row in states} <= {EventState.DONE.value, EventState.IGNORED.value}
    assert sum(row.deliveries for row in states) == made
    assert not await installation.rows("SELECT 1 FROM billing.stripe_effects WHERE posted_at IS NULL")
    posted = await installation.rows(
        "SELECT (SELECT count(*) FROM billing.stripe_effects WHERE amount_micro_usd > 0) AS effects,"
        " (SELECT count(*) FROM billing.event_outbox WHERE subject LIKE 'kf.v1.payment.changed.%') AS waiting"
    )
    recorded = installation.ledger.query("SELECT count(*) FROM usage_ledger.credit_payments")
    assert recorded[0][0] == posted[0].effects
