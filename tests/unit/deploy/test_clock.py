"""A clock that cannot be right is named before anything is stored under its times."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deploy.embedded import clock
from deploy.embedded.errors import HomeUnusable
from deploy.embedded.home import Home

_NOW = datetime(2026, 12, 1, 12, tzinfo=UTC).timestamp()


def at(seconds: float) -> Callable[[], float]:
    return lambda: seconds


def home_used_at(tmp_path: Path, seconds: float, name: str = "log/router.log") -> Home:
    home = Home(tmp_path / "home")
    home.prepare()
    file = home.path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    os.utime(file, (seconds, seconds))
    return home


@pytest.mark.parametrize("name", ["lock", "log/router.log", "pg18/global/pg_control"])
def test_a_clock_that_was_set_back_is_refused(name: str, tmp_path: Path) -> None:
    home = home_used_at(tmp_path, _NOW, name)
    with pytest.raises(
        HomeUnusable, match=r"says 2026-11-30 12:00:00 UTC, but .* was written at 2026-12-01 12:00:00"
    ) as refused:
        clock.check(home, at(_NOW - 86_400))
    assert "timedatectl" in str(refused.value)
    assert f"touch {home.path / name}" in str(refused.value)


def test_a_clock_before_the_build_is_refused_even_in_a_new_home(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.prepare()
    with pytest.raises(HomeUnusable, match="says 1970-01-01 00:00:05 UTC, which is before this build was made"):
        clock.check(home, at(5.0))


@pytest.mark.parametrize("now", [_NOW - 299, _NOW, _NOW + 1e8])
def test_small_differences_and_long_pauses_are_no_error(now: float, tmp_path: Path) -> None:
    clock.check(home_used_at(tmp_path, _NOW), at(now))
