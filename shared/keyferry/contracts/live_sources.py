"""What the stream LIVE copies from other streams: the server does it, so that no publisher knows of it. Pure."""

from collections.abc import Mapping
from types import MappingProxyType

from keyferry.contracts.alert_management import ALERT_CHANGED
from keyferry.contracts.topology import AUDIT_RECORDED, HEALTH_CHANGED, KEY_CHANGED, Role

LIVE_SOURCES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "ALERTS": (ALERT_CHANGED.pattern(),),
        "CHANGES": (HEALTH_CHANGED.pattern(), KEY_CHANGED.pattern()),
        # The vault's events are many, one for each lease; what people change of keys is among the changes.
        "AUDIT": tuple(AUDIT_RECORDED.pattern(service=role.value) for role in (Role.TENANT_DIRECTORY, Role.ROUTER)),
    }
)
"""The subjects that are copied, by stream."""
