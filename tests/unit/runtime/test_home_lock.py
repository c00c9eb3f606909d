"""The lock of a home directory: who holds it, also after a crash and with a damaged file."""

import os
from pathlib import Path

import pytest

from keyferry.runtime.process import home_lock


def test_the_holder_is_known_while_it_holds_the_lock(tmp_path: Path) -> None:
    assert home_lock.find_holder(tmp_path) is None
    with home_lock.hold(tmp_path):
        assert home_lock.find_holder(tmp_path) == os.getpid()
        with pytest.raises(home_lock.HomeLocked) as locked, home_lock.hold(tmp_path):
            pass
        assert locked.value.pid == os.getpid()
    assert home_lock.find_holder(tmp_path) is None
    home_lock.wait_for_release(tmp_path)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff", b"-", b"99999999999"])
def test_a_damaged_file_does_not_hide_a_holder(content: bytes, tmp_path: Path) -> None:
    with home_lock.hold(tmp_path):
        (tmp_path / "lock").write_bytes(content)
        assert home_lock.find_holder(tmp_path) == home_lock.UNKNOWN_PID
    assert home_lock.find_holder(tmp_path) is None


def test_a_pid_of_another_program_is_no_holder(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(f"{os.getppid()}\n")
    assert home_lock.find_holder(tmp_path) is None


def test_a_holder_whose_files_cannot_be_listed_is_found_by_its_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home_lock, "_open_files", lambda _: None)
    with home_lock.hold(tmp_path):
        assert home_lock.find_holder(tmp_path) == os.getpid()
    assert home_lock.find_holder(tmp_path) is None
