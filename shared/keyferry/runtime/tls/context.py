"""TLS contexts whose files may be replaced while the process runs."""

import logging
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from keyferry.runtime.tls.certificates import (
    CertificateFiles,
    UnusableCertificate,
    describe_expiry,
    expiry_of,
    load_authorities,
    load_own,
)

_log = logging.getLogger(__name__)

_Stamp = tuple[tuple[int, int, int] | None, ...]


class ReloadingContext(ssl.SSLContext):
    """A context that reads its files again before a handshake if they have changed. Connections that are open stay.

    What cannot be used, such as a certificate whose key is not there yet, changes nothing: the last good files are used, and
    `problems` has the reason until the files can be read.
    """

    _files: tuple[Path, ...] = ()
    _build: Callable[[], ssl.SSLContext]
    _current: ssl.SSLContext
    _own_file: Path | None = None
    _problem: str | None = None
    _expires_at: datetime | None = None
    _stamp: _Stamp = ()

    @classmethod
    def of(
        cls, protocol: int, files: Sequence[Path], build: Callable[[], ssl.SSLContext], own_file: Path | None = None
    ) -> "ReloadingContext":
        """Return the context that `build` makes of `files`; `own_file` has the process's certificate.

        Raises UnusableCertificate.
        """
        self = cls(protocol)  # whose settings are not used: `_current` makes the connections
        self._files, self._build, self._own_file = tuple(files), build, own_file
        self._stamp = self._read_stamp()
        self._current = self._load()
        return self

    @property
    def expires_at(self) -> datetime | None:
        """When the process's own certificate ends; None without one."""
        return self._expires_at

    def problems(self) -> list[str]:
        """Read changed files, and return what an operator has to attend to: files that cannot be used, and a near end."""
        self._refresh()
        found = [] if self._problem is None else [f"{self._problem}; the former files are used"]
        if self._own_file is not None and self._expires_at is not None:
            found += filter(None, [describe_expiry(self._own_file, self._expires_at)])
        return found

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Begin a connection of an event loop with the files as they are now."""
        self._refresh()
        return self._current.wrap_bio(*args, **kwargs)

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        """Begin a connection of a plain socket with the files as they are now."""
        self._refresh()
        return self._current.wrap_socket(*args, **kwargs)

    def _refresh(self) -> None:
        stamp = self._read_stamp()
        if stamp == self._stamp:
            return
        try:
            self._current = self._load()
        except UnusableCertificate as error:
            if self._problem != str(error):
                _log.warning("replaced certificates cannot be used: %s", error)
            self._problem = str(error)
            return
        # Only now: a file that is replaced while another is read is read again.
        self._stamp = stamp
        self._problem = None
        _log.info("certificates were replaced", extra={"files": [str(path) for path in self._files]})

    def _load(self) -> ssl.SSLContext:
        context = self._build()
        if self._own_file is not None:
            with suppress(ModuleNotFoundError):  # a client that has no other use for `cryptography`
                self._expires_at = expiry_of(self._own_file)
        return context

    def _read_stamp(self) -> _Stamp:
        return tuple(_stamp_of(path) for path in self._files)


def server_context(files: CertificateFiles) -> ReloadingContext:
    """Return the context of a server: TLS 1.2 or later, HTTP/1.1. Raises UnusableCertificate."""

    def build() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        load_own(context, files)
        return context

    return ReloadingContext.of(
        ssl.PROTOCOL_TLS_SERVER, (files.cert_file, files.key_file), build, own_file=files.cert_file
    )


def client_context(ca_file: Path | None, own: CertificateFiles | None = None) -> ReloadingContext:
    """Return the context of a client that checks certificates and names: TLS 1.2 or later. Raises UnusableCertificate.

    Without `ca_file` the authorities of the operating system are trusted. `own` is for servers that require a certificate.
    """

    def build() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if ca_file is None:
            context.load_default_certs()
        else:
            load_authorities(context, ca_file)
        if own is not None:
            load_own(context, own)
        return context

    own_files = () if own is None else (own.cert_file, own.key_file)
    files = own_files if ca_file is None else (ca_file, *own_files)
    own_file = None if own is None else own.cert_file
    return ReloadingContext.of(ssl.PROTOCOL_TLS_CLIENT, files, build, own_file=own_file)


def _stamp_of(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
