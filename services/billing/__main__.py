"""One process of the billing: `python -m services.billing`."""

from keyferry.contracts.topology import Role
from keyferry.runtime.process.boot import boot

boot("services.billing.app", Role.BILLING)
