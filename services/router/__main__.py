"""`python -m services.router`."""

from keyferry.contracts.topology import Role
from keyferry.runtime.process.boot import boot

boot("services.router.app", Role.ROUTER)
