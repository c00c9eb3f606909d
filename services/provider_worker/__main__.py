"""`python -m services.provider_worker`."""

from keyferry.contracts.topology import Role
from keyferry.runtime.boot import boot
from keyferry.runtime.hardening import harden

harden()
boot("services.provider_worker.app", Role.PROVIDER_WORKER)
