"""The work that goes on without a request: checkouts that end, and automatic top-ups.

Every process of the service does it. A purchase or a top-up is claimed for a while, so that two processes seldom meet at one, and
nothing is wrong if they do.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta

from nats.errors import Error as NatsError

from keyferry.contracts.purchases import PurchaseKind
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.database.errors import DatabaseUnavailable
from services.billing.purchases.checkouts import Checkouts
from services.billing.purchases.purchase_store import CreditPurchaseStore
from services.billing.purchases.rule_violation import PurchaseRefused
from services.billing.purchases.settlement import UnexpectedPayment
from services.billing.purchases.stored_purchase import StoredPurchase
from services.billing.purchases.top_up_charges import TopUpCharges
from services.billing.purchases.top_up_checks import TopUpChecks
from services.billing.stripe.client import StripeFailure

_log = logging.getLogger(__name__)

_INTERVAL_SECONDS = 2.0
_AT_ONCE = 20
_FIRST_RETRY = timedelta(seconds=10)
_LAST_RETRY = timedelta(minutes=10)
_MOST_DOUBLINGS = 6
_PASSING = (StripeFailure, BusError, Refused, NatsError)
"""Outages, and what an operator mends: the purchase waits and nothing is lost."""

Recurring = Callable[[], Awaitable[bool]]
"""Other work of each round; returns whether there is more to do at once. Raises the same errors."""


class PurchaseJob:
    """The job of one process. `clock` returns the time in UTC."""

    def __init__(
        self,
        store: CreditPurchaseStore,
        checkouts: Checkouts,
        charges: TopUpCharges,
        checks: TopUpChecks,
        clock: Callable[[], datetime],
        others: tuple[Recurring, ...] = (),
    ) -> None:
        self._store = store
        self._checkouts = checkouts
        self._charges = charges
        self._checks = checks
        self._clock = clock
        self._others = others
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start in a task of its own."""
        self._task = asyncio.create_task(self._run(), name="purchases")

    async def stop(self) -> None:
        """Stop; another process, or the next one, goes on."""
        task, self._task = self._task, None
        if task is not None:
            await cancel_and_wait(task)

    def wake(self) -> None:
        """Do now what is due."""
        self._wake.set()

    async def work(self) -> bool:
        """Do one round of what is due; return whether there may be more. Raises DatabaseUnavailable."""
        begun = await self._checks.check_due(self._clock())
        due = await self._store.claim_due(self._clock(), _AT_ONCE)
        await asyncio.gather(*(self._step(purchase) for purchase in due))
        others = [await other() for other in self._others]
        return begun or len(due) == _AT_ONCE or any(others)

    async def _step(self, purchase: StoredPurchase) -> None:
        try:
            if purchase.kind is PurchaseKind.CHECKOUT:
                await self._checkouts.step(purchase)
            else:
                await self._charges.step(purchase, wanted=await self._checks.is_wanted(purchase))
        except UnexpectedPayment as error:
            _log.error("the payment of purchase %s is not what was ordered: %s", purchase.purchase, error)
            await self._wait(purchase, _LAST_RETRY)
        except PurchaseRefused as error:
            _log.warning("purchase %s waits: %s", purchase.purchase, error.message)
            await self._wait(purchase, _LAST_RETRY)
        except _PASSING as error:
            _log.warning("purchase %s waits for %s", purchase.purchase, type(error).__name__)
            await self._wait(purchase, retry_delay(purchase.obstacles))
        else:
            if purchase.obstacles:
                await self._store.note(purchase, obstacles=0)

    async def _wait(self, purchase: StoredPurchase, delay: timedelta) -> None:
        await self._store.note(purchase, obstacles=purchase.obstacles + 1, next_step_at=self._clock() + delay)

    async def _run(self) -> None:
        while True:
            more = False
            self._wake.clear()
            try:
                more = await self.work()
            except DatabaseUnavailable:
                _log.warning("purchases wait for PostgreSQL")
            except Exception:  # the job must survive any failure: what is stored says where each purchase stands
                _log.exception("a round of purchases failed, and is tried again")
            if not more:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), _INTERVAL_SECONDS)


def retry_delay(obstacles: int) -> timedelta:
    """Return how long a purchase waits after so many outages in a row: doubled each time up to ten minutes."""
    doublings: int = 2 ** min(obstacles, _MOST_DOUBLINGS)
    return min(_LAST_RETRY, _FIRST_RETRY * doublings)
