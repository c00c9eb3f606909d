"""Whether this machine's clock can be right. Ids, prices, retention, certificates and limits depend on it."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from deploy.embedded.errors import HomeUnusable
from deploy.embedded.home import Home

_BUILT_AFTER = datetime(2026, 1, 1, tzinfo=UTC)
_TOLERATED_SECONDS = 300.0
"""Clocks that are set by the network differ by less."""
_SET_IT = "Set the clock (`timedatectl` shows it, and whether it is set by the network), then start again"


def check(home: Home, now: Callable[[], float] = time.time) -> None:
    """Check the clock against this build and against what the last run has written. Raises HomeUnusable and OSError."""
    current = datetime.fromtimestamp(now(), UTC)
    if current < _BUILT_AFTER:
        raise HomeUnusable(
            f"this machine's clock says {_text(current)}, which is before this build was made. {_SET_IT}"
        )
    newest = max(_changes(home), key=lambda change: change[0], default=None)
    if newest is not None and newest[0] - now() > _TOLERATED_SECONDS:
        written = datetime.fromtimestamp(newest[0], UTC)
        raise HomeUnusable(
            f"this machine's clock says {_text(current)}, but {newest[1]} was written at {_text(written)}. {_SET_IT}. If the"
            f" clock was wrong then and is right now, `touch {newest[1]}`: records of that time keep the times that they have"
        )


def _changes(home: Home) -> Iterator[tuple[float, Path]]:
    """Yield when each file was written that every run writes."""
    files = [home.path / "lock", *home.log.glob("*.log"), *home.path.glob("pg[0-9]*/global/pg_control")]
    for file in files:
        try:
            yield file.stat().st_mtime, file
        except FileNotFoundError:
            continue


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
