"""Where the tests and their servers keep temporary files."""

import os
import shutil
import tempfile
from pathlib import Path

_MEMORY_DISK = Path("/dev/shm")
_NEEDED_BYTES = 4 * 1024**3
"""Five times what a whole run was seen to hold at once."""


def keep_temporary_files_in_memory() -> None:
    """Let temporary files of this process and its children be in memory where the machine has plenty; TMPDIR overrides it.

    NATS syncs each message. On a disk that takes a millisecond, and seconds while another test's database is written or removed.
    """
    if "TMPDIR" not in os.environ and _is_roomy(_MEMORY_DISK):
        os.environ["TMPDIR"] = tempfile.tempdir = str(_MEMORY_DISK)


def _is_roomy(folder: Path) -> bool:
    if not os.access(folder, os.W_OK | os.X_OK):
        return False
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return shutil.disk_usage(folder).free >= _NEEDED_BYTES and memory_bytes >= 2 * _NEEDED_BYTES
