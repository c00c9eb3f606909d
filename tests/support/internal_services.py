"""Keys and commands for internal services."""

import secrets

import nkeys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keyferry.contracts.internal_services import CreateInternalService
from keyferry.sealing.private_keys import public_key_text


def new_nkey() -> str:
    """Return the public nkey of a new user."""
    seed = nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_USER)
    return str(nkeys.from_seed(bytearray(seed)).public_key.decode())


def new_grant_key() -> str:
    """Return the public half of a new grant key."""
    return public_key_text(Ed25519PrivateKey.generate())


def create_command(
    tenant: str = "acme", name: str = "crm", operations: list[str] | None = None
) -> CreateInternalService:
    """Return a command with new keys."""
    return CreateInternalService(
        tenant=tenant, name=name, nkey_public=new_nkey(), grant_public_key=new_grant_key(), operations=operations
    )
