"""One process of the key vault: `python -m services.key_vault`."""

from keyferry.contracts.topology import Role
from keyferry.runtime.process.boot import boot
from keyferry.runtime.process.hardening import harden

harden()
boot("services.key_vault.app", Role.KEY_VAULT)
