"""Settings of a process, read once from `KEYFERRY_*` variables; secrets come only from files."""

from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from keyferry.contracts.envelope import describe
from keyferry.contracts.secret import Secret


class CannotStart(Exception):
    """A restart will not help until the operator changes something; the message says what."""


class SettingsError(CannotStart):
    """Invalid environment variables; the message names each one and what is wrong with it."""


def _existing(path: Path) -> Path:
    if not path.is_file():
        # The value is not repeated: a secret itself is easily set in place of the path of its file.
        raise ValueError("there is no such file; set the path of a file that holds the secret")
    return path


SecretFile = Annotated[Path, AfterValidator(_existing)]

S = TypeVar("S", bound=BaseSettings)


def read_secret(path: Path) -> Secret:
    """Return the text of a secret file without surrounding white space. Raises SettingsError when it is empty or unreadable."""
    try:
        text = path.read_text().strip()
    except OSError as error:
        raise SettingsError(f"cannot read the secret file {path}: {error.strerror}") from None
    if not text:
        raise SettingsError(f"the secret file {path} is empty")
    return Secret(text)


def without_credentials(urls: str) -> str:
    """Return comma-separated server URLs for display, without user name, password and token."""
    return ",".join(_without_credentials(url.strip()) for url in urls.split(","))


def _without_credentials(url: str) -> str:
    scheme, separator, rest = url.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


class ServiceSettings(BaseSettings):
    """The settings that every service has."""

    model_config = SettingsConfigDict(env_prefix="KEYFERRY_", frozen=True, extra="ignore", hide_input_in_errors=True)

    nats_url: str
    nats_nkey_file: SecretFile | None = None
    """Seed of this process's NATS user; None only where the server requires none."""
    slot: int = Field(default=1, ge=1, le=999)
    """Number of this replica within its service."""
    drain_seconds: float = Field(default=30.0, ge=0)
    """Time for running work to finish after SIGTERM."""
    log_level: str = "INFO"


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
