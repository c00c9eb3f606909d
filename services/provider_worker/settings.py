"""Settings of the provider worker."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from keyferry.runtime.process.settings import SecretFile, ServiceSettings


def _networks(value: object) -> object:
    if isinstance(value, str):
        return tuple(ip_network(part.strip()) for part in value.split(",") if part.strip())
    return value


Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_networks)]


class ProviderWorkerSettings(ServiceSettings):
    """What a worker slot needs."""

    spool_dir: Path
    """Where unconfirmed attempts are kept; one slot owns one directory."""
    egress_allow: Networks = ()
    """Networks, comma-separated, that upstream calls may reach although they are private: a LAN's model servers."""
    identity_key_file: SecretFile | None = None
    """The Ed25519 private key (base64url) that this slot is enrolled with in the vault; without it no key can be leased."""
    vault_public_key_file: SecretFile | None = None
    """The public half of the vault's signing key (Ed25519, base64url): only what it signed is taken for a key."""
    max_attempts: int = Field(default=2000, ge=1)
    """Attempts under way at once; beyond it the worker says that it is overloaded."""
    connect_timeout_seconds: float = Field(default=5.0, gt=0)
    first_byte_timeout_seconds: float = Field(default=60.0, gt=0)
    between_bytes_timeout_seconds: float = Field(default=60.0, gt=0)
