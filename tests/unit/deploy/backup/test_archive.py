"""The file of a backup: encrypted, complete or refused, and never unpacked beyond what a backup has."""

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyrage
import pytest

from deploy.backup import encryption, restore
from deploy.backup.archive import PART_BYTES, PartWriter, reading, writing
from deploy.backup.errors import BackupFailed
from deploy.backup.manifest import END, MANIFEST, BackupEnd, BackupManifest
from deploy.embedded.home import Home
from keyferry.contracts.secret import Secret

_SECRET = b"sk-proj-in-plain-text"


@pytest.fixture(scope="module")
def identity() -> pyrage.x25519.Identity:
    return pyrage.x25519.Identity.generate()


def manifest(**changes: object) -> bytes:
    values = {
        "format": 1,
        "version": "0.1.0",
        "created_at": "2026-12-01T00:00:00Z",
        "database": "keyferry",
        "postgres_major": 18,
        "schemas": {},
        "streams": [],
    }
    return BackupManifest.model_validate(values | changes).model_dump_json().encode()


def write(file: Path, identity: pyrage.x25519.Identity) -> None:
    with writing(str(file), [identity.to_public()]) as archive:
        archive.add(MANIFEST, manifest())
        archive.add("secrets/vault/keks", _SECRET)
        archive.add("streams/AUDIT/stream.json", b"{}")
        parts = PartWriter(archive, "database")
        parts.write(bytes(PART_BYTES) + b"end of the dump")
        parts.close()


