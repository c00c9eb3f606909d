"""KEKs in a keyring file, the default: lines of `name base64url(32 bytes)`, the first one primary.

The file is all that protects the stored keys, so only its owner may read it. It is read again when a data key names an unknown
KEK: another process may have started a rotation.
"""

import os
import re
import stat
from collections.abc import Mapping
from datetime import datetime
from itertools import count
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from keyferry.runtime.process.settings import SettingsError
from keyferry.sealing.framing import from_base64, to_base64
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

PROVIDER = "file"
KEK_BYTES = 32
_NONCE_BYTES = 12
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Keyring:
    """KEKs in memory, by name; `lines` is a keyring's text, and `source` its name in messages.

    Raises SettingsError for a text that is not a keyring.
    """

    def __init__(self, lines: str, source: str, provider: str = PROVIDER) -> None:
        self._source = source
        self._provider = provider
        self._keys = _parse(lines, source)

    async def refresh(self) -> None:
        """Do nothing: this keyring cannot change."""

    async def check_renewal(self) -> Renewal:
        """Implement KekProvider."""
        return Renewal(obstacle=f"the vault cannot write {self._source}")

    async def renew(self, now: datetime) -> None:
        """Implement KekProvider."""
        raise CannotRenew(f"the vault cannot write {self._source}")

    async def encrypt(self, data_key: bytes, context: Context) -> bytes:
        """Implement KekProvider."""
        name, nonce = self.describe().primary, os.urandom(_NONCE_BYTES)
        ciphertext = nonce + AESGCM(self._keys[name]).encrypt(nonce, data_key, context_bytes(context))
        return EncryptedDataKey(self._provider, name, ciphertext).encode()

    async def decrypt(self, blob: bytes, context: Context) -> bytes:
        """Implement KekProvider."""
        data_key = EncryptedDataKey.decode(blob, self._provider)
        if data_key.kek not in self._keys:
            await self._reload()
        if (kek := self._keys.get(data_key.kek)) is None:
            raise KekMissing(data_key.kek, f"put its line back into {self._source}")
        nonce, ciphertext = data_key.ciphertext[:_NONCE_BYTES], data_key.ciphertext[_NONCE_BYTES:]
        try:
            return AESGCM(kek).decrypt(nonce, ciphertext, context_bytes(context))
        except (InvalidTag, ValueError):  # ValueError: too short to hold a nonce or a tag
            raise Undecryptable(
                f"a data key cannot be decrypted with the KEK {data_key.kek!r} of {self._source}: that is"
                " another key of the same name, or the data key was changed or moved"
            ) from None

    async def _reload(self) -> None:
        try:
            await self.refresh()
        except SettingsError as error:
            raise KekUnavailable(str(error)) from None

    async def re_encrypt(self, blob: bytes, context: Context) -> bytes:
        """Implement KekProvider."""
        return await self.encrypt(await self.decrypt(blob, context), context)

    def describe(self) -> KekDescription:
        """Implement KekProvider."""
        names = tuple(self._keys)
        return KekDescription(self._provider, names[0], names)

    def name_of(self, blob: bytes) -> str:
        """Implement KekProvider."""
        return EncryptedDataKey.decode(blob, self._provider).kek


class FileKeyring(Keyring):
    """The keyring in a file. Raises SettingsError for a file that is unreadable, malformed or readable by others."""

    def __init__(self, file: Path) -> None:
        self._file = file
        super().__init__(_read(file), f"the keyring {file}")

    async def refresh(self) -> None:
        """Read the file again. A malformed file leaves the keys as they are, and raises SettingsError."""
        self._keys = _parse(_read(self._file), self._source)

    async def check_renewal(self) -> Renewal:
        """Implement KekProvider."""
        writable = os.access(self._file.resolve().parent, os.W_OK)
        return Renewal(None if writable else f"the vault cannot write beside {self._source}")

    async def renew(self, now: datetime) -> None:
        """Add a first line, named after the day, and keep the others. Raises CannotRenew, SettingsError.

        Of this and an edit by a person at the same moment, one is lost.
        """
        text = _read(self._file)
        line = f"{_new_name(now, _parse(text, self._source))} {to_base64(os.urandom(KEK_BYTES))}\n"
        try:
            _write(self._file.resolve(), line + text)
        except OSError as error:
            raise CannotRenew(f"{self._source} cannot be written: {error.strerror}") from None
        await self.refresh()


def environment_keyring(variables: Mapping[str, str], name: str = "KEYFERRY_KEKS") -> Keyring:
    """Read a keyring from an environment variable, for experiments.

    Raises SettingsError in production, where anybody who can see the process's environment would have every KEK.
    """
    if variables.get("KEYFERRY_ENV") == "prod":
        raise SettingsError(
            f"{name} is not taken from the environment while KEYFERRY_ENV is prod: put the lines into a file of mode 0600"
            " and set KEYFERRY_KEKS_FILE"
        )
    return Keyring(variables.get(name, ""), name, "env")


def _new_name(now: datetime, taken: Mapping[str, bytes]) -> str:
    """Return a name with the date, so that names of lines removed long ago are not reused."""
    day = f"k-{now:%Y-%m-%d}"
    return next(name for number in count(1) if (name := day if number == 1 else f"{day}.{number}") not in taken)


def _write(file: Path, text: str) -> None:
    """Replace a file atomically, mode 0600, and sync it to disk before returning: no other copy of the KEK exists."""
    draft = file.with_name(f".{file.name}.new")
    draft.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read(file: Path) -> str:
    try:
        with file.open() as stream:
            mode = os.fstat(stream.fileno()).st_mode
            if mode & _OTHERS:
                raise SettingsError(
                    f"the keyring {file} is accessible to others than its owner (mode {stat.S_IMODE(mode):04o}):"
                    f" `chmod 600 {file}`, and rotate the KEK if anybody may have read it"
                )
            return stream.read()
    except OSError as error:
        raise SettingsError(f"cannot read the keyring {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"the keyring {file} is not text: restore it from a backup") from None


def _parse(text: str, source: str) -> dict[str, bytes]:
    keys: dict[str, bytes] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, kek = _parse_line(line, f"{source}, line {number}")
        if name in keys:
            raise SettingsError(f"{source}, line {number}: there are two KEKs called {name!r}; rename one")
        keys[name] = kek
    if not keys:
        raise SettingsError(f"{source} holds no KEK: write lines of `name base64url(32 bytes)`, the primary first")
    return keys


def _parse_line(line: str, where: str) -> tuple[str, bytes]:
    """Return a line's name and key. Errors repeat nothing of the line: a misplaced part may be the secret."""
    parts = line.split()
    if len(parts) != 2 or _NAME.fullmatch(parts[0]) is None:
        raise SettingsError(f"{where}: want a name (letters, digits, `.`, `_`, `-`), a space, and a KEK")
    try:
        kek = from_base64(parts[1])
    except ValueError as error:
        raise SettingsError(f"{where}: the KEK cannot be read: {error}") from None
    if len(kek) != KEK_BYTES:
        raise SettingsError(f"{where}: a KEK has {KEK_BYTES} bytes, this one has {len(kek)}")
    return parts[0], kek
