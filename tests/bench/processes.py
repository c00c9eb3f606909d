"""What the kernel knows of a process and its descendants: processor time and memory (`proc(5)`)."""

import dataclasses
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.bench.failure import BenchError

_PROC = Path("/proc")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_US_PER_TICK = 1_000_000 // _TICKS_PER_SECOND


@dataclasses.dataclass(frozen=True)
class Stat:
    """The fields used of `/proc/<pid>/stat`. `start_ticks` distinguishes a process from a later one with the same id."""

    pid: int
    parent: int
    cpu_ticks: int
    start_ticks: int


def parse_stat(text: str) -> Stat:
    """Read one line of `/proc/<pid>/stat`; `cpu_ticks` is user and system time, its own and of children waited for.

    The command name stands in brackets and may itself hold brackets and spaces, so the fields count from the last one.
    """
    fields = text[text.rindex(")") + 2 :].split()
    return Stat(
        pid=int(text.split(" ", 1)[0]),
        parent=int(fields[1]),
        cpu_ticks=sum(int(field) for field in fields[11:15]),
        start_ticks=int(fields[19]),
    )


def read_all() -> dict[int, Stat]:
    """Return every process by id."""
    stats = (_read_stat(int(entry.name)) for entry in _PROC.iterdir() if entry.name.isdecimal())
    return {stat.pid: stat for stat in stats if stat is not None}


def family(pid: int) -> tuple[Stat, ...]:
    """Return a process and its current descendants; empty when it has ended."""
    stats = read_all()
    return tuple(stats[member] for member in members(pid, stats, ()))


def is_same(stat: Stat) -> bool:
    """Return whether the process seen in `stat` still runs under its id."""
    now = _read_stat(stat.pid)
    return now is not None and now.start_ticks == stat.start_ticks


def members(pid: int, stats: Mapping[int, Stat], others: Iterable[int]) -> list[int]:
    """Return the ids of a process and its descendants, except `others` and what is below them."""
    excluded = set(others) - {pid}
    found = [pid] if pid in stats else []
    for member in found:
        found += [stat.pid for stat in stats.values() if stat.parent == member and stat.pid not in excluded]
    return found


def cpu_us(named: Mapping[str, int]) -> dict[str, int]:
    """Processor time in microseconds since start, for each named process with the descendants that have no name.

    Raises:
        BenchError: a named process has ended, so that no difference to an earlier reading would mean anything.
    """
    stats = read_all()
    gone = [name for name, pid in named.items() if pid not in stats]
    if gone:
        raise BenchError(f"{', '.join(gone)} ended during the benchmark. See its log for the reason.")
    return {
        name: sum(stats[member].cpu_ticks for member in members(pid, stats, named.values())) * _US_PER_TICK
        for name, pid in named.items()
    }


def memory_bytes(named: Mapping[str, int]) -> dict[str, int]:
    """Proportional set size in bytes, grouped as in `cpu_us`; a page that several processes share is counted once."""
    stats = read_all()
    return {
        name: sum(_proportional_bytes(member) for member in members(pid, stats, named.values()))
        for name, pid in named.items()
    }


def parse_proportional_bytes(text: str) -> int:
    """Return the `Pss` line of `/proc/<pid>/smaps_rollup`, in bytes."""
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _proportional_bytes(pid: int) -> int:
    try:
        return parse_proportional_bytes((_PROC / str(pid) / "smaps_rollup").read_text())
    except (FileNotFoundError, ProcessLookupError):  # ended since the list was read
        return 0


def _read_stat(pid: int) -> Stat | None:
    try:
        return parse_stat((_PROC / str(pid) / "stat").read_text())
    except (FileNotFoundError, ProcessLookupError):  # ended since the list was read
        return None
