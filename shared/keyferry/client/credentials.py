"""The credentials file of an internal service: everything with which a program connects and signs its requests.

It is JSON. Two keys in it are secret: `nkey_seed` proves to the bus who connects, and `grant_private_key` signs each request, so
that the key vault can check that it was made. They differ, because a server chooses what an nkey signs.
"""

import json
import secrets
from dataclasses import dataclass, replace
from pathlib import Path

import nkeys
from pydantic import BaseModel, ConfigDict, ValidationError

from keyferry.contracts.envelope import describe
from keyferry.contracts.ids import TenantId
from keyferry.contracts.internal_services import ServiceName, raw_nkey
from keyferry.contracts.secret import Secret
from keyferry.contracts.text import Url
from keyferry.contracts.topology import inbox_prefix, internal_client
from keyferry.sealing.framing import from_base64, to_base64
from keyferry.sealing.nkey_seed import NotAnNkeySeed, parse_nkey_seed

VERSION = 1
_KEY_BYTES = 32
_MAX_BYTES = 16 * 1024


class BadCredentials(ValueError):
    """A file that holds no credentials of an internal service. The message says what to do, and repeats no value."""


class _File(BaseModel):
    """The JSON of the file. Unknown fields are ignored, so that an older client reads a newer file."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True, frozen=True)

    keyferry_credentials: int
    nats_url: Url
    tenant: TenantId
    name: ServiceName
    nkey_seed: str
    grant_private_key: str


@dataclass(frozen=True, slots=True)
class ServiceCredentials:
    """What an internal service needs to call. Only the public halves are ever sent."""

    nats_url: str
    tenant: str
    name: str
    nkey_seed: Secret
    grant_private_key: Secret

    @property
    def user(self) -> str:
        """The NATS user."""
        return internal_client(self.tenant, self.name)

    @property
    def nkey_public(self) -> str:
        """The public half of the nkey."""
        return _public_nkey(self.nkey_seed)

    @property
    def grant_public_key(self) -> str:
        """The public half of the key that signs requests (Ed25519)."""
        return to_base64(raw_nkey(_public_nkey(_seed_of(from_base64(self.grant_private_key.reveal())))))

    def at(self, nats_url: str) -> "ServiceCredentials":
        """Return the same credentials for another address of the bus."""
        return replace(self, nats_url=nats_url)

    def to_text(self) -> Secret:
        """Return the content of the file."""
        content = {
            "keyferry_credentials": VERSION,
            "nats_url": self.nats_url,
            "tenant": self.tenant,
            "name": self.name,
            "user": self.user,
            "inbox_prefix": inbox_prefix(self.user),
            "nkey_seed": self.nkey_seed.reveal(),
            "grant_private_key": self.grant_private_key.reveal(),
        }
        return Secret(json.dumps(content, indent=2))


def generate(nats_url: str, tenant: str, name: str, nkey_seed: Secret | None = None) -> ServiceCredentials:
    """Return credentials with new keys, or with this nkey. Raises ValueError for an invalid tenant or name."""
    internal_client(tenant, name)
    seed = nkey_seed or _seed_of(secrets.token_bytes(_KEY_BYTES))
    grant_private_key = Secret(
        to_base64(secrets.token_bytes(_KEY_BYTES))
    )  # any 32 bytes are one (RFC 8032, section 5.1.5)
    return ServiceCredentials(nats_url, tenant, name, seed, grant_private_key)


def read(path: Path) -> ServiceCredentials:
    """Return the credentials in a file. Raises BadCredentials."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise BadCredentials(f"the credentials {path} cannot be read: {error.strerror}") from None
    try:
        return _parse(data)
    except BadCredentials as error:
        raise BadCredentials(
            f"{path} holds no credentials of an internal service: {error}. `keyferry services create NAME --tenant T` makes one"
        ) from None


def _parse(data: bytes) -> ServiceCredentials:
    if len(data) > _MAX_BYTES:
        raise BadCredentials("it is too long")
    try:
        file = _File.model_validate_json(data)
        seed, grant_key = parse_nkey_seed(file.nkey_seed), Secret(file.grant_private_key)
        damaged = len(from_base64(file.grant_private_key)) != _KEY_BYTES
    except ValidationError as error:
        raise BadCredentials(describe(error)) from None
    except (NotAnNkeySeed, ValueError):
        damaged = True
    if damaged:
        raise BadCredentials("nkey_seed or grant_private_key is damaged")
    if file.keyferry_credentials != VERSION:
        raise BadCredentials(f"its format is {file.keyferry_credentials}, and this version reads {VERSION}")
    return ServiceCredentials(file.nats_url, file.tenant, file.name, seed, grant_key)


def _seed_of(raw: bytes) -> Secret:
    return Secret(nkeys.encode_seed(raw, nkeys.PREFIX_BYTE_USER).decode())


def _public_nkey(seed: Secret) -> str:
    return str(nkeys.from_seed(bytearray(seed.reveal().encode())).public_key.decode())
