"""Settings of a process, read once from `KEYFERRY_*` variables; secrets come only from files."""

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from keyferry.contracts.envelope import describe
from keyferry.contracts.secret import Secret
from keyferry.runtime.process.logs import LEVELS
from keyferry.runtime.tracing.sampling import TraceOptions
from keyferry.sealing.grant import GrantSigner, UnusableGrantKey, signer_of
from keyferry.sealing.nkey_seed import NotAnNkeySeed, parse_nkey_seed


class CannotStart(Exception):
    """A restart will not help until the operator changes something; the message says what."""


class SettingsError(CannotStart):
    """Invalid environment variables; the message names each one and what is wrong with it."""


def _existing(path: Path) -> Path:
    try:
        found = path.is_file()
    except (OSError, ValueError):  # too long to be a path
        found = False
    if not found:
        # The value is not repeated: a secret itself is easily set in place of the path of its file.
        raise ValueError("there is no such file; set the path of a file that holds the secret")
    return path


SecretFile = Annotated[Path, AfterValidator(_existing)]


def _existing_certificate(path: Path) -> Path:
    try:
        return _existing(path)
    except ValueError:
        raise ValueError("there is no such file; set the path of a file in PEM format") from None


CertificateFile = Annotated[Path, AfterValidator(_existing_certificate)]
"""Certificates, which are not secret."""


def _parse_networks(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(_parse_network(part.strip()) for part in value.split(",") if part.strip())


def _parse_network(text: str) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError("that is no network: write it like 192.168.0.0/16, several separated by commas") from None
    try:
        return ip_network(text)
    except ValueError:
        raise ValueError(f"that is an address inside a network: write {network} for the whole network") from None


Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_parse_networks)]
"""Networks in CIDR notation, separated by commas."""


def _address(text: str) -> str:
    try:
        ip_address(text)
    except ValueError:
        raise ValueError(
            "that is no IP address: use one of this machine, such as 127.0.0.1, or 0.0.0.0 for all of them"
        ) from None
    return text


ListenAddress = Annotated[str, AfterValidator(_address)]
"""An IP address to listen on: looking a name up would block the process."""


def _known_level(text: str) -> str:
    if text.upper() not in LEVELS:
        raise ValueError(f"there is no such log level: choose one of {', '.join(LEVELS)}")
    return text.upper()


LogLevel = Annotated[str, AfterValidator(_known_level)]

_RANDOM_CHARACTERS = 32
"""A shorter secret was probably typed by hand or cut off, and could be guessed."""

S = TypeVar("S", bound=BaseSettings)


def read_secret(path: Path) -> Secret:
    """Return the text of a secret file without surrounding white space. Raises SettingsError when it is empty or unreadable."""
    try:
        text = path.read_text().strip()
    except OSError as error:
        raise SettingsError(f"cannot read the secret file {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"the secret file {path} is not text: restore it from a backup") from None
    if not text:
        raise SettingsError(f"the secret file {path} is empty: restore it from a backup")
    return Secret(text)


def read_random_secret(path: Path, what: str) -> Secret:
    """Return the text of a file that holds a random secret. Raises SettingsError if it cannot be one."""
    secret = read_secret(path)
    text = secret.reveal()
    remedy = "restore it from a backup, or put a random one there"
    if len(text) < _RANDOM_CHARACTERS:
        raise SettingsError(f"{what} in {path} is shorter than {_RANDOM_CHARACTERS} characters: {remedy}")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise SettingsError(f"{what} in {path} has spaces, control characters or characters outside ASCII: {remedy}")
    return secret


def read_grant_key(path: Path, user: str) -> GrantSigner:
    """Return what signs for requests as a NATS user, by the key in a file. Raises SettingsError."""
    try:
        return signer_of(user, read_secret(path))
    except UnusableGrantKey as error:
        raise SettingsError(
            f"{path}: {error}. Restore it from a backup, or enrol a new one with the key vault"
        ) from None


def read_nkey_seed(path: Path) -> Secret:
    """Return the seed of a NATS user. Raises SettingsError naming the file if it holds none."""
    try:
        return parse_nkey_seed(read_secret(path).reveal())
    except NotAnNkeySeed:
        raise SettingsError(
            f"{path} holds no nkey seed of a NATS user: restore it from a backup, or name another file"
        ) from None


def without_credentials(urls: str) -> str:
    """Return comma-separated server URLs for display, without user name, password and token."""
    return ",".join(_without_credentials(url.strip()) for url in urls.split(","))


def _without_credentials(url: str) -> str:
    scheme, separator, rest = url.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


class ServiceSettings(BaseSettings):
    """The settings that every service has."""

    model_config = SettingsConfigDict(
        env_prefix="KEYFERRY_",
        env_ignore_empty=True,
        allow_inf_nan=False,
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
    )

    nats_url: str
    nats_nkey_file: SecretFile | None = None
    """Seed of this process's NATS user; None only where the server requires none."""
    nats_ca_file: CertificateFile | None = None
    """The authorities that sign for NATS servers; it makes all connections to NATS use TLS, as `tls://` in the URL does."""
    nats_cert_file: CertificateFile | None = None
    """Of this process, for NATS servers that ask for one; with `nats_key_file`."""
    nats_key_file: SecretFile | None = None
    slot: int = Field(default=1, ge=1, le=999)
    """Number of this replica within its service."""
    drain_seconds: float = Field(default=30.0, ge=0)
    """Time for running work to finish after SIGTERM."""
    log_level: LogLevel = "INFO"
    trace_sample_ratio: float = Field(default=0.01, ge=0, le=1)
    """The share of the requests without a trace of their callers' whose spans are stored, whatever becomes of them."""
    trace_slow_seconds: float = Field(default=30.0, gt=0)
    """The spans of a request that takes longer are stored."""
    trace_max_per_second: float = Field(default=20.0, ge=0, le=10_000)
    """How many traces a process may have stored, on average."""
    trace_buffer_spans: int = Field(default=8192, ge=0, le=1_000_000)
    """Spans that a process holds in memory until it is known whether their trace is stored; 0 records none."""
    metrics_host: ListenAddress = "127.0.0.1"
    """Where figures and health are served. Without authentication: only the operator's network may reach it."""
    metrics_port: int = Field(default=0, ge=0, le=65535)
    """The port for them; 0 for none."""

    def trace_options(self) -> TraceOptions:
        """Return what of the spans is recorded and stored."""
        return TraceOptions(
            sample_ratio=self.trace_sample_ratio,
            slow_seconds=self.trace_slow_seconds,
            max_per_second=self.trace_max_per_second,
            buffer_spans=self.trace_buffer_spans,
        )

    def check_files(self) -> None:
        """Check the content of the files that the settings name, as far as that needs no server. Raises SettingsError."""
        if self.nats_nkey_file is not None:
            read_nkey_seed(self.nats_nkey_file)


class DatabaseSettings(ServiceSettings):
    """The settings of a service that has a database."""

    database_url_file: SecretFile

    def database_url(self) -> Secret:
        """Return the SQLAlchemy URL, which contains a password."""
        return read_secret(self.database_url_file)


def load(kind: type[S]) -> S:
    """Return settings from the environment. Raises SettingsError naming the variables at fault, never their values."""
    try:
        return kind()
    except ValidationError as error:
        raise SettingsError(f"settings: {describe(error, _variable_of)}") from None


def _variable_of(field: str) -> str:
    return f"KEYFERRY_{field.upper()}"
