"""`python -m services.console`."""

from keyferry.contracts.topology import Role
from keyferry.runtime.lifecycle import main
from services.console.app import create_app

main(Role.CONSOLE, create_app)
