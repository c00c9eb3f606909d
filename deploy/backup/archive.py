"""The file of a backup: a tar archive, encrypted as it is written, so that nothing is stored in plain text on the way.

`age -d -i KEY BACKUP | tar x` unpacks it. What has no known size beforehand is stored in parts: `cat database/*` is a dump for
`pg_restore`, and `cat streams/NAME/0*` a snapshot as `nats stream restore` takes it.
"""

import hashlib
import io
import os
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO

import pyrage
from pydantic import ValidationError

from deploy.backup.encryption import decrypting, encrypting
from deploy.backup.errors import BackupFailed
from deploy.backup.manifest import END, FORMAT, MANIFEST, BackupEnd, BackupManifest, is_member_name, part_name

PART_BYTES = 4 << 20
_MEMBER_BYTES = 64 << 20
"""More than any member has: a segment of a spool has a few megabytes."""
STANDARD_STREAM = "-"


class _MemberDigest:
    """Counts members, and adds up a digest of all of them."""

    def __init__(self) -> None:
        self._members = 0
        self._digest = hashlib.sha256()

    def add(self, name: str, content: bytes) -> None:
        self._members += 1
        self._digest.update(f"{name}\0{len(content)}\0".encode())
        self._digest.update(content)

    def end(self) -> BackupEnd:
        return BackupEnd(members=self._members, sha256=self._digest.hexdigest())


class ArchiveWriter:
    """Adds members to an archive that is being written."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._digest = _MemberDigest()
        self.bytes_written = 0

    def add(self, name: str, content: bytes) -> None:
        """Add a member. Raises BackupFailed for a name that no restore would accept, and OSError."""
        if not is_member_name(name):
            raise BackupFailed(f"{name[:200]!r} cannot be in a backup: remove or rename that file")
        self._write(name, content)
        self._digest.add(name, content)

    def finish(self) -> None:
        """Write what shows that the archive is complete."""
        self._write(END, self._digest.end().model_dump_json().encode())

    def _write(self, name: str, content: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode, member.mtime = len(content), 0o600, int(time.time())
        self._tar.addfile(member, io.BytesIO(content))
        self.bytes_written += len(content)


class PartWriter:
    """Adds the parts of something whose size is not known beforehand."""

    def __init__(self, archive: ArchiveWriter, directory: str) -> None:
        self._archive, self._directory = archive, directory
        self._number = 0
        self._waiting = bytearray()

    def write(self, content: bytes) -> None:
        """Add content; it becomes parts of PART_BYTES."""
        self._waiting += content
        while len(self._waiting) >= PART_BYTES:
            self._add(bytes(self._waiting[:PART_BYTES]))
            del self._waiting[:PART_BYTES]

    def close(self) -> None:
        """Add the rest; there is at least one part."""
        if self._waiting or not self._number:
            self._add(bytes(self._waiting))
            self._waiting.clear()

    def _add(self, content: bytes) -> None:
        self._archive.add(part_name(self._directory, self._number), content)
        self._number += 1


@contextmanager
def writing(target: str, recipients: list[pyrage.x25519.Recipient]) -> Iterator[ArchiveWriter]:
    """Write a new archive to the file `target`, or to the standard output for `-`. Raises BackupFailed and OSError.

    The file appears once it is complete and on disk; after an exception there is none.
    """
    if target == STANDARD_STREAM:
        with encrypting(sys.stdout.buffer, recipients) as plain, _tar(plain) as archive:
            yield archive
        return
    file = Path(target)
    if file.exists() or file.is_symlink():
        raise BackupFailed(f"{file} exists: choose another name, or move it away")
    draft = file.with_name(f".{file.name}.draft")
    draft.unlink(missing_ok=True)
    try:
        with os.fdopen(_open_private(draft), "wb") as output:
            with encrypting(output, recipients) as plain, _tar(plain) as archive:
                yield archive
            os.fsync(output.fileno())
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def _open_private(file: Path) -> int:
    return os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


@contextmanager
def _tar(plain: IO[bytes]) -> Iterator[ArchiveWriter]:
    tar = tarfile.open(fileobj=plain, mode="w|", bufsize=1 << 18, format=tarfile.PAX_FORMAT)  # noqa: SIM115 - closed below
    archive = ArchiveWriter(tar)
    yield archive
    archive.finish()
    tar.close()


class ArchiveReader:
    """Yields the members of an archive in their order, once."""

    def __init__(self, plain: IO[bytes]) -> None:
        self._plain = plain
        self._digest = _MemberDigest()

    def read_manifest(self) -> BackupManifest:
        """Read the first member. Raises BackupFailed."""
        self._tar = _open_tar(self._plain)
        name, content = next(self._members(), ("", b""))
        if name != MANIFEST:
            raise BackupFailed("this is no backup of Keyferry: its first member is no manifest")
        try:
            manifest = BackupManifest.model_validate_json(content)
        except ValidationError:
            raise BackupFailed("this backup has an invalid manifest: use another one") from None
        if manifest.format > FORMAT:
            raise BackupFailed(
                f"this backup has format {manifest.format}, which this build does not know: restore it with version"
                f" {manifest.version} or a newer one"
            )
        return manifest

    def members(self) -> Iterator[tuple[str, bytes]]:
        """Yield name and content of each further member. Raises BackupFailed, at the end also if one is missing."""
        for name, content in self._members():
            if name == END:
                self._check_end(content)
                return
            yield name, content
        raise BackupFailed("the backup is incomplete: it has no end. Use another one")

    def _members(self) -> Iterator[tuple[str, bytes]]:
        while (member := _next_member(self._tar)) is not None:
            if not (member.isreg() and is_member_name(member.name) and member.size <= _MEMBER_BYTES):
                raise BackupFailed(
                    f"the backup has a member that no backup has, {member.name[:100]!r}: do not restore it"
                )
            file = self._tar.extractfile(member)
            content = file.read() if file is not None else b""
            if member.name != END:
                self._digest.add(member.name, content)
            yield member.name, content

    def _check_end(self, content: bytes) -> None:
        try:
            complete = BackupEnd.model_validate_json(content) == self._digest.end()
        except ValidationError:
            complete = False
        if not complete:
            raise BackupFailed("the backup does not contain what its end says: use another one")


@contextmanager
def reading(source: str, identities: list[pyrage.x25519.Identity]) -> Iterator[ArchiveReader]:
    """Read the archive in the file `source`, or from the standard input for `-`. Raises BackupFailed and OSError.

    Only after the block has ended without an exception is it known that nothing was changed or is missing.
    """
    with _open_source(source) as file, decrypting(file, identities) as plain:
        yield ArchiveReader(plain)


@contextmanager
def _open_source(source: str) -> Iterator[BinaryIO]:
    if source == STANDARD_STREAM:
        yield sys.stdin.buffer
        return
    with Path(source).open("rb") as file:
        yield file


def _open_tar(plain: IO[bytes]) -> tarfile.TarFile:
    with suppress(tarfile.TarError, EOFError, OSError):
        return tarfile.open(fileobj=plain, mode="r|", bufsize=1 << 18)
    raise BackupFailed("this is no backup of Keyferry, or it is damaged: there is no archive in it")


def _next_member(tar: tarfile.TarFile) -> tarfile.TarInfo | None:
    try:
        return tar.next()
    except (tarfile.TarError, EOFError, UnicodeError):
        raise BackupFailed("the backup is damaged: use another one") from None
