"""Settings of a service that has an HTTP server."""

from pydantic import Field

from keyferry.runtime.http.limits import ConnectionLimits
from keyferry.runtime.process.settings import CertificateFile, SecretFile, ServiceSettings, SettingsError
from keyferry.runtime.tls.certificates import CertificateFiles, UnusableCertificate
from keyferry.runtime.tls.context import ReloadingContext, server_context

_DEFAULTS = ConnectionLimits()


class HttpSettings(ServiceSettings):
    """Where the server listens, and what a client may hold before it is authenticated."""

    http_host: str = "127.0.0.1"
    tls_cert_file: CertificateFile | None = None
    """The server's certificate and those of its issuers; with `tls_key_file` it makes the server speak https only."""
    tls_key_file: SecretFile | None = None
    max_head_bytes: int = Field(default=_DEFAULTS.head_bytes, ge=1024, le=1024 * 1024)
    """Largest request line and headers together."""
    head_timeout_seconds: float = Field(default=_DEFAULTS.head_timeout_seconds, gt=0)
    """The longest time in which a client may send them."""
    idle_timeout_seconds: float = Field(default=_DEFAULTS.idle_timeout_seconds, gt=0)
    """How long a connection may stay open between two requests."""
    write_timeout_seconds: float = Field(default=_DEFAULTS.write_timeout_seconds, gt=0)
    """How long a client that has an answer waiting may take none of it."""
    max_connections: int = Field(default=_DEFAULTS.connections, ge=1)
    """Open connections in all."""
    max_connections_per_address: int = Field(default=_DEFAULTS.connections_per_address, ge=0)
    """Open connections of one IPv4 address or one IPv6 /64; 0 for no limit."""

    def check_files(self) -> None:
        """Check the certificate as well. Raises SettingsError."""
        super().check_files()
        self.server_tls()

    def server_tls(self) -> ReloadingContext | None:
        """Return the server's TLS context; None without TLS. Raises SettingsError."""
        if self.tls_cert_file is None and self.tls_key_file is None:
            return None
        if self.tls_cert_file is None or self.tls_key_file is None:
            raise SettingsError("KEYFERRY_TLS_CERT_FILE and KEYFERRY_TLS_KEY_FILE belong together: set both or neither")
        try:
            return server_context(CertificateFiles(self.tls_cert_file, self.tls_key_file))
        except UnusableCertificate as error:
            raise SettingsError(f"KEYFERRY_TLS_CERT_FILE: {error}") from None

    def connection_limits(self) -> ConnectionLimits:
        """Return the limits for the HTTP server."""
        return ConnectionLimits(
            head_bytes=self.max_head_bytes,
            head_timeout_seconds=self.head_timeout_seconds,
            idle_timeout_seconds=self.idle_timeout_seconds,
            write_timeout_seconds=self.write_timeout_seconds,
            connections=self.max_connections,
            connections_per_address=self.max_connections_per_address,
        )
