"""`python -m services.provider_worker`."""

from keyferry.contracts.topology import Role
from keyferry.runtime.lifecycle import main
from services.provider_worker.app import create_app

main(Role.PROVIDER_WORKER, create_app)
