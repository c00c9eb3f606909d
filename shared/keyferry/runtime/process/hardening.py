"""Blocks the exits by which a process's memory leaves it: for processes that hold keys.

It does not protect a key from whoever controls the host: nothing in the process can. See prctl(2), core(5).
"""

import ctypes
import logging
import resource
import sys

_log = logging.getLogger(__name__)

_PR_SET_DUMPABLE = 4


def harden() -> None:
    """No core dumps, and no attaching or reading of memory by processes of the same user. Children inherit the former.

    Where the kernel does not do it, the log says so: a missing second lock is no reason not to work.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not sys.platform.startswith("linux"):
        _log.warning("this system cannot keep other processes of the same user out of this one's memory")
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        _log.warning("the kernel refuses to keep other processes out of memory", extra={"errno": ctypes.get_errno()})
