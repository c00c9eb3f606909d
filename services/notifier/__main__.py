"""One process of the notifier: `python -m services.notifier`."""

from keyferry.contracts.topology import Role
from keyferry.runtime.process.boot import boot

boot("services.notifier.app", Role.NOTIFIER)
