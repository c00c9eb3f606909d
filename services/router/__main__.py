"""`python -m services.router`."""

from keyferry.contracts.topology import Role
from keyferry.runtime.boot import boot

boot("services.router.app", Role.ROUTER)
