"""The Secrets for the Helm chart: made once and kept, readable by their owner alone, and refused with a reason."""

import json
import stat
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from deploy.helm import render
from deploy.helm.secrets import main

ADMIN = "postgresql+psycopg://postgres:a-password@db:5432/keyferry?sslmode=verify-full"


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    admin = tmp_path / "admin.url"
    admin.write_text(ADMIN)
    places = ["--home", str(tmp_path / "home"), "--admin-url-file", str(admin), "--output", str(tmp_path / "out.json")]
    return [*places, "--workers", "2"]


def contents(path: Path) -> dict[str, dict[str, str]]:
    items = json.loads(path.read_text())["items"]
    return {item["metadata"]["name"]: item["stringData"] for item in items}


def test_the_table_of_the_chart_is_current() -> None:
    assert render.main(["--check"]) == 0


def test_a_later_run_keeps_every_secret_and_adds_workers(arguments: list[str], tmp_path: Path) -> None:
    assert main(arguments) == 0
    file = tmp_path / "out.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = contents(file)
    assert main([*arguments, "--workers", "3"]) == 0
    after = contents(file)
    assert set(json.loads(after["keyferry-key-vault"]["enrolled-workers.json"])) == {
        f"provider-worker-{n}" for n in (1, 2, 3)
    }
    del before["keyferry-key-vault"]["enrolled-workers.json"]
    assert all(after[name][key] == value for name, files in before.items() for key, value in files.items())
    assert {"3.nkey.seed", "3.identity-key"} <= set(after["keyferry-provider-worker"])


def test_services_get_the_servers_url_with_users_of_their_own(arguments: list[str], tmp_path: Path) -> None:
    assert main(arguments) == 0
    secrets = contents(tmp_path / "out.json")
    urls = {name: make_url(files["database.url"]) for name, files in secrets.items() if "database.url" in files}
    assert urls["keyferry-router"].username == "keyferry_router"
    assert {(url.host, url.query["sslmode"]) for url in urls.values()} == {("db", "verify-full")}
    assert len({url.password for url in urls.values()} | {"a-password"}) == len(urls) + 1
    assert [name for name, files in secrets.items() if any("a-password" in text for text in files.values())] == [
        "keyferry-provision"
    ]


def test_the_servers_of_nats_get_their_configuration(arguments: list[str], tmp_path: Path) -> None:
    assert main([*arguments, "--nats-server", "nats-0.nats", "--nats-server", "nats-1.nats"]) == 0
    files = contents(tmp_path / "out.json")["keyferry-nats"]
    assert set(files) == {"nats-1.conf", "nats-2.conf"}
    assert 'server_name: "nats-1.nats"' in files["nats-2.conf"]
    assert "tls://nats-0.nats:6222" in files["nats-2.conf"]
    assert "# provider-worker-2\n" in files["nats-1.conf"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--workers", "0"], "from 1 to 999"),
        (["--workers", "1000"], "from 1 to 999"),
        (["--prefix", "Key_Ferry"], "lower-case"),
        (["--prefix", "x" * 100_000], "lower-case"),
        (["--prefix", "a\x00b"], "lower-case"),
        (["--nats-server", 'a"b'], "--nats-server"),
        (["--nats-server", "a\x00b"], "--nats-server"),
    ],
)
def test_bad_arguments_are_refused_with_what_to_do(
    arguments: list[str], more: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main([*arguments, *more]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert len(error) < 1000
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize("text", ["", "no url", "postgresql+psycopg://postgres@db/", "\x00", "://:@/"])
def test_a_bad_url_is_refused_and_not_repeated(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "admin.url").write_text(text)
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert "admin" in error
    assert "Traceback" not in error
