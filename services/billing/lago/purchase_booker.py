"""Books payments in Lago, each once: Lago has no idempotency keys for it, so what is there is looked for first."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from nats.aio.msg import Msg

from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.payments import PaymentChanged
from keyferry.runtime.backoff import Backoff
from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.database.errors import DatabaseUnavailable
from services.billing.lago.client import LagoClient, LagoRefused, LagoUnavailable
from services.billing.lago.customers import LagoCustomerDirectory
from services.billing.lago.payment_bookings import booking_of
from services.billing.lago.purchase_store import CLAIM, PurchaseStore
from services.billing.lago.purchases import Booking, BookingKind, BookingState, find_booked, to_transaction

_log = logging.getLogger(__name__)

_POLL_SECONDS = 2.0
_BACKOFF = Backoff(first_seconds=2.0, longest_seconds=3600.0)


class PurchaseBooker:
    """Books the payments of one process. Without Lago nothing is kept for it."""

    def __init__(
        self,
        store: PurchaseStore,
        client: LagoClient | None,
        customers: LagoCustomerDirectory | None,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._client = client
        self._customers = customers
        self._clock = clock
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def on_changes(self, messages: list[Msg]) -> None:
        """Keep payments to book. Raises DatabaseUnavailable, so that they are delivered again."""
        if self._client is None:
            return
        for message in messages:
            try:
                booking = booking_of(PaymentChanged.decode(message.data))
            except MalformedMessage as error:
                _log.warning("skipped a malformed payment", extra={"reason": str(error)})
                continue
            if booking is not None:
                await self._store.add(booking, self._clock())
        self._wake.set()

    async def start(self) -> None:
        """Begin to book."""
        if self._client is not None:
            self._task = asyncio.create_task(self._run(), name="book payments in Lago")

    async def stop(self) -> None:
        """Stop; what was not finished is found again."""
        if self._task is not None:
            await cancel_and_wait(self._task)

    async def _run(self) -> None:
        while True:
            try:
                while await self.book_next():
                    pass
            except DatabaseUnavailable:
                _log.warning("cannot read the payments to book in Lago: the database does not answer")
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), _POLL_SECONDS)
            except TimeoutError:
                continue

    async def book_next(self) -> bool:
        """Do the next step of a booking that is due; return whether there was one. Raises DatabaseUnavailable."""
        booking = await self._store.claim(self._clock())
        if booking is None or self._client is None or self._customers is None:
            return False
        try:
            await self._book(booking, self._client, self._customers)
        except LagoUnavailable as error:
            # The call may still have its effect: who looks too early does not find it, and books it again.
            await self._later(booking, str(error), CLAIM)
        except LagoRefused as error:
            detail = str(error)
            _log.warning("Lago does not take a payment", extra={"booking": booking.booking_id, "reason": detail})
            await self._store.update(
                booking.booking_id, BookingState.REFUSED, next_attempt_at=self._clock(), detail=detail
            )
        return True

    async def _later(self, booking: Booking, detail: str, least: timedelta) -> None:
        delay = max(least, timedelta(seconds=_BACKOFF.delay_seconds(booking.attempts)))
        await self._store.update(
            booking.booking_id, booking.state, next_attempt_at=self._clock() + delay, detail=detail
        )

    async def _book(self, booking: Booking, client: LagoClient, customers: LagoCustomerDirectory) -> None:
        customer = (await customers.resolve({booking.tenant: booking.paid_at})).get(booking.tenant)
        if customer is None:
            detail = "the tenant has no customer in Lago"
            await self._store.update(
                booking.booking_id, BookingState.SKIPPED, next_attempt_at=self._clock(), detail=detail
            )
            return
        wallet_id = await customers.wallet_of(customer)
        booked = find_booked(await client.list_transactions(wallet_id), booking.booking_id)
        if not booked and booking.state is BookingState.PENDING:
            booked = find_booked(await client.add_transaction(to_transaction(booking, wallet_id)), booking.booking_id)
        if not booked:
            raise LagoUnavailable("Lago does not show what was booked yet")
        transaction_id, invoice_id = str(booked[0].get("lago_id")), booked[0].get("lago_invoice_id")
        if booking.kind is BookingKind.PURCHASE and invoice_id is None:
            # Lago makes the invoice a moment later.
            await self._store.update(
                booking.booking_id,
                BookingState.BOOKED,
                next_attempt_at=self._clock() + timedelta(seconds=_BACKOFF.delay_seconds(booking.attempts)),
                transaction_id=transaction_id,
            )
            return
        if invoice_id is not None:
            await client.mark_paid(str(invoice_id))
        await self._store.update(
            booking.booking_id,
            BookingState.DONE,
            next_attempt_at=self._clock(),
            transaction_id=transaction_id,
            invoice_id=None if invoice_id is None else str(invoice_id),
        )
