"""`python -m services.ingress`."""

from keyferry.contracts.topology import Role
from keyferry.runtime.lifecycle import main
from services.ingress.app import create_app

main(Role.INGRESS, create_app)
