"""Protection of the memory of processes that hold keys: no core dumps, no debugger.

It does not protect a key from an attacker who controls the host; nothing in the process can. See prctl(2), core(5).
"""

import ctypes
import logging
import resource
import sys

_log = logging.getLogger(__name__)

_PR_SET_DUMPABLE = 4


def harden() -> None:
    """Disable core dumps, and access to the memory by processes of the same user. Children inherit the former.

    Where the kernel does not support it, log that and go on: this is defence in depth.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not sys.platform.startswith("linux"):
        _log.warning("this system cannot restrict access to this process's memory by other processes of the same user")
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        _log.warning(
            "the kernel did not restrict access to this process's memory",
            extra={"errno": ctypes.get_errno()},
        )
