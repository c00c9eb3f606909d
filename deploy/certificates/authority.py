"""Certificates of an installation: its authorities, and what they sign.

There are two authorities, because who shows a certificate of the one for `routes` is a node of the NATS cluster, which sees and
sends every message; all other certificates are of the authority for `services`. Keys are elliptic (P-256).
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_AUTHORITY_LIFE = timedelta(days=3650)
_CLOCK_DIFFERENCE = timedelta(minutes=5)
"""Between the machines of an installation: a certificate is valid a little before it is made."""
_MAX_NAME_CHARACTERS = 64
"""Of a common name (RFC 5280, appendix A.1)."""
_MAX_HOST_CHARACTERS = 253


class CertificateMistake(ValueError):
    """What was asked for makes no usable certificate; the message says what to do."""


class Authority(StrEnum):
    """Who signs."""

    SERVICES = "services"
    ROUTES = "routes"


@dataclass(frozen=True, slots=True)
class _Signer:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def authority_file(directory: Path, authority: Authority) -> Path:
    """Return the file that everybody who checks certificates of this authority needs."""
    return directory / f"{authority}-ca.pem"


def make_authorities(directory: Path, now: datetime | None = None) -> list[Path]:
    """Make both authorities, and return the files for everybody. Raises CertificateMistake if there are some already."""
    found = [path for one in Authority if (path := authority_file(directory, one)).exists()]
    if found:
        raise CertificateMistake(
            f"{found[0]} exists: another one in its place would make all its certificates worthless. Use another directory"
        )
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return [_make_authority(directory, one, now or datetime.now(UTC)) for one in Authority]


def issue(
    directory: Path,
    name: str,
    hosts: Sequence[str],
    *,
    authority: Authority = Authority.SERVICES,
    days: int = 365,
    now: datetime | None = None,
) -> tuple[Path, Path]:
    """Make `NAME.pem` and `NAME.key` in the directory of the authorities, and return both; former ones are replaced.

    `hosts` are DNS names and addresses under which a server is reached; a client needs none. Raises CertificateMistake.
    """
    _check_name(name)
    signer = _read_signer(directory, authority)
    now = now or datetime.now(UTC)
    if days < 1 or now + timedelta(days=days) > signer.certificate.not_valid_after_utc:
        raise CertificateMistake(
            f"{days} days are no life of a certificate: choose from 1 to what the authority has left"
        )
    key = ec.generate_private_key(ec.SECP256R1())
    uses = [ExtendedKeyUsageOID.CLIENT_AUTH] + ([ExtendedKeyUsageOID.SERVER_AUTH] if hosts else [])
    builder = (
        _begin(name, key, signer.certificate.subject, now, timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(_key_usage(signs=False), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()), critical=False)
    )
    if hosts:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False
        )
    return _write(directory, name, builder.sign(signer.key, hashes.SHA256()), key)


def _make_authority(directory: Path, authority: Authority, now: datetime) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = f"Keyferry {authority}"
    builder = (
        _begin(name, key, _subject(name), now, _AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs=True), critical=True)
    )
    _write(directory, f"{authority}-ca", builder.sign(key, hashes.SHA256()), key)
    return authority_file(directory, authority)


def _begin(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: x509.Name, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_subject(name))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_DIFFERENCE)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        pass
    letters = host.replace("-", "").replace(".", "").removeprefix("*")
    if not host or len(host) > _MAX_HOST_CHARACTERS or not letters.isalnum() or not letters.isascii():
        raise CertificateMistake(f"{host[:80]!r} is no host: give a DNS name or an address, without scheme and port")
    return x509.DNSName(host)


def _check_name(name: str) -> None:
    plain = name.replace("-", "").replace("_", "").replace(".", "")
    if not plain.isalnum() or not plain.isascii() or len(name) > _MAX_NAME_CHARACTERS or name.startswith((".", "-")):
        raise CertificateMistake(
            f"{name[:80]!r} is no name of a certificate: use up to 64 letters, digits, '-', '_' and '.'"
        )
    if name.endswith("-ca"):
        raise CertificateMistake(f"{name} is the name of an authority: choose one that does not end in -ca")


def _read_signer(directory: Path, authority: Authority) -> _Signer:
    path = authority_file(directory, authority)
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        key = serialization.load_pem_private_key(path.with_suffix(".key").read_bytes(), password=None)
    except OSError as error:
        raise CertificateMistake(
            f"there is no authority in {directory} ({error.strerror}: {error.filename}): `python -m deploy.certificates"
            f" authority {directory}` makes one"
        ) from None
    except (ValueError, TypeError):
        raise CertificateMistake(f"the authority in {directory} is damaged: restore it from a backup") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise CertificateMistake(
            f"the authority's key in {directory} is not that of {path.name}: restore both from a backup"
        )
    return _Signer(certificate, key)


def _write(
    directory: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> tuple[Path, Path]:
    """Replace each file as a whole, the key first. A server that reads them between the two keeps the former pair."""
    key_file, cert_file = directory / f"{name}.key", directory / f"{name}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _replace(key_file, private, 0o600)
    _replace(cert_file, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return cert_file, key_file


def _replace(path: Path, content: bytes, mode: int) -> None:
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
