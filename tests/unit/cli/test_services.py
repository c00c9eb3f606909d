"""`keyferry services create`: what is sent, what is written, and what is left when it fails."""

import json
from pathlib import Path

import pytest

from keyferry.cli import main, services
from keyferry.cli.installation import Installation
from keyferry.cli.problem import Problem
from keyferry.cli.session_file import SavedSession
from keyferry.client.credentials import read
from keyferry.contracts.internal_services import CreateInternalService, InternalService
from keyferry.contracts.secret import Secret
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.bus.requests import Refused
from tests.support.internal_services import create_command

HOME = Installation("nats://127.0.0.1:4222", None)


class Directory:
    """Stands for the bus: answers as the directory does, and notes what it was sent."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        *,
        refusal: str = "",
        applied: bool = True,
        session: SavedSession | None = None,
    ) -> None:
        self.sent: list[CreateInternalService] = []
        self.applied = 0
        self._refusal = refusal
        self._applies = applied
        monkeypatch.setattr(services, "locate", lambda: HOME)
        monkeypatch.setattr(services, "choose_session", lambda: session)
        monkeypatch.setattr(services, "_register", self.register)
        monkeypatch.setattr(services, "_apply", self.apply)

    def register(self, _: Installation | None, command: CreateInternalService) -> InternalService:
        self.sent.append(command)
        if self._refusal:
            raise Refused(ErrorCode.CONFLICT, self._refusal)
        return InternalService.model_validate(
            {**command.model_dump(exclude={"actor"}), "created_at": "2030-01-02T00:00:00Z", "created_by": "operator"}
        )

    def apply(self, _: Installation) -> None:
        self.applied += 1
        if not self._applies:
            raise Problem("no launcher listens", "Do it by hand")


def run(*arguments: str) -> int:
    return main.run(["services", "create", "crm", "--tenant", "acme", *arguments])


def test_secrets_are_in_the_file_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory, file = Directory(monkeypatch), tmp_path / "crm.json"
    assert run("--output", str(file), "--operation", "lead.write") == 0
    assert file.stat().st_mode & 0o777 == 0o600
    credentials = read(file)
    (sent,) = directory.sent
    assert (sent.nkey_public, sent.grant_public_key) == (credentials.nkey_public, credentials.grant_public_key)
    assert (sent.tenant, sent.name, sent.operations) == ("acme", "crm", ["lead.write"])
    shown = capsys.readouterr()
    for secret in (credentials.nkey_seed, credentials.grant_private_key):
        assert secret.reveal() in file.read_text()
        assert secret.reveal() not in shown.out + shown.err + sent.encode().decode()
    assert directory.applied == 1
    content = json.loads(file.read_text())
    assert (content["user"], content["inbox_prefix"]) == (
        "internal-client.acme.crm",
        "_INBOX_c.internal-client.acme.crm",
    )


def test_nothing_is_created_if_the_file_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory, there = Directory(monkeypatch), tmp_path / "there.json"
    there.write_text("somebody's")
    for file in (there, tmp_path / "no" / "such" / "folder.json"):
        assert run("--output", str(file)) == 1
    assert directory.sent == []
    assert there.read_text() == "somebody's"
    assert "Name a new file" in capsys.readouterr().err


def test_a_refused_registration_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory, file = Directory(monkeypatch, refusal="that name is in use"), tmp_path / "crm.json"
    assert run("--output", str(file)) == 1
    assert len(directory.sent) == 1
    assert not file.exists()
    assert directory.applied == 0
    assert "that name is in use" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["Crm", "a.b", "", "a b", "x" * 64, "*", "a\x00", "é"])
def test_an_invalid_name_creates_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    directory = Directory(monkeypatch)
    assert main.run(["services", "create", "--tenant", "acme", "--", name]) == 1
    assert directory.sent == []
    assert list(tmp_path.iterdir()) == []
    assert "cannot name a client" in capsys.readouterr().err


def test_a_created_service_is_kept_where_no_launcher_renders_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Directory(monkeypatch, applied=False)
    monkeypatch.chdir(tmp_path)
    assert run() == 0
    assert read(tmp_path / "acme-crm.credentials.json").user == "internal-client.acme.crm"
    assert "NATS accepts it once its users are rendered again" in capsys.readouterr().err


def test_credentials_are_shown_if_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Directory(monkeypatch)
    monkeypatch.chdir(tmp_path)
    assert run("--output", "-") == 0
    assert json.loads(capsys.readouterr().out)["nkey_seed"].startswith("SU")
    assert list(tmp_path.iterdir()) == []


def test_a_revocation_that_nats_does_not_know_of_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = Directory(monkeypatch, applied=False)
    created = directory.register(HOME, create_command())
    revoked = created.model_copy(update={"revoked_at": created.created_at, "revoked_by": "operator"})
    monkeypatch.setattr(services, "run", lambda *_, **__: revoked)
    assert main.run(["services", "revoke", "crm", "--tenant", "acme"]) == 1
    shown = capsys.readouterr()
    assert "revoked crm of acme" in shown.out
    assert "NATS still has its user and its connections" in shown.err


def test_a_member_names_the_bus_and_waits_for_no_launcher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    session = SavedSession("https://console.example.com", Secret("kfs_test"))
    directory, file = Directory(monkeypatch, session=session), tmp_path / "crm.json"
    assert run("--output", str(file)) == 1
    assert "--nats-url" in capsys.readouterr().err
    assert (directory.sent, file.exists()) == ([], False)
    assert run("--output", str(file), "--nats-url", "nats://bus.example.com:4222") == 0
    assert read(file).nats_url == "nats://bus.example.com:4222"
    assert (len(directory.sent), directory.applied) == (1, 0)
