"""`python -m services.ingress`."""

from keyferry.contracts.topology import Role
from keyferry.runtime.process.boot import boot

boot("services.ingress.app", Role.INGRESS)
