"""`python -m services.provider_worker`."""

from keyferry.contracts.topology import Role
from keyferry.runtime.hardening import harden
from keyferry.runtime.lifecycle import main
from services.provider_worker.app import create_app

harden()
main(Role.PROVIDER_WORKER, create_app)
