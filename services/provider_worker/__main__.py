"""`python -m services.provider_worker`."""

from keyferry.contracts.topology import Role
from keyferry.runtime.process.boot import boot
from keyferry.runtime.process.hardening import harden

harden()
boot("services.provider_worker.app", Role.PROVIDER_WORKER)
