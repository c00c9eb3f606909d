"""KEKs in the transit engine of HashiCorp Vault or OpenBao: they never leave it.

The context of a data key is passed as associated data, so the engine's key has to be of an AEAD type, such as `aes256-gcm96`. A
KEK is a version of the engine's key, `name:v3`; rotating it there creates a new primary here. The engine's re-encryption
endpoint takes no associated data (https://github.com/hashicorp/vault/issues/31791), so a rotation here is a decryption and
an encryption, and the data key passes through this process as it does for every use.
"""

import asyncio
import base64
import binascii
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from keyferry.contracts.text import parse_digits
from keyferry.runtime.process.settings import SettingsError, read_secret
from services.key_vault.encryption.kek_providers.protocol import (
    CannotRenew,
    Context,
    EncryptedDataKey,
    KekDescription,
    KekMissing,
    KekUnavailable,
    Renewal,
    context_bytes,
)
from services.key_vault.encryption.record_cipher import Undecryptable

if TYPE_CHECKING:
    import hvac  # type: ignore[import-untyped]
    from pydantic import JsonValue

PROVIDER = "vault_transit"
TIMEOUT_SECONDS = 5.0

Answer = TypeVar("Answer")


class Engine(Protocol):
    """The calls of the transit engine that are needed. They raise the errors of `hvac` and `requests`."""

    def encrypt(self, name: str, plaintext: bytes, associated_data: bytes) -> str:
        """Return the ciphertext, `vault:v<version>:<base64>`."""

    def decrypt(self, name: str, ciphertext: str, associated_data: bytes) -> bytes:
        """Return the plaintext."""

    def versions(self, name: str) -> tuple[int, int]:
        """Return the oldest version that decrypts, and the newest."""

    def rotate(self, name: str) -> None:
        """Create a new version."""


class VaultTransit:
    """The engine's key `key_name`, its newest version primary. Await `refresh` before anything else."""

    def __init__(self, engine: Engine, key_name: str) -> None:
        self._engine = engine
        self._key_name = key_name
        self._oldest, self._newest = 1, 1

    async def refresh(self) -> None:
        """Look up the key's versions. Raises SettingsError for a key that does not exist."""
        try:
            self._oldest, self._newest = await self._call(lambda: self._engine.versions(self._key_name))
        except Undecryptable:
            raise SettingsError(
                f"the transit engine has no key {self._key_name!r}: make one with `vault write -f transit/keys/{self._key_name}`"
            ) from None

    async def encrypt(self, data_key: bytes, context: Context) -> bytes:
        """Implement KekProvider."""
        data = context_bytes(context)
        ciphertext = await self._call(lambda: self._engine.encrypt(self._key_name, data_key, data))
        return EncryptedDataKey(PROVIDER, self._kek_of(ciphertext), ciphertext.encode()).encode()

    async def decrypt(self, blob: bytes, context: Context) -> bytes:
        """Implement KekProvider."""
        data_key = EncryptedDataKey.decode(blob, PROVIDER)
        key_name, _, version = data_key.kek.rpartition(":v")
        ciphertext, data = data_key.ciphertext.decode(errors="replace"), context_bytes(context)
        try:
            return await self._call(lambda: self._engine.decrypt(key_name, ciphertext, data))
        except Undecryptable:
            await self._require(key_name, version)
            raise

    async def re_encrypt(self, blob: bytes, context: Context) -> bytes:
        """Implement KekProvider."""
        return await self.encrypt(await self.decrypt(blob, context), context)

    async def check_renewal(self) -> Renewal:
        """Implement KekProvider."""
        return Renewal()

    async def renew(self, now: datetime) -> None:
        """Create a new version of the engine's key. Raises CannotRenew where the token may not."""
        from hvac.exceptions import Forbidden  # type: ignore[import-untyped]

        def rotate() -> None:
            try:
                self._engine.rotate(self._key_name)
            except Forbidden:
                raise CannotRenew(
                    f"the token may not rotate the transit engine's key {self._key_name!r}: let it write to the key's"
                    " `rotate` path, or set `auto_rotate_period` there"
                ) from None

        try:
            await self._call(rotate)
        except Undecryptable:
            raise CannotRenew(f"the transit engine refuses to rotate the key {self._key_name!r}") from None
        await self.refresh()

    def describe(self) -> KekDescription:
        """Implement KekProvider."""
        names = tuple(f"{self._key_name}:v{version}" for version in range(self._newest, self._oldest - 1, -1))
        return KekDescription(PROVIDER, names[0], names)

    def name_of(self, blob: bytes) -> str:
        """Implement KekProvider."""
        return EncryptedDataKey.decode(blob, PROVIDER).kek

    def _kek_of(self, ciphertext: str) -> str:
        version = ciphertext.split(":")[1]
        return f"{self._key_name}:{version}"

    async def _require(self, key_name: str, version: str) -> None:
        """Raise KekMissing where the engine does not have this version of a key, or may no longer use it."""
        name = f"{key_name}:v{version}"
        try:
            oldest, newest = await self._call(lambda: self._engine.versions(key_name))
        except Undecryptable:
            raise KekMissing(name, f"the transit engine has no key {key_name!r}: restore it from a backup") from None
        number = parse_digits(version)
        if number is None or not oldest <= number <= newest:
            raise KekMissing(
                name, f"the transit engine decrypts versions {oldest} to {newest}: lower min_decryption_version"
            )

    async def _call(self, call: Callable[[], Answer]) -> Answer:
        """Run one call in a thread, since hvac blocks. Errors are classified by status, never by message."""
        from hvac.exceptions import InvalidPath, InvalidRequest, VaultError
        from requests.exceptions import RequestException

        try:
            return await asyncio.to_thread(call)
        except (InvalidRequest, InvalidPath):
            raise Undecryptable(
                "the transit engine cannot decrypt a data key: it was changed, moved, or encrypted for another tenant"
            ) from None
        except (VaultError, RequestException, SettingsError) as error:
            raise KekUnavailable(
                f"the transit engine is not available ({type(error).__name__}): check its address, that it is"
                " unsealed, and that the token may encrypt and decrypt with the key and read it"
            ) from None


