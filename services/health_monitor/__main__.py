"""One process of the health monitor: `python -m services.health_monitor`."""

from keyferry.contracts.topology import Role
from keyferry.runtime.lifecycle import main
from services.health_monitor.app import create_app

main(Role.HEALTH_MONITOR, create_app)
