"""Switching off a target that is gone or has failed for three days, with the notice to its tenant's owners."""

from datetime import datetime

from sqlalchemy import text

from keyferry.contracts import ids
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.contracts.webhooks import WebhookEventType
from keyferry.runtime.database.service_database import ServiceTransaction
from services.notifier.delivery.item import OWNERS, NewDelivery, owners_of
from services.notifier.delivery.notice import SwitchedOff
from services.notifier.delivery.outcome import DeliveryOutcome
from services.notifier.target_store import add_target

_OFF = text("""
UPDATE notifier.targets SET enabled = false, switched_off_at = :now WHERE target_id = :target_id AND enabled
RETURNING tenant, coalesce(
    (SELECT terms ->> 'name' FROM notifier.channels WHERE channel_id = target_id),
    (SELECT name FROM notifier.webhook_endpoints WHERE endpoint_id = target_id)) AS name
""")


async def switch_off(
    change: ServiceTransaction, target_id: str, outcome: DeliveryOutcome, now: datetime
) -> list[NewDelivery]:
    """Disable a target in the caller's transaction; return the notice about it, none if there is nobody to notify.

    The owners of a tenant are never switched off: there would be nobody left.
    """
    if target_id.startswith(OWNERS):
        return []
    row = (await change.connection.execute(_OFF, {"target_id": target_id, "now": now})).one_or_none()
    if row is None:
        return []
    reason = "it answered that it is gone" if outcome.gone else f"it has failed for three days: {outcome.answer}"
    tenant, name = str(row.tenant), str(row.name or target_id)
    messages = []
    if tenant != PLATFORM_TENANT:
        owners = owners_of(tenant)
        await add_target(change.connection, tenant, owners)
        notice = SwitchedOff(target_id=target_id, name=name, reason=reason)
        event_id = f"{target_id}.{ids.new(ids.DELIVERY)}"
        messages.append(
            NewDelivery(
                tenant=tenant,
                target_id=owners,
                event_id=event_id,
                event_type=WebhookEventType.TARGET_SWITCHED_OFF,
                payload=notice.model_dump_json(),
                critical=True,
            )
        )
    details = {"reason": reason}
    await change.audit(
        actor="notifier", action="notification_target.switch_off", tenant=tenant, target=target_id, details=details
    )
    return messages