class HvacEngine:
    """The transit engine at `mount_point` of the server at `url`, through hvac.

    The token is read from its file for each call, because an agent renews it there.
    """

    def __init__(
        self, url: str, token_file: Path, *, mount_point: str = "transit", ca_file: Path | None = None
    ) -> None:
        import hvac

        verify: bool | str = True if ca_file is None else str(ca_file)
        self._client = hvac.Client(url=url, verify=verify, timeout=TIMEOUT_SECONDS)
        self._token_file = token_file
        self._mount_point = mount_point

    def encrypt(self, name: str, plaintext: bytes, associated_data: bytes) -> str:
        """Implement Engine."""
        answer = self._authenticated_client().secrets.transit.encrypt_data(
            name=name,
            plaintext=_base64(plaintext),
            associated_data=_base64(associated_data),
            mount_point=self._mount_point,
        )
        return str(answer["data"]["ciphertext"])

    def decrypt(self, name: str, ciphertext: str, associated_data: bytes) -> bytes:
        """Implement Engine."""
        answer = self._authenticated_client().secrets.transit.decrypt_data(
            name=name,
            ciphertext=ciphertext,
            associated_data=_base64(associated_data),
            mount_point=self._mount_point,
        )
        try:
            return base64.b64decode(str(answer["data"]["plaintext"]), validate=True)
        except binascii.Error:
            raise Undecryptable("the transit engine returned invalid base64") from None

    def versions(self, name: str) -> tuple[int, int]:
        """Implement Engine."""
        answer = self._authenticated_client().secrets.transit.read_key(name=name, mount_point=self._mount_point)
        properties: dict[str, JsonValue] = answer["data"]
        return int(str(properties["min_decryption_version"])), int(str(properties["latest_version"]))

    def rotate(self, name: str) -> None:
        """Implement Engine."""
        self._authenticated_client().secrets.transit.rotate_key(name=name, mount_point=self._mount_point)

    def _authenticated_client(self) -> "hvac.Client":
        self._client.token = read_secret(self._token_file).reveal()
        return self._client


def connect(
    url: str, key_name: str, token_file: Path, *, mount_point: str = "transit", ca_file: Path | None = None
) -> VaultTransit:
    """Connect to the transit engine's key `key_name`. Raises SettingsError where hvac is missing."""
    try:
        engine = HvacEngine(url, token_file, mount_point=mount_point, ca_file=ca_file)
    except ImportError:
        raise SettingsError("KEKs in Vault's transit engine need hvac: install the extra `vault-transit`") from None
    return VaultTransit(engine, key_name)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
