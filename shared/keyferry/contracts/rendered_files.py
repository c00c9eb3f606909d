"""Files that are rendered from the code and committed: which of them are out of date, and writing them."""

from collections.abc import Mapping
from pathlib import Path


def find_drift(root: Path, files: Mapping[Path, str], whole_folder: Path | None = None) -> list[Path]:
    """Return the files below `root` that differ from `files` or are missing.

    In `whole_folder` there may be no other JSON file than these: one is returned as well.
    """
    different = [path for path, text in files.items() if _read(root / path) != text]
    present = [] if whole_folder is None else [path.relative_to(root) for path in (root / whole_folder).glob("*.json")]
    return sorted(different + [path for path in present if path not in files])


def write(root: Path, files: Mapping[Path, str], whole_folder: Path | None = None) -> list[Path]:
    """Make the files below `root` equal to `files`, and remove others from `whole_folder`; return those that were changed."""
    changed = find_drift(root, files, whole_folder)
    for path in changed:
        target = root / path
        if path not in files:
            target.unlink()
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(files[path], encoding="utf-8")
    return changed


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None
