"""PEM files of certificates: read, checked, and when they end."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

_MAX_BYTES = 1024 * 1024
EXPIRY_WARNING = timedelta(days=14)


class UnusableCertificate(ValueError):
    """A file with which no TLS connection can be made; the message names it and what is wrong."""


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """The certificate with which a process shows who it is, the issuer's certificates after its own, and its private key."""

    cert_file: Path
    key_file: Path


def load_authorities(context: ssl.SSLContext, path: Path) -> None:
    """Trust the authorities in a file. Raises UnusableCertificate."""
    text = _read(path)
    try:
        context.load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        raise UnusableCertificate(f"{path} holds no certificate in PEM format") from None


def load_own(context: ssl.SSLContext, files: CertificateFiles) -> None:
    """Use a certificate and its key. Raises UnusableCertificate."""
    _read(files.cert_file)
    _read(files.key_file)
    try:
        # A key with a passphrase would have OpenSSL ask on the terminal.
        context.load_cert_chain(files.cert_file, files.key_file, password=_refuse_passphrase)
    except UnusableCertificate:
        raise UnusableCertificate(f"the key in {files.key_file} has a passphrase: store it without one") from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            message = f"the key in {files.key_file} does not belong to the certificate in {files.cert_file}"
            raise UnusableCertificate(message) from None
        message = f"{files.cert_file} and {files.key_file} do not hold a certificate and its key in PEM format"
        raise UnusableCertificate(message) from None
    except OSError as error:
        raise UnusableCertificate(f"cannot read {files.cert_file} or {files.key_file}: {error.strerror}") from None


def expiry_of(path: Path) -> datetime:
    """Return when the first certificate of a file ends. Raises UnusableCertificate."""
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificate(_read(path).encode()).not_valid_after_utc
    except ValueError:
        raise UnusableCertificate(f"{path} holds no certificate in PEM format") from None


def describe_expiry(path: Path, expires_at: datetime, now: datetime | None = None) -> str | None:
    """Return a warning for an operator if the certificate ends within two weeks, or has ended."""
    left = expires_at - (now or datetime.now(UTC))
    if left > EXPIRY_WARNING:
        return None
    day = expires_at.strftime("%Y-%m-%d %H:%M UTC")
    if left <= timedelta(0):
        return f"the certificate in {path} expired on {day}: replace the file, no restart is needed"
    return f"the certificate in {path} expires on {day}: replace the file, no restart is needed"


def _refuse_passphrase() -> str:
    raise UnusableCertificate


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise UnusableCertificate(f"cannot read {path}: {error.strerror}") from None
    if len(data) > _MAX_BYTES:
        raise UnusableCertificate(f"{path} is too long to be a certificate or a key")
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:
        raise UnusableCertificate(f"{path} is not in PEM format") from None
