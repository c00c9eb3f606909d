"""One process of the key vault: `python -m services.key_vault`."""

from keyferry.contracts.topology import Role
from keyferry.runtime.hardening import harden
from keyferry.runtime.lifecycle import main
from services.key_vault.app import create_app

harden()
main(Role.KEY_VAULT, create_app)
