"""The built page in memory: its files are read when they change, so that no request reads from the disk."""

import hashlib
import logging
import re
import stat
import time
from asyncio import Lock, to_thread
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from services.console.page.document import Document, make_document
from services.console.page.paths import ASSETS_PREFIX

_log = logging.getLogger(__name__)

INDEX = "index.html"
_DIGEST_NAME = ".digest"
"""Written by the build, last."""
_CHECK_SECONDS = 1.0
_ENCODINGS = {"br": ".br", "gzip": ".gz"}
"""By preference: the first that the client takes."""
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
"""Files of other kinds are not served."""
_ASSET = re.compile(r"[\"'](/assets/[^\"'?#\s]+)[\"']")

Signature = tuple[tuple[int, int, int] | None, ...]


class IncompletePage(Exception):
    """The folder has no whole page, or not any more."""


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file, as it is and compressed."""

    media_type: str
    content: bytes
    encoded: Mapping[str, bytes]
    etag: str


@dataclass(frozen=True, slots=True)
class BuiltPage:
    """A whole page: its document, and its files by path."""

    document: Document
    files: Mapping[str, PageFile]


class PageFiles:
    """The page in a folder. While another one is put there, the earlier one stays in force.

    Files of the earlier page are still served: a browser that has its document may ask for one of them at any time.
    """

    def __init__(self, folder: Path, config: Mapping[str, object], clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._config = config
        self._clock = clock
        self._page: BuiltPage | None = None
        self._own_files: Mapping[str, PageFile] = {}
        self._signature: Signature = ()
        self._check_at = 0.0
        self._reading = Lock()

    async def current(self) -> BuiltPage | None:
        """Return the page, read again if it has changed; None as long as there is none."""
        if self._clock() >= self._check_at:
            async with self._reading:
                if self._clock() >= self._check_at:
                    await self._check()
                    self._check_at = self._clock() + _CHECK_SECONDS
        return self._page

    async def _check(self) -> None:
        signature = _signature(self._folder)
        if signature == self._signature or signature[0] is None:
            return
        try:
            page = await to_thread(read_page, self._folder, self._config)
        except (IncompletePage, OSError, ValueError) as error:
            _log.warning("the page cannot be read", extra={"folder": str(self._folder), "reason": str(error)})
            return
        if _signature(self._folder) == signature:  # else it was replaced meanwhile, and is read once more
            earlier, self._own_files = self._own_files, page.files
            self._page = BuiltPage(page.document, {**earlier, **page.files})
            self._signature = signature


def read_page(folder: Path, config: Mapping[str, object]) -> BuiltPage:
    """Read a built page. Raises IncompletePage, OSError, and ValueError for a document that is not UTF-8."""
    html = (folder / INDEX).read_text(encoding="utf-8")
    files = {f"/{path.relative_to(folder).as_posix()}": path for path in sorted(folder.rglob("*")) if _is_served(path)}
    missing = {*_ASSET.findall(html)} - files.keys()
    if missing:
        raise IncompletePage(f"{INDEX} names {len(missing)} files that are not there")
    return BuiltPage(make_document(html, config), {name: _read_file(path) for name, path in files.items()})


def is_immutable(path: str) -> bool:
    """Return whether a file's name changes with its content."""
    return path.startswith(ASSETS_PREFIX)


def _is_served(path: Path) -> bool:
    known = path.suffix in _MEDIA_TYPES and not any(part.startswith(".") for part in path.parts[-2:])
    return known and stat.S_ISREG(path.lstat().st_mode)


def _read_file(path: Path) -> PageFile:
    content = path.read_bytes()
    encoded = {}
    for encoding, suffix in _ENCODINGS.items():
        beside = path.with_name(path.name + suffix)
        if beside.is_file():
            encoded[encoding] = beside.read_bytes()
    return PageFile(_MEDIA_TYPES[path.suffix], content, encoded, hashlib.sha256(content).hexdigest()[:32])


def _signature(folder: Path) -> Signature:
    """Return what changes whenever the page does; the first part is None if there is no page."""
    return tuple(_stat(folder / name) for name in (INDEX, _DIGEST_NAME))


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
