"""The files of the repository as they are in the working tree, without asking git: tests must need only Python."""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
_NOT_OURS = frozenset({".git", ".venv", ".keyferry", "__pycache__", "build", "dist", "node_modules"})
_CACHES = "_cache"


def repository_files() -> Iterator[Path]:
    """Yield every file that could be committed, relative to the root, in a fixed order."""
    yield from _below(ROOT)


def _below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name in _NOT_OURS or path.name.endswith(_CACHES) or path.suffix == ".pyc" or path.is_symlink():
            continue
        if path.is_dir():
            if path.name != ".hypothesis":
                yield from _below(path)
        else:
            yield path.relative_to(ROOT)
