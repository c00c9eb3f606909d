"""The sd_notify protocol, sending side."""

import secrets
import socket
from pathlib import Path

import pytest

from keyferry.runtime.process import notify


@pytest.mark.parametrize("abstract", [False, True])
def test_ready_and_stopping_reach_the_supervisor(monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    name = f"keyferry-test-{secrets.token_hex(8)}"
    address = f"@{name}" if abstract else f"/tmp/{name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address.replace("@", "\0", 1))
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        try:
            notify.ready()
            assert listener.recv(100) == b"READY=1"
            notify.stopping()
            assert listener.recv(100) == b"STOPPING=1"
        finally:
            if not abstract:
                Path(address).unlink()


def test_nothing_happens_without_a_notify_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify.ready()
    notify.stopping()


def test_a_missing_supervisor_does_not_prevent_a_drain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError):
        notify.ready()
    notify.stopping()
