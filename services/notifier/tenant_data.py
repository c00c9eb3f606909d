"""What the notifier's tables have of a tenant, and what becomes of it when the tenant is deleted. Pure.

Every table with a column `tenant` has a row here: a test compares the list with the schema.
"""

from keyferry.contracts.erasure import Treatment
from keyferry.runtime.database.erasure import TenantTable


def _removed(name: str, reason: str) -> TenantTable:
    return TenantTable(name=name, treatment=Treatment.REMOVED, reason=reason)


TENANT_TABLES: tuple[TenantTable, ...] = (
    _removed("deliveries", "what was sent to its people and systems, or waited to be"),
    _removed("early_alerts", "changes of its alerts that wait for earlier ones"),
    _removed("alert_positions", "which changes of its alerts are in the queue"),
    _removed("unpriced_attempts", "attempts that its webhooks would have reported"),
    _removed("report_runs", "when its reports were sent"),
    _removed("reports", "its scheduled reports"),
    _removed("addresses", "e-mail addresses that received its notifications"),
    _removed("channels", "its channels, with e-mail addresses"),
    _removed("webhook_endpoints", "its webhook endpoints; the vault destroys their secrets with its others"),
    _removed("removed_secrets", "secrets of its removed endpoints, which the vault destroys with its others"),
    _removed("targets", "how deliveries to it did"),
)
