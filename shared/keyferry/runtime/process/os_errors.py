"""Errors of the operating system in plain text: which path, what is wrong, and what to do. Pure."""

import errno
from collections.abc import Mapping

_FREE_SPACE = "Free up space on that disk, and try again"
_OWNER = "Run this as the user who owns it, or choose another place"
_MOVE_AWAY = "Move it away, or choose another place"
_WRITABLE = "Make it writable, or choose another place"
_REMEDIES: Mapping[int, str] = {
    errno.ENOSPC: _FREE_SPACE,
    errno.EDQUOT: _FREE_SPACE,
    errno.EACCES: _OWNER,
    errno.EPERM: _OWNER,
    errno.EROFS: _WRITABLE,
    errno.EEXIST: _MOVE_AWAY,
    errno.ENOTDIR: "A part of that path is a file where a directory is needed: move it away, or choose another place",
    errno.EISDIR: "It is a directory where a file is needed: move it away",
    errno.ENOENT: "Create it, or choose another place",
    errno.ELOOP: "Its links lead to each other: remove them, or choose another place",
    errno.ENAMETOOLONG: "Choose a shorter path",
    errno.EMFILE: "Raise the limit of open files (`ulimit -n`)",
    errno.ENOTEMPTY: _MOVE_AWAY,
}


def describe_os_error(error: OSError) -> str:
    """Return the path, if there is one, and what is wrong with it, on one line."""
    what = error.strerror or type(error).__name__
    path = error.filename2 or error.filename
    return what if path is None else f"{path}: {what}"


def remedy_for(error: OSError) -> str:
    """Return what to do about the error; empty if that is not known."""
    return _REMEDIES.get(error.errno or 0, "")
