"""What a system's processes use, read from /proc (proc(5))."""

import os
from dataclasses import dataclass
from pathlib import Path

from tests.support.system.process_tree import descendants

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class ResourceUsage:
    """Totals of all processes. Memory that several share counts once for each of them."""

    cpu_seconds: float
    resident_bytes: int


def resource_usage(root_pid: int) -> ResourceUsage:
    """Return the usage of a process and all its living descendants."""
    cpu_ticks = pages = 0
    for pid in {root_pid, *descendants(root_pid)}:
        process = Path("/proc") / str(pid)
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            pages += int((process / "statm").read_text().split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        cpu_ticks += int(fields[11]) + int(fields[12])
    return ResourceUsage(cpu_ticks / _TICKS_PER_SECOND, pages * _PAGE_BYTES)
