"""The settings of a run over some of the modules. Pure."""

from collections.abc import Sequence
from pathlib import PurePosixPath

_LIBRARY = "keyferry/"
"""In the copy of the tree that is changed; in the repository it is in `shared`."""


def is_within(file: str, paths: Sequence[str]) -> bool:
    """Return whether a file is one of these or in a folder of theirs; without any, every file is."""
    return not paths or any(PurePosixPath(file).is_relative_to(path) for path in paths)


def only_changing(paths: Sequence[str], settings: str) -> str:
    """Return mutmut's settings without the modules outside these paths. Raises ValueError if none is left."""
    head, start, rest = settings.partition("source_paths = [\n")
    modules, end, tail = rest.partition("]\n")
    kept = [line for line in modules.splitlines(keepends=True) if is_within(_in_repository(line.strip(' ",\n')), paths)]
    if not any('"' in line for line in kept):
        raise ValueError(f"mutmut.toml names no module in {' '.join(paths)}")
    return head + start + "".join(kept) + end + tail


def _in_repository(module: str) -> str:
    return f"shared/{module}" if module.startswith(_LIBRARY) else module
