"""One process of the usage ledger: `python -m services.usage_ledger`."""

from keyferry.contracts.topology import Role
from keyferry.runtime.lifecycle import main
from services.usage_ledger.app import create_app

main(Role.USAGE_LEDGER, create_app)
