"""Encryption of backups in the age format, so that the `age` program alone can open one too.

A backup is encrypted for recipients, which are public keys: the machine that makes it needs no secret for that. The format
authenticates each part and the end, so a changed or truncated file does not open. It does not say who made the file: anybody who
knows a recipient can encrypt for it.
"""

import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO

import pyrage
from pyrage import passphrase as passphrases

from deploy.backup.errors import BackupFailed
from deploy.postgres.roles import write_secret
from keyferry.contracts.secret import Secret

_RECIPIENT = re.compile(r"age1[0-9a-z]{10,100}")
_IDENTITY = re.compile(r"\bAGE-SECRET-KEY-1[0-9A-Z]{10,200}\b")
_ENCRYPTED = b"age-encryption.org/v1"
_PIPE_BYTES = 1 << 20
_IDENTITY_FILE_BYTES = 1 << 16


def parse_recipient(text: str) -> pyrage.x25519.Recipient:
    """Return the recipient `age1…`. Raises BackupFailed."""
    if _RECIPIENT.fullmatch(text):
        with suppress(pyrage.RecipientError):
            return pyrage.x25519.Recipient.from_str(text)
    raise BackupFailed(
        f"{text[:80]!r} is no recipient: use the line `age1…` that `keyferry backup make-key FILE` shows, or one of `age-keygen`"
    )


def make_identity(file: Path, passphrase: Secret | None) -> str:
    """Write a new identity, encrypted with `passphrase` if one is given, and return its recipient.

    Raises BackupFailed if the file exists, and OSError.
    """
    if file.exists() or file.is_symlink():
        raise BackupFailed(
            f"{file} exists: choose another name. Without that key, backups made for it cannot be opened"
        )
    identity = pyrage.x25519.Identity.generate()
    recipient = str(identity.to_public())
    text = f"# public key: {recipient}\n{identity}\n"
    if passphrase is None:
        write_secret(file, text)
    else:
        draft = file.with_name(f".{file.name}.draft")
        draft.touch(mode=0o600)
        draft.write_bytes(passphrases.encrypt(text.encode(), passphrase.reveal()))
        draft.replace(file)
    return recipient


def read_identities(file: Path, ask_passphrase: Callable[[], Secret]) -> list[pyrage.x25519.Identity]:
    """Return the identities in a file of `make_identity` or `age-keygen`. Raises BackupFailed and OSError.

    `ask_passphrase` is called only if the file is encrypted with one.
    """
    with file.open("rb") as stream:
        content = stream.read(_IDENTITY_FILE_BYTES)
    if content.startswith(_ENCRYPTED):
        try:
            content = passphrases.decrypt(content, ask_passphrase().reveal())
        except (pyrage.DecryptError, UnicodeEncodeError):
            raise BackupFailed(f"that passphrase does not open {file}") from None
    identities = []
    for line in _IDENTITY.findall(content.decode(errors="replace")):
        with suppress(pyrage.IdentityError):
            identities.append(pyrage.x25519.Identity.from_str(line))
    if not identities:
        raise BackupFailed(
            f"{file} holds no key that opens backups: name the file that `keyferry backup make-key` has written"
        )
    return identities


@contextmanager
def encrypting(output: BinaryIO, recipients: list[pyrage.x25519.Recipient]) -> Iterator[IO[bytes]]:
    """Yield a file: what is written to it goes to `output`, encrypted. Raises BackupFailed, and OSError of `output`.

    If the block raises, `output` is left without its authenticated end.
    """
    source, sink = os.pipe()
    reader, writer = os.fdopen(source, "rb", _PIPE_BYTES), os.fdopen(sink, "wb", _PIPE_BYTES)
    guarded = _Guarded(reader, output)
    worker = _Worker(lambda: pyrage.encrypt_io(guarded, guarded, recipients), reader)
    try:
        yield writer
        writer.flush()
    except BrokenPipeError:
        worker.join()
        raise guarded.failure or BackupFailed("the backup could not be encrypted") from None
    except BaseException:  # also an interrupt: what was written must not look complete
        guarded.aborted = True
        raise
    finally:
        with suppress(BrokenPipeError):
            writer.close()
        worker.join()
    if worker.failed:
        raise guarded.failure or BackupFailed("the backup could not be encrypted")


@contextmanager
def decrypting(source: BinaryIO, identities: list[pyrage.x25519.Identity]) -> Iterator[IO[bytes]]:
    """Yield a file with what `source` contains, decrypted. Raises BackupFailed at the end if it is damaged.

    What is read is authenticated, but only after the block without an exception is it known to be all.
    """
    read_end, sink = os.pipe()
    reader, writer = os.fdopen(read_end, "rb", _PIPE_BYTES), os.fdopen(sink, "wb", _PIPE_BYTES)
    worker = _Worker(lambda: pyrage.decrypt_io(source, writer, identities), writer)
    failed_inside = False
    try:
        yield reader
        while reader.read(_PIPE_BYTES):  # what follows the archive must be authentic too
            pass
    except Exception:  # raised again: only what the thread then reports is of no interest
        failed_inside = True
        raise
    finally:
        reader.close()
        worker.join()
        if worker.failed and not (failed_inside and worker.broken_pipe):
            raise BackupFailed(_describe(worker.failed)) from None


def _describe(error: BaseException) -> str:
    if "No matching keys" in str(error):
        return "this key does not open the backup: it was made for another one"
    return "the backup is damaged, incomplete or none at all: use another one"


class _Guarded:
    """The two ends of an encryption; remembers the error of the output, which the library replaces by one of its own."""

    def __init__(self, reader: IO[bytes], output: BinaryIO) -> None:
        self._reader, self._output = reader, output
        self.failure: OSError | None = None
        self.aborted = False

    def read(self, size: int) -> bytes:
        found = self._reader.read(size)
        if not found and self.aborted:
            raise BackupFailed("the archive is incomplete")
        return found

    def write(self, content: bytes) -> int:
        try:
            return self._output.write(content)
        except OSError as error:
            self.failure = error
            raise

    def flush(self) -> None:
        try:
            self._output.flush()
        except OSError as error:
            self.failure = error
            raise


class _Worker:
    """A thread that encrypts or decrypts; closes its end of the pipe when it has ended."""

    def __init__(self, work: Callable[[], object], own_end: IO[bytes]) -> None:
        self._work, self._own_end = work, own_end
        self.failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="backup encryption", daemon=True)
        self._thread.start()

    @property
    def broken_pipe(self) -> bool:
        """Whether it failed because nobody reads any more."""
        return "Broken pipe" in str(self.failed) or "BrokenPipe" in str(self.failed)

    def join(self) -> None:
        """Wait until it has ended."""
        self._thread.join()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # Rust's panics are no Exceptions; `join` is followed by a look at it
            self.failed = error
        finally:
            with suppress(OSError):
                self._own_end.close()
