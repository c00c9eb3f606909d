"""Every command names what is wrong with the installation that it is given, and shows no traceback."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nkeys
import pytest

from keyferry.cli import main
from keyferry.runtime.process import home_lock

Damage = Callable[[Path], object]
COMMANDS = {
    "chat": ["hello"],
    "explain": ["req_00000000000000000000000001"],
    "trace": ["req_00000000000000000000000001"],
    "route": ["explain", "req_00000000000000000000000001"],
    "usage": [],
    "ops": ["analytics"],
    "slo": [],
    "requests": ["list"],
    "allowance": [],
    "recommend": ["list"],
    "estimate": ["--model", "echo", "--input-tokens", "5"],
    "credits": ["show", "acme"],
    "billing": ["packages", "acme"],
    "budgets": ["list"],
    "invoices": ["list"],
    "alerts": ["list"],
    "channels": ["list"],
    "webhooks": ["list"],
    "reports": ["list"],
    "integrations": ["list"],
    "reconcile": ["list"],
    "feedback": ["list"],
    "tokens": ["list"],
    "services": ["list"],
    "members": ["list"],
    "teams": ["list"],
    "login": [],
    "logout": [],
    "whoami": [],
    "tenants": ["list"],
    "tiers": [],
    "keys": ["list"],
    "vault": ["status"],
    "audit": ["verify"],
    "endpoints": ["list"],
    "preferences": ["show"],
    "health": ["list"],
    "models": [],
    "providers": ["list"],
    "prices": ["list"],
    "status": [],
    "doctor": [],
    "restart": ["router"],
    "dead-letters": ["list"],
    "ledger": ["partitions"],
    "backup": ["create", "file"],
    "restore": ["file", "--key", "key"],
}


_AT_THE_CONSOLE = ("login", "logout", "whoami")
"""They ask the console and no service on the bus, and need no seed; `test_console_address` has their tests."""
_OF_THE_INSTALLATION = ("backup", "restore")
"""They run a program of the installation, which needs no bus; `tests/unit/deploy/backup` has its tests."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home that seems to run on a port where nothing listens."""
    path = tmp_path / "home"
    seed = path / "secrets" / "nkeys" / "operator.seed"
    seed.parent.mkdir(parents=True)
    seed.write_bytes(nkeys.encode_seed(bytes(32), nkeys.PREFIX_BYTE_USER))
    (path / "run").mkdir()
    state = {"nats_url": "nats://127.0.0.1:1", "http_url": "http://127.0.0.1:1", "token_file": str(path / "token")}
    (path / "run" / "state.json").write_text(json.dumps(state | {"operator_nkey_file": str(seed)}))
    for name in ("KEYFERRY_NATS_URL", "KEYFERRY_NATS_NKEY_FILE", "KEYFERRY_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KEYFERRY_HOME", str(path))
    return path


def test_every_command_is_tried() -> None:
    assert set(COMMANDS) == set(main._COMMANDS)


def _state(content: bytes) -> Damage:
    return lambda home: (home / "run" / "state.json").write_bytes(content)


def _seed(content: bytes) -> Damage:
    return lambda home: (home / "secrets" / "nkeys" / "operator.seed").write_bytes(content)


def _file(home: Path) -> None:
    shutil.rmtree(home)
    home.write_text("")


def _dangling(home: Path) -> None:
    shutil.rmtree(home)
    home.symlink_to("nowhere")


def _state_directory(home: Path) -> None:
    (home / "run" / "state.json").unlink()
    (home / "run" / "state.json").mkdir()


DAMAGES: dict[str, tuple[Damage, str]] = {
    "no home": (shutil.rmtree, "it does not exist"),
    "a file": (_file, "home"),
    "a dangling link": (_dangling, "it does not exist"),
    "no run": (lambda home: shutil.rmtree(home / "run"), "nothing runs in"),
    "empty state": (_state(b""), "state.json is invalid"),
    "truncated state": (_state(b'{"nats_url": "nats://127'), "state.json is invalid"),
    "binary state": (_state(b"\xff\x00\xfe"), "state.json is invalid"),
    "state of another type": (_state(b"[1, 2]"), "state.json is invalid"),
    "state with wrong types": (_state(b'{"nats_url": 3, "processes": {"a": "b"}}'), "state.json is invalid"),
    "state is a directory": (_state_directory, "state.json: Is a directory"),
    "no seed": (lambda home: shutil.rmtree(home / "secrets"), "seed"),
    "garbage seed": (_seed(b"garbage"), "operator.seed holds no nkey seed"),
    "binary seed": (_seed(b"\xff\xfe"), "operator.seed holds no nkey seed"),
    "empty seed": (_seed(b""), "operator.seed holds no nkey seed"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"restart", *_AT_THE_CONSOLE, *_OF_THE_INSTALLATION}))
def test_a_damaged_home_is_named(command: str, damage: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    harm, expected = DAMAGES[damage]
    harm(home)
    status = main.run([command, *COMMANDS[command]])
    printed = "".join(capsys.readouterr())
    assert status == 1, printed
    assert expected in printed
    assert "->" in printed, "there is no remedy"
    assert "Traceback" not in printed
    assert "unexpected" not in printed


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("KEYFERRY_NATS_URL", "garbage", "garbage"),
        ("KEYFERRY_NATS_URL", "nats://127.0.0.1:99999", "127.0.0.1:99999"),
        ("KEYFERRY_NATS_URL", "http://127.0.0.1:1", "127.0.0.1:1"),
        ("KEYFERRY_NATS_URL", "nats://", "NATS"),
        ("KEYFERRY_NATS_URL", "nats://user:hunter2@127.0.0.1:1", "127.0.0.1:1"),
        ("KEYFERRY_NATS_NKEY_FILE", "/", "seed"),
        ("KEYFERRY_NATS_NKEY_FILE", "/nowhere", "seed"),
        ("KEYFERRY_NATS_NKEY_FILE", "/dev/null", "seed"),
        ("KEYFERRY_NATS_NKEY_FILE", "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY", "seed"),
    ],
)
@pytest.mark.parametrize("command", ["usage", "doctor", "status"])
def test_an_invalid_variable_is_named(
    command: str,
    variable: str,
    value: str,
    expected: str,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert home.is_dir()
    monkeypatch.setenv(variable, value)
    status = main.run([command])
    printed = "".join(capsys.readouterr())
    assert status == 1, printed
    assert expected in printed
    assert "Traceback" not in printed
    assert "unexpected" not in printed, printed
    assert "hunter2" not in printed
    assert "SUACSSL" not in printed


def test_a_running_launcher_without_its_files_is_noticed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(home / "run")
    with home_lock.hold(home):
        assert main.run(["usage"]) == 1
    printed = capsys.readouterr().err
    assert "runs in" in printed
    assert "`make down`, then `make up`" in printed
