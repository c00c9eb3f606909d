"""What tests of deliveries read in the log."""

from sqlalchemy import text

from keyferry.contracts.webhooks import ListDeliveries, NotificationDelivery
from services.notifier.delivery.log_store import DeliveryLog
from tests.integration.notifier.system import NotifierUnderTest
from tests.support.waiting import eventually_async


async def log_of(notifier: NotifierUnderTest, target_id: str) -> list[NotificationDelivery]:
    """Return the deliveries to a target, newest first."""
    command = ListDeliveries(tenant="acme", target_id=target_id, limit=200)
    return (await DeliveryLog(notifier.database).list(command)).deliveries


async def all_finished(notifier: NotifierUnderTest) -> bool:
    """Return whether nothing waits to be sent."""
    async with notifier.database.read() as connection:
        count = await connection.scalar(text("SELECT count(*) FROM notifier.deliveries WHERE finished_at IS NULL"))
        return bool(count == 0)


async def first_outcome(notifier: NotifierUnderTest, target_id: str) -> NotificationDelivery:
    """Wait until an attempt at a target is recorded. Return the oldest delivery of those with an answer."""

    async def recorded() -> NotificationDelivery | None:
        answered = [delivery for delivery in await log_of(notifier, target_id) if delivery.answer is not None]
        return answered[-1] if answered else None

    return await eventually_async("an outcome is recorded", recorded)
