"""Errors and display of settings, without their secrets."""

from ipaddress import ip_network
from pathlib import Path

import nkeys
import pytest
from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from keyferry.runtime.process.settings import (
    DatabaseSettings,
    Networks,
    ServiceSettings,
    SettingsError,
    load,
    read_nkey_seed,
    without_credentials,
)


@pytest.mark.parametrize(
    ("urls", "shown"),
    [
        ("nats://127.0.0.1:4222", "nats://127.0.0.1:4222"),
        ("nats://user:pass@bus:4222", "nats://bus:4222"),
        ("tls://token@bus:4222/x", "tls://bus:4222/x"),
        ("nats://u:p@ss@word@bus:4222", "nats://bus:4222"),
        ("nats://u:p@one:1, nats://u:p@two:2", "nats://one:1,nats://two:2"),
        ("user:pass@bus:4222", "bus:4222"),
        ("bus", "bus"),
    ],
)
def test_an_address_is_shown_without_credentials(urls: str, shown: str) -> None:
    assert without_credentials(urls) == shown


def test_a_secret_in_place_of_its_file_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYFERRY_NATS_URL", "nats://127.0.0.1:4222")
    monkeypatch.setenv("KEYFERRY_DATABASE_URL_FILE", "postgresql+psycopg://keyferry:hunter2@127.0.0.1/x")
    with pytest.raises(SettingsError) as refused:
        load(DatabaseSettings)
    assert "KEYFERRY_DATABASE_URL_FILE: there is no such file; set the path of a file that holds the secret" in str(
        refused.value
    )
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("level", ["loud", "NOTSET", "10", " "])
def test_an_unknown_log_level_is_named(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYFERRY_NATS_URL", "nats://127.0.0.1:4222")
    monkeypatch.setenv("KEYFERRY_LOG_LEVEL", level)
    with pytest.raises(
        SettingsError, match="KEYFERRY_LOG_LEVEL: there is no such log level: choose one of DEBUG, INFO"
    ):
        load(ServiceSettings)


@pytest.mark.parametrize("level", ["debug", "INFO", "Warning"])
def test_a_log_level_has_any_case(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYFERRY_NATS_URL", "nats://127.0.0.1:4222")
    monkeypatch.setenv("KEYFERRY_LOG_LEVEL", level)
    assert load(ServiceSettings).log_level == level.upper()


class _WithNetworks(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="KEYFERRY_")

    egress: Networks = ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1/8", "write 127.0.0.0/8 for the whole network"),
        ("10.0.0.0/8, fd00::1/8", "write fd00::/8 for the whole network"),
        ("10.0.0.0/33", "that is no network: write it like 192.168.0.0/16"),
        ("localhost", "that is no network"),
    ],
)
def test_an_invalid_network_is_named(text: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYFERRY_EGRESS", text)
    with pytest.raises(SettingsError) as invalid:
        load(_WithNetworks)
    assert "KEYFERRY_EGRESS: " in str(invalid.value)
    assert expected in str(invalid.value)


@pytest.mark.parametrize("text", ["", "127.0.0.0/8", " 10.0.0.0/8 ,fd00::/8, 192.168.1.7", "192.168.1.7/32"])
def test_networks_are_parsed(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYFERRY_EGRESS", text)
    assert load(_WithNetworks).egress == tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


@pytest.mark.parametrize(
    "content",
    [b"", b"garbage", b"\xff\xfe\x00", b"SUAKEYFERRY", b"SU" + b"A" * 56, b"\xd9\xa0" * 29, b"0" * 58],
)
def test_a_file_without_a_seed_is_named(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "user.seed"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=str(file)) as invalid:
        read_nkey_seed(file)
    assert "garbage" not in str(invalid.value)
    monkeypatch.setenv("KEYFERRY_NATS_URL", "nats://127.0.0.1:4222")
    monkeypatch.setenv("KEYFERRY_NATS_NKEY_FILE", str(file))
    with pytest.raises(SettingsError, match=str(file)):
        load(ServiceSettings).check_files()


def test_a_seed_is_returned_as_it_is(tmp_path: Path) -> None:
    seed = nkeys.encode_seed(bytes(32), nkeys.PREFIX_BYTE_USER)
    (tmp_path / "seed").write_bytes(seed + b"\n")
    assert read_nkey_seed(tmp_path / "seed").reveal() == seed.decode()


@pytest.mark.parametrize("host", ["localhost", "no\x00host", "é" * 300, "127.0.0.1:80", "127.1"])
def test_the_operations_port_listens_on_an_address_only(host: str) -> None:
    with pytest.raises(ValidationError, match="no IP address"):
        ServiceSettings(nats_url="nats://127.0.0.1", metrics_host=host)
    assert ServiceSettings(nats_url="nats://127.0.0.1", metrics_host="::1").metrics_host == "::1"
