"""`python -m services.console`."""

from keyferry.contracts.topology import Role
from keyferry.runtime.process.boot import boot

boot("services.console.app", Role.CONSOLE)
