"""Settings of the key vault."""

from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated

from pydantic import BeforeValidator, Field, StringConstraints
from pydantic_settings import NoDecode

from keyferry.contracts.ids import TenantId
from keyferry.contracts.key import Provider
from keyferry.runtime.settings import DatabaseSettings, SecretFile
from services.key_vault.admission import ByokSwitch


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _networks(value: object) -> object:
    return tuple(ip_network(part) for part in _listed(value)) if isinstance(value, str) else value


def _tenants(value: object) -> object:
    return frozenset(_listed(value)) if isinstance(value, str) else value


def _urls(value: object) -> object:
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in _listed(value)]
    if any(not separator for _, separator, _ in pairs):
        raise ValueError("write PROVIDER=URL, separated by commas: openai=https://gateway.example.com/v1")
    return {provider.strip(): url.strip() for provider, _, url in pairs}


Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_networks)]
TenantSet = Annotated[frozenset[TenantId], NoDecode, BeforeValidator(_tenants)]
ProviderUrls = Annotated[dict[Provider, str], NoDecode, BeforeValidator(_urls)]
DeploymentId = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9._-]+$")]


class VaultSettings(DatabaseSettings):
    """What the key vault needs. Every secret is in a file that only its owner may read."""

    deployment_id: DeploymentId
    """Part of what every record is sealed for: no other installation opens it, whatever keys it has."""
    sealing_keys_file: SecretFile
    """The keyring: a line `name base64url(32 bytes)` each, the first is the primary one."""
    intake_key_file: SecretFile
    signing_key_file: SecretFile
    fingerprint_key_file: SecretFile
    enrolled_workers_file: SecretFile
    """JSON: worker id -> base64url Ed25519 public key."""
    lease_seconds: int = Field(default=60, ge=1, le=300)
    """How long a worker may keep a leased key."""
    revert_seconds: int = Field(default=7 * 24 * 3600, ge=0)
    """How long the key before a rotation is kept."""
    egress_allow: Networks = ()
    """The same as the workers': with networks here, base URLs may be plain http and name any port."""
    provider_urls: ProviderUrls = Field(default_factory=dict)
    """Company gateways that stand in for providers: `openai=https://gateway.example.com/v1,…`."""
    byok_enabled: bool = True
    """Whether tenants may have provider keys of their own."""
    byok_tenants: TenantSet = frozenset()
    """Which tenants may; none named is all of them."""

    def byok(self) -> ByokSwitch:
        """Whether tenants may use keys of their own."""
        return ByokSwitch(self.byok_enabled, self.byok_tenants or None)

    def revert_after(self) -> timedelta:
        """How long the key before a rotation is kept."""
        return timedelta(seconds=self.revert_seconds)
