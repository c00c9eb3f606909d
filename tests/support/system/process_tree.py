"""Which processes live, read from /proc."""

from pathlib import Path

_PROC = Path("/proc")


def alive(pid: int) -> bool:
    """Return whether the process runs; a zombie does not."""
    try:
        return _fields(pid)[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def frozen(pid: int) -> bool:
    """Return whether SIGSTOP has reached every thread of the process."""
    threads = (_PROC / str(pid) / "task").glob("*/stat")
    return all(_after_name(path)[0] == "T" for path in threads)


def descendants(pid: int) -> set[int]:
    """Return the children of a process, their children, and so on."""
    parents: dict[int, int] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int(_fields(int(entry.name))[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def _fields(pid: int) -> list[str]:
    """Return state, parent and the rest of /proc/<pid>/stat after the name, which may hold anything (proc(5))."""
    return _after_name(_PROC / str(pid) / "stat")


def _after_name(stat: Path) -> list[str]:
    return stat.read_text().rpartition(")")[2].split()
