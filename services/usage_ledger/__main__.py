"""One process of the usage ledger: `python -m services.usage_ledger`."""

from keyferry.contracts.topology import Role
from keyferry.runtime.process.boot import boot

boot("services.usage_ledger.app", Role.USAGE_LEDGER)
