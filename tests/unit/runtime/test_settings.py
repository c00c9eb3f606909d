"""Errors and display of settings, without their secrets."""

import pytest

from keyferry.runtime.process.settings import DatabaseSettings, SettingsError, load, without_credentials


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