def craft(file: Path, identity: pyrage.x25519.Identity, *members: tarfile.TarInfo | tuple[str, bytes]) -> None:
    """Encrypt an archive as a stranger could who knows the recipient."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            tar.addfile(info, io.BytesIO(member[1]))
    file.write_bytes(pyrage.encrypt(plain.getvalue(), [identity.to_public()]))


def test_what_is_written_is_encrypted_private_and_read_back(tmp_path: Path, identity: pyrage.x25519.Identity) -> None:
    file = tmp_path / "backup.age"
    write(file, identity)
    assert file.stat().st_mode & 0o777 == 0o600
    assert _SECRET not in file.read_bytes()
    with reading(str(file), [identity]) as archive:
        assert archive.read_manifest().version == "0.1.0"
        found = dict(archive.members())
    assert found["secrets/vault/keks"] == _SECRET
    assert b"".join(content for name, content in found.items() if name.startswith("database/")).endswith(b"of the dump")
    contents = restore.verify(str(file), [identity])
    assert contents.members == {"secrets": 1, "streams": 1, "database": 2}


def _truncated(content: bytes) -> bytes:
    return content[:-1]


def _half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _changed(content: bytes) -> bytes:
    return content[: len(content) // 2] + bytes([content[len(content) // 2] ^ 1]) + content[len(content) // 2 + 1 :]


def _extended(content: bytes) -> bytes:
    return content + b"x"


@pytest.mark.parametrize("harm", [_truncated, _half, _changed, _extended, lambda _: b"", lambda _: bytes(5000)])
def test_a_damaged_backup_is_refused_and_leaves_an_empty_home(
    harm: Callable[[bytes], bytes], tmp_path: Path, identity: pyrage.x25519.Identity
) -> None:
    file = tmp_path / "backup.age"
    write(file, identity)
    file.write_bytes(harm(file.read_bytes()))
    with pytest.raises(BackupFailed, match="use another one"):
        restore.verify(str(file), [identity])


def test_another_key_does_not_open_it(tmp_path: Path, identity: pyrage.x25519.Identity) -> None:
    file = tmp_path / "backup.age"
    write(file, identity)
    with pytest.raises(BackupFailed, match="made for another one"):
        restore.verify(str(file), [pyrage.x25519.Identity.generate()])


def _link(kind: bytes) -> tarfile.TarInfo:
    link = tarfile.TarInfo("secrets/link")
    link.type, link.linkname = kind, "/etc/passwd"
    return link


@pytest.mark.parametrize(
    "hostile",
    [
        ("secrets/../../outside", b""),
        ("/etc/passwd", b""),
        ("secrets/.hidden", b""),
        ("secrets/a\x01b", b""),
        ("secrets/ü", b""),
        ("secrets/" + "x/" * 20 + "y", b""),
        ("secrets/" + "x" * 300, b""),
        _link(tarfile.SYMTYPE),
        _link(tarfile.LNKTYPE),
        _link(tarfile.FIFOTYPE),
        _link(tarfile.DIRTYPE),
    ],
)
async def test_a_restore_writes_nothing_outside_the_home(
    hostile: tarfile.TarInfo | tuple[str, bytes], tmp_path: Path, identity: pyrage.x25519.Identity
) -> None:
    file = tmp_path / "backup.age"
    craft(file, identity, (MANIFEST, manifest()), hostile)
    home = Home(tmp_path / "home")
    with pytest.raises(BackupFailed, match="a member that no backup has"):
        await restore.restore(str(file), [identity], home, lambda _: None)
    assert not list(restore._data_of(home))
    assert not home.unfinished_restore.exists()
    assert sorted(os.listdir(tmp_path)) == ["backup.age", "home"]  # noqa: PTH208 - in an async function


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("other.json", b"{}")], "no manifest"),
        ([], "no manifest"),
        ([(MANIFEST, b"\xff\x00")], "invalid manifest"),
        ([(MANIFEST, b'{"format": "sk-proj-abc"}')], "invalid manifest"),
        ([(MANIFEST, manifest(format=2))], "format 2, which this build does not know"),
        ([(MANIFEST, manifest()), ("secrets/a", b"a")], "has no end"),
        ([(MANIFEST, manifest()), (END, b"{}")], "what its end says"),
        (
            [(MANIFEST, manifest()), (END, BackupEnd(members=1, sha256="0").model_dump_json().encode())],
            "what its end says",
        ),
    ],
)
def test_an_archive_that_is_no_backup_is_refused(
    members: list[tuple[str, bytes]], message: str, tmp_path: Path, identity: pyrage.x25519.Identity
) -> None:
    file = tmp_path / "backup.age"
    craft(file, identity, *members)
    with pytest.raises(BackupFailed, match=message) as refused:
        restore.verify(str(file), [identity])
    assert "sk-proj" not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schemas": {"router": ["9999", None]}}, "tables of router that this build does not know"),
        ({"schemas": {"router": ["0001", "another digest"]}}, "tables of router that this build does not know"),
        ({"database": "elsewhere"}, "a database named 'elsewhere'"),
    ],
)
async def test_a_backup_of_a_newer_build_is_refused_before_anything_is_made(
    changes: dict[str, object], message: str, tmp_path: Path, identity: pyrage.x25519.Identity
) -> None:
    file = tmp_path / "backup.age"
    craft(file, identity, (MANIFEST, manifest(**changes)))
    home = Home(tmp_path / "home")
    with pytest.raises(BackupFailed, match=message):
        await restore.restore(str(file), [identity], home, lambda _: None)
    assert not home.unfinished_restore.exists()


async def test_a_home_with_data_is_not_overwritten(tmp_path: Path, identity: pyrage.x25519.Identity) -> None:
    file = tmp_path / "backup.age"
    write(file, identity)
    home = Home(tmp_path / "home")
    home.prepare()
    home.seed_file("operator")
    with pytest.raises(BackupFailed, match=r"not empty: there is secrets/nkeys/operator\.seed"):
        await restore.restore(str(file), [identity], home, lambda _: None)
    with home.lock(), pytest.raises(BackupFailed, match="`make down`"):
        await restore.restore(str(file), [identity], home, lambda _: None)


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_backup_that_is_not_finished_leaves_no_file(
    failure: BaseException, tmp_path: Path, identity: pyrage.x25519.Identity
) -> None:
    file = tmp_path / "backup.age"

    def fail() -> None:
        with writing(str(file), [identity.to_public()]) as archive:
            archive.add("secrets/a", b"a")
            raise failure

    with pytest.raises(type(failure)):
        fail()
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_reported_as_such(identity: pyrage.x25519.Identity) -> None:
    def fill() -> None:
        with Path("/dev/full").open("wb") as full, encryption.encrypting(full, [identity.to_public()]) as plain:
            plain.write(bytes(100 << 20))

    with pytest.raises(OSError, match="No space left"):
        fill()


def test_an_existing_file_is_not_replaced(tmp_path: Path, identity: pyrage.x25519.Identity) -> None:
    file = tmp_path / "backup.age"
    file.write_text("precious")
    with pytest.raises(BackupFailed, match="exists"), writing(str(file), [identity.to_public()]):
        pass
    assert file.read_text() == "precious"


@pytest.mark.parametrize("name", ["secrets/.a", "../a", "secrets/a b", "secrets/\ud800", "secrets/a\0b", ""])
def test_a_file_that_no_restore_would_accept_is_named_at_once(
    name: str, tmp_path: Path, identity: pyrage.x25519.Identity
) -> None:
    with (
        pytest.raises(BackupFailed, match="cannot be in a backup"),
        writing(str(tmp_path / "backup.age"), [identity.to_public()]) as archive,
    ):
        archive.add(name, b"")


# --- keys


@pytest.fixture
def ask_nobody() -> Callable[[], Secret]:
    def fail() -> Secret:
        raise AssertionError("a passphrase was asked for")

    return fail


def test_a_key_opens_what_was_made_for_its_recipient(tmp_path: Path, ask_nobody: Callable[[], Secret]) -> None:
    key = tmp_path / "key"
    recipient = encryption.parse_recipient(encryption.make_identity(key, None))
    assert key.stat().st_mode & 0o777 == 0o600
    (identity,) = encryption.read_identities(key, ask_nobody)
    assert pyrage.decrypt(pyrage.encrypt(b"x", [recipient]), [identity]) == b"x"
    with pytest.raises(BackupFailed, match="exists"):
        encryption.make_identity(key, None)


def test_a_key_can_be_encrypted_with_a_passphrase(tmp_path: Path) -> None:
    key = tmp_path / "key"
    recipient = encryption.make_identity(key, Secret("correct horse"))
    assert key.stat().st_mode & 0o777 == 0o600
    assert b"AGE-SECRET" not in key.read_bytes()
    (identity,) = encryption.read_identities(key, lambda: Secret("correct horse"))
    assert str(identity.to_public()) == recipient
    for wrong in ("wrong", "", "\ud800"):
        with pytest.raises(BackupFailed, match="passphrase does not open"):
            encryption.read_identities(key, lambda wrong=wrong: Secret(wrong))  # type: ignore[misc]


@pytest.mark.parametrize(
    "text", ["", "age1", "age1\0", "age1" + "q" * 58, "AGE-SECRET-KEY-1QQQ", "x" * 10_000, "age1\ud800"]
)
def test_what_is_no_recipient_is_refused(text: str) -> None:
    with pytest.raises(BackupFailed, match="make-key") as refused:
        encryption.parse_recipient(text)
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize("content", [b"", b"\0\xff", b"AGE-SECRET-KEY-1" + b"Q" * 60, bytes(range(256)) * 400])
def test_what_is_no_key_is_refused(content: bytes, tmp_path: Path, ask_nobody: Callable[[], Secret]) -> None:
    key = tmp_path / "key"
    key.write_bytes(content)
    with pytest.raises(BackupFailed, match="no key that opens backups"):
        encryption.read_identities(key, ask_nobody)
