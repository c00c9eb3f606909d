"""What the launcher refuses before it starts anything: unusable homes, damaged files, invalid settings. Never a traceback."""

import math
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.embedded import __main__ as launcher
from deploy.embedded import preflight, secret_files, services
from deploy.embedded.errors import HomeUnusable
from deploy.embedded.home import Home
from deploy.embedded.launch import Launch
from deploy.embedded.terminal import Terminal
from keyferry.contracts import client_token
from keyferry.contracts.topology import users
from keyferry.runtime.process import home_lock
from keyferry.runtime.process.settings import ServiceSettings, SettingsError, load
from tests.support.servers.ports import find_free_port

Damage = Callable[[Path], object]


@pytest.fixture(scope="session")
def _made_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with every secret, as earlier runs leave it."""
    home = Home(tmp_path_factory.mktemp("made") / "home")
    home.prepare()
    for user in users(services.WORKER_SLOTS, [services.DEMO_CLIENT]):
        home.seed_file(user)
    addresses = services.Addresses(nats_url="nats://127.0.0.1:1", http_host="127.0.0.1", http_port=1)
    list(services.make_process_configs(home, addresses, {}))
    for name in ("admin", "router"):
        file = home.database_secrets / f"{name}.url"
        file.touch(mode=0o600)
        file.write_text("postgresql+psycopg://keyferry:secret@127.0.0.1:1/keyferry")
    (home.path / "pg18").mkdir()
    home.demo_token_file.touch(mode=0o600)
    home.demo_token_file.write_text(client_token.mint().reveal())
    return home.path


@pytest.fixture
def home(_made_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of a copy of that home, which KEYFERRY_HOME names."""
    path = tmp_path / "home"
    shutil.copytree(_made_home, path)
    for name in [name for name in os.environ if name.startswith("KEYFERRY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KEYFERRY_HOME", str(path))
    monkeypatch.setenv("KEYFERRY_HTTP_PORT", str(find_free_port()))
    return path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must fail before it starts anything; return what it printed."""
    status = launcher.main(arguments)
    printed = "".join(capsys.readouterr())
    assert status in (1, 3), printed
    assert "Starting Keyferry" not in printed, "nothing may be started"
    assert "Traceback" not in printed
    assert "unexpected" not in printed, printed
    return printed


def _replace_by_file(home: Path) -> None:
    shutil.rmtree(home)
    home.write_text("")


def _replace_by_link(home: Path) -> None:
    shutil.rmtree(home)
    home.symlink_to("nowhere")


def _replace_by_loop(home: Path) -> None:
    shutil.rmtree(home)
    home.symlink_to(home)


def _write(name: str, content: bytes) -> Damage:
    return lambda home: (home / name).write_bytes(content)


def _make_directory(name: str) -> Damage:
    def damage(home: Path) -> None:
        (home / name).unlink(missing_ok=True)
        (home / name).mkdir()

    return damage


def _make_file(name: str) -> Damage:
    def damage(home: Path) -> None:
        shutil.rmtree(home / name)
        (home / name).write_text("")

    return damage


def _chmod(name: str, mode: int) -> Damage:
    return lambda home: (home / name).chmod(mode)


def _remove_directory(name: str) -> Damage:
    return lambda home: shutil.rmtree(home / name)


DAMAGES: dict[str, tuple[Damage, str]] = {
    "home is a file": (_replace_by_file, "it is a file and not a directory"),
    "home is a dangling link": (_replace_by_link, "is a link to nowhere, which does not exist"),
    "home is a loop": (_replace_by_loop, "home"),
    "run is a file": (_make_file("run"), "run cannot be used: it is a file"),
    "log is a file": (_make_file("log"), "log cannot be used: it is a file"),
    "secrets is a file": (_make_file("secrets"), "secrets"),
    "lock is a directory": (_make_directory("lock"), "lock: Is a directory"),
    "state.json is a directory": (_make_directory("run/state.json"), "state.json: Is a directory"),
    "nats.port is a directory": (_make_directory("run/nats.port"), "nats.port: Is a directory"),
    "seed is garbage": (_write("secrets/nkeys/router.seed", b"garbage"), "router.seed holds no nkey seed"),
    "seed is empty": (_write("secrets/nkeys/operator.seed", b""), "operator.seed is empty"),
    "seed is binary": (_write("secrets/nkeys/operator.seed", b"\xff\xfe"), "operator.seed is not text"),
    "seed is short": (_write("secrets/nkeys/operator.seed", b"SUAJKBQ"), "operator.seed holds no nkey seed"),
    "admin.url is garbage": (_write("secrets/database/admin.url", b"garbage"), "admin.url holds no database URL"),
    "admin.url is binary": (_write("secrets/database/admin.url", b"\xff"), "admin.url holds no database URL"),
    "router.url is garbage": (_write("secrets/database/router.url", b"post"), "router.url holds no database URL"),
    "router.url has no password": (
        _write("secrets/database/router.url", b"postgresql://router:@127.0.0.1/keyferry"),
        "router.url holds no database URL",
    ),
    "intake key is short": (_write("secrets/vault/intake-key", b"AAAA"), "intake-key: the key has 3 bytes and not 32"),
    "intake key is garbage": (_write("secrets/vault/intake-key", b"!!"), "intake-key: the key cannot be read"),
    "public key is another's": (_write("secrets/vault/intake-key.pub", b"A" * 43), "is not the public half"),
    "public key is binary": (_write("secrets/vault/signing-key.pub", b"\xff"), "is not the public half"),
    "keyring is garbage": (_write("secrets/vault/keks", b"k1"), "keks"),
    "keyring is empty": (_write("secrets/vault/keks", b""), "keks"),
    "fingerprint key is short": (_write("secrets/vault/fingerprint-key", b"AAAA"), "fingerprint-key"),
    "deployment id is garbage": (_write("secrets/vault/deployment-id", b"a b"), "deployment-id"),
    "identity key is short": (_write("secrets/workers/provider-worker-1.key", b"AAAA"), "provider-worker-1.key"),
    "operator token is short": (_write("secrets/operator-token", b"short"), "operator-token is shorter"),
    "audit key is short": (_write("secrets/audit-key", b"AAAA"), "audit-key"),
    "pepper is empty": (_write("secrets/token-pepper", b""), "token-pepper is empty"),
    "a secret is readable": (_chmod("secrets/audit-key", 0o644), "other users may read secrets: "),
    "a secret is readable for its group": (_chmod("secrets/audit-key", 0o640), "other users may read secrets: "),
    "a restore did not finish": (
        _make_directory("unfinished-restore"),
        "remove that directory, and restore the backup again",
    ),
    "the database is gone": (
        _remove_directory("pg18"),
        "Put that directory back, or restore a backup into an empty home",
    ),
    "secrets are readable": (_chmod("secrets", 0o755), "chmod -R go-rwx"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_home_is_refused_before_anything_starts(
    name: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, expected = DAMAGES[name]
    damage(home)
    assert expected in refused(capsys, "up")


@pytest.mark.parametrize("slot", range(1, services.WORKER_SLOTS + 1))
def test_the_spool_of_every_worker_is_checked(slot: int, home: Path) -> None:
    _make_file(f"spool/worker-{slot}")(home)
    with pytest.raises(FileExistsError, match=f"worker-{slot}"):
        Launch(Home(home), os.environ, Terminal()).check()


_REWRITTEN = {"vault/enrolled-workers.json", "vault/grant-keys.json"}
"""What the launcher derives from other files, and writes anew when it differs."""


@pytest.mark.parametrize("content", [b"\xff\x00", b"", b"\n", b"abc", b"\x00" * 64, "é".encode() * 40, b"a b " * 20])
def test_every_secret_file_is_checked_by_its_form(content: bytes, home: Path) -> None:
    launch = Launch(Home(home), os.environ, Terminal())
    folder = home / "secrets"
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    assert len(files) >= 25
    for file in files:
        if str(file.relative_to(folder)) in _REWRITTEN or (file.name, content) == ("deployment-id", b"abc"):
            continue  # any short name is an installation's
        kept = file.read_bytes()
        file.write_bytes(content)
        with pytest.raises((HomeUnusable, SettingsError)) as damaged:
            launch.check()
        printed = str(damaged.value)
        assert str(file) in printed, printed
        assert not re.search(r"\w(?:Error|Exception)\b", printed), printed
        assert re.search(r"restore|put |remove|write|replace|want|give", printed, re.I), (
            f"there is no remedy: {printed}"
        )
        file.write_bytes(kept)
    launch.check()


@pytest.mark.parametrize("name", ["home is a file", "home is a dangling link", "home is a loop", "run is a file"])
@pytest.mark.parametrize("arguments", [("status",), ("down",), ("restart", "router")])
def test_no_command_shows_a_traceback_for_a_damaged_home(
    name: str, arguments: tuple[str, ...], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    DAMAGES[name][0](home)
    status = launcher.main(arguments)
    printed = "".join(capsys.readouterr())
    assert status == {"status": 3, "down": 0, "restart": 1}[arguments[0]], printed
    assert str(home) in printed
    assert "Traceback" not in printed
    assert "unexpected" not in printed


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\x00", b'{"http_url": 3}', b'{"processes": {"a": "b"}}'])
def test_a_stale_state_file_is_removed_and_not_read(content: bytes, home: Path) -> None:
    for name in ("state.json", "endpoints.json"):
        (home / "run" / name).write_bytes(content)
    Launch(Home(home), os.environ, Terminal()).check()
    assert not list((home / "run").glob("*.json"))


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("KEYFERRY_LOG_LEVEL", "loud", "no such log level"),
        ("KEYFERRY_EGRESS_ALLOW", "127.0.0.1/8", "write 127.0.0.0/8 for the whole network"),
        ("KEYFERRY_EGRESS_ALLOW", "everything", "no network"),
        ("KEYFERRY_HTTP_PORT", "http", "not a port"),
        ("KEYFERRY_HTTP_PORT", "0", "not a port"),
        ("KEYFERRY_HTTP_PORT", "²", "not a port"),
        ("KEYFERRY_CONSOLE_PORT", "70000", "not a port"),
        ("KEYFERRY_METRICS_PORT", "9464", "leave it out, or set 0 for no metrics"),
        ("KEYFERRY_HTTP_HOST", "no.such.host.invalid", "no address of this machine"),
        ("KEYFERRY_HTTP_HOST", "203.0.113.1", "no address of this machine"),
        ("KEYFERRY_DRAIN_SECONDS", "nan", "not a duration"),
        ("KEYFERRY_DRAIN_SECONDS", "-1", "not a duration"),
        ("KEYFERRY_KEK_PROVIDER", "paper", "KEYFERRY_KEK_PROVIDER"),
        ("KEYFERRY_KEK_PROVIDER", "env", "KEYFERRY_KEKS"),
        ("KEYFERRY_KEK_PROVIDER", "aws_kms", "KEYFERRY_AWS_KMS_KEY"),
        ("KEYFERRY_KEK_PROVIDER", "vault_transit", "KEYFERRY_VAULT_TRANSIT_URL"),
        ("KEYFERRY_LEASE_SECONDS", "0", "KEYFERRY_LEASE_SECONDS"),
        ("KEYFERRY_KEEP_ALIVE_SECONDS", "inf", "KEYFERRY_KEEP_ALIVE_SECONDS"),
        ("KEYFERRY_PROVIDER_URLS", "openai", "KEYFERRY_PROVIDER_URLS"),
        ("KEYFERRY_BYOK_TENANTS", "Not An Id", "KEYFERRY_BYOK_TENANTS"),
        ("KEYFERRY_BYOK_ENABLED", "perhaps", "KEYFERRY_BYOK_ENABLED"),
        ("KEYFERRY_CREDIT_LOW_USD", "much", "KEYFERRY_CREDIT_LOW_USD"),
        ("KEYFERRY_MAX_ATTEMPTS", "many", "KEYFERRY_MAX_ATTEMPTS"),
        ("KEYFERRY_CIRCUIT_WINDOW_SECONDS", "0", "KEYFERRY_CIRCUIT_WINDOW_SECONDS"),
        ("KEYFERRY_REQUEST_DEADLINE_SECONDS", "-5", "KEYFERRY_REQUEST_DEADLINE_SECONDS"),
        ("KEYFERRY_PRICE_FILE", "/nowhere.toml", "the price file /nowhere.toml"),
        ("KEYFERRY_PRICE_FILE", "/dev/null", "/dev/null"),
    ],
)
def test_an_invalid_setting_is_named_before_anything_starts(
    variable: str,
    value: str,
    expected: str,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(variable, value)
    printed = refused(capsys, "up")
    assert expected in printed
    assert variable.removeprefix("KEYFERRY_").split("_")[0] in printed.upper(), f"{home}: the setting is not named"


def _load(kind: type[ServiceSettings], field: str) -> tuple[str | None, object]:
    try:
        return None, getattr(load(kind), field)
    except SettingsError as error:
        return str(error), None


@pytest.mark.parametrize(
    "value", ["", " ", "garbage", "-1", "nan", "inf", "1e999", "²", "é\u202e", "[]", "{", "a" * 5_000]
)
def test_any_value_of_any_setting_is_accepted_or_named(value: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = services.Addresses(nats_url="nats://127.0.0.1:1", http_host="127.0.0.1", http_port=1)
    for row in services.SERVICES:
        kind = preflight.settings_class(row.name)
        environment = services.make_environment(row, 1, Home(home), addresses, {})
        environment["KEYFERRY_DATABASE_URL_FILE"] = environment["KEYFERRY_NATS_NKEY_FILE"]
        for name, set_to in environment.items():
            monkeypatch.setenv(name, set_to)
        for field in kind.model_fields:
            variable = f"KEYFERRY_{field.upper()}"
            with monkeypatch.context() as changed:
                changed.setenv(variable, value)
                refused, number = _load(kind, field)
                assert refused is None or variable in refused
                assert refused is None or "garbage" not in refused
                assert not isinstance(number, float) or math.isfinite(number), variable


def test_api_and_management_need_two_ports(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert home.is_dir()
    monkeypatch.setenv("KEYFERRY_CONSOLE_PORT", os.environ["KEYFERRY_HTTP_PORT"])
    assert "KEYFERRY_HTTP_PORT and KEYFERRY_CONSOLE_PORT are both" in refused(capsys, "up")


def test_a_full_disk_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = shutil.disk_usage(home)._replace(free=5 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert "only 5 MiB are free" in refused(capsys, "up")


@pytest.mark.parametrize(
    ("number", "remedy"), [(28, "Free up space"), (30, "Make it writable"), (13, "Run this as the user who owns it")]
)
def test_a_home_that_cannot_be_written_is_refused_with_a_remedy(
    number: int, remedy: str, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(path: Path) -> None:
        raise OSError(number, os.strerror(number), str(path / "lock"))

    monkeypatch.setattr(home_lock, "hold", fails)
    printed = refused(capsys, "up")
    assert f"{home / 'lock'}: {os.strerror(number)}. {remedy}" in printed


def test_an_intact_home_and_valid_settings_pass(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KEYFERRY_LOG_LEVEL", "debug")
    monkeypatch.setenv("KEYFERRY_EGRESS_ALLOW", "127.0.0.0/8, 10.1.2.3")
    before = dict(os.environ)
    Launch(Home(home), os.environ, Terminal()).check()
    assert dict(os.environ) == before
    assert capsys.readouterr().out == ""


def test_variables_without_effect_are_noted() -> None:
    notes = list(
        preflight.find_ignored_settings(
            {
                "KEYFERRY_HTTP_PROT": "1",
                "KEYFERRY_KEKS_FILE": "x",
                "KEYFERRY_NATS_URL": "x",
                "KEYFERRY_EGRESS_ALLOW": "",
                "PATH": "x",
            }
        )
    )
    assert notes == [
        "note: KEYFERRY_HTTP_PROT is no setting of this version; did you mean KEYFERRY_HTTP_PORT?",
        "note: KEYFERRY_KEKS_FILE has no effect here: `make up` sets it for each process",
    ]


@pytest.mark.parametrize(
    ("environment", "api_url", "origins"),
    [
        ({}, "http://127.0.0.1:1", "http://127.0.0.1:8401"),
        (
            {"KEYFERRY_CORS_ORIGINS": "https://app.example.com", "KEYFERRY_API_URL": "https://api.example.com"},
            "https://api.example.com",
            "https://app.example.com,http://127.0.0.1:8401",
        ),
        (
            {"KEYFERRY_PUBLIC_URL": "https://Keyferry.example.com/"},
            "http://127.0.0.1:1",
            "https://keyferry.example.com",
        ),
        ({"KEYFERRY_PUBLIC_URL": "no address", "KEYFERRY_CORS_ORIGINS": "*"}, "http://127.0.0.1:1", "*"),
    ],
)
def test_the_page_knows_the_gateway_which_allows_its_origin(
    home: Path, environment: dict[str, str], api_url: str, origins: str
) -> None:
    addresses = services.Addresses(nats_url="nats://127.0.0.1:1", http_host="127.0.0.1", http_port=1)
    by_service = {
        row.name: services.make_environment(row, 1, Home(home), addresses, environment) for row in services.SERVICES
    }
    assert by_service["console"]["KEYFERRY_API_URL"] == api_url
    assert by_service["ingress"]["KEYFERRY_CORS_ORIGINS"] == origins
    assert "KEYFERRY_API_URL" not in by_service["ingress"].keys() - environment.keys()


def test_each_setting_of_a_process_is_known_to_be_set_by_the_launcher(home: Path) -> None:
    addresses = services.Addresses(nats_url="nats://127.0.0.1:1", http_host="127.0.0.1", http_port=1)
    own = {name for row in services.SERVICES for name in services.make_environment(row, 1, Home(home), addresses, {})}
    from_the_operator = {
        "KEYFERRY_HTTP_HOST",
        "KEYFERRY_HTTP_PORT",
        "KEYFERRY_METRICS_HOST",
        "KEYFERRY_METRICS_PORT",
        "KEYFERRY_API_URL",
        "KEYFERRY_CORS_ORIGINS",
        "KEYFERRY_PUBLIC_URL",
    }
    assert own - from_the_operator == services.SET_BY_THE_LAUNCHER
    assert secret_files.PEPPER.setting in own
