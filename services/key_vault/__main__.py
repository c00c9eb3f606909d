"""One process of the key vault: `python -m services.key_vault`."""

from keyferry.contracts.topology import Role
from keyferry.runtime.boot import boot
from keyferry.runtime.hardening import harden

harden()
boot("services.key_vault.app", Role.KEY_VAULT)
