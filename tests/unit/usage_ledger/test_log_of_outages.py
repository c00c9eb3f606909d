"""What the ledger's log says while PostgreSQL does not answer."""

import logging
from pathlib import Path

import pytest

from services.usage_ledger.app import LedgerDatabase
from services.usage_ledger.settings import LedgerSettings


def settings(directory: Path, url: str) -> LedgerSettings:
    file = directory / "url"
    file.write_text(url)
    return LedgerSettings(
        nats_url="nats://127.0.0.1:1", database_url_file=file, audit_key_file=file, credit_key_file=file
    )


@pytest.mark.parametrize(
    ("url", "servers"),
    [
        ("postgresql+psycopg://keeper:hush@pg-1:5432/keyferry", "pg-1:5432/keyferry"),
        ("postgresql+psycopg://keeper:hush@/keyferry?host=pg-1:5432&host=pg-2:5433", "pg-1:5432,pg-2:5433/keyferry"),
    ],
)
async def test_it_names_every_server(tmp_path: Path, caplog: pytest.LogCaptureFixture, url: str, servers: str) -> None:
    with caplog.at_level(logging.WARNING):
        LedgerDatabase(settings(tmp_path, url))._log_outage(now=100.0)
    assert f"PostgreSQL does not answer at {servers}: start it" in caplog.text
    assert "hush" not in caplog.text
