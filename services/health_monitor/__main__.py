"""One process of the health monitor: `python -m services.health_monitor`."""

from keyferry.contracts.topology import Role
from keyferry.runtime.process.boot import boot

boot("services.health_monitor.app", Role.HEALTH_MONITOR)
