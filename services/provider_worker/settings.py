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
    """Settings of a worker slot."""

    spool_dir: Path
    """Directory for unconfirmed attempts; each slot has its own."""
    egress_allow: Networks = ()
    """Private networks, comma-separated, that upstream calls may reach, such as a LAN's model servers."""
    identity_key_file: SecretFile | None = None
    """The Ed25519 private key (base64url) that this slot is enrolled with in the vault; without it no key can be leased."""
    vault_public_key_file: SecretFile | None = None
    """The vault's public signing key (Ed25519, base64url); deliveries that it did not sign are rejected."""
    max_attempts: int = Field(default=2000, ge=1)
    """Concurrent attempts; beyond it the worker answers that it is overloaded."""
    connect_timeout_seconds: float = Field(default=5.0, gt=0)
    first_byte_timeout_seconds: float = Field(default=60.0, gt=0)
    between_bytes_timeout_seconds: float = Field(default=60.0, gt=0)
