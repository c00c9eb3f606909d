"""`python -m services.router`."""

from keyferry.contracts.topology import Role
from keyferry.runtime.lifecycle import main
from services.router.app import create_app

main(Role.ROUTER, create_app)
