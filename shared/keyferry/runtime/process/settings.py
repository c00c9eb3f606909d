"""Settings of a process, read once from `KEYFERRY_*` variables; secrets only from files."""

from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from keyferry.contracts.envelope import describe
from keyferry.contracts.secret import Secret


class CannotStart(Exception):
    """Starting again will not help until somebody changes something; the message says what."""


class SettingsError(CannotStart):
    """The environment does not make sense; the message names each variable and what is wrong with it."""


def _existing(path: Path) -> Path:
    if not path.is_file():
        # The value is not repeated: a secret itself is easily set where the path of its file belongs.
        raise ValueError("there is no such file; set the path of a file that holds the secret")
    return path


SecretFile = Annotated[Path, AfterValidator(_existing)]

S = TypeVar("S", bound=BaseSettings)


def read_secret(path: Path) -> Secret:
    """The text of a secret file, without surrounding white space. Raises SettingsError when it is empty or unreadable."""
    try:
        text = path.read_text().strip()
    except OSError as error:
        raise SettingsError(f"cannot read the secret file {path}: {error.strerror}") from None
    if not text:
        raise SettingsError(f"the secret file {path} is empty")
    return Secret(text)


def without_credentials(urls: str) -> str:
    """Addresses of servers, separated by commas, as they may be shown: without user name, password and token."""
    return ",".join(_without_credentials(url.strip()) for url in urls.split(","))


def _without_credentials(url: str) -> str:
    scheme, separator, rest = url.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


class ServiceSettings(BaseSettings):
    """What every service needs."""

    model_config = SettingsConfigDict(env_prefix="KEYFERRY_", frozen=True, extra="ignore", hide_input_in_errors=True)

    nats_url: str
    nats_nkey_file: SecretFile | None = None
    """Seed of this process's NATS user; none only where the server asks for none."""
    slot: int = Field(default=1, ge=1, le=999)
    """Number of this replica among those of its service."""
    drain_seconds: float = Field(default=30.0, ge=0)
    """How long running work may take to finish after SIGTERM."""
    log_level: str = "INFO"


class DatabaseSettings(ServiceSettings):
    """A service with tables of its own."""

    database_url_file: SecretFile

    def database_url(self) -> Secret:
        """The SQLAlchemy URL, which holds a password."""
        return read_secret(self.database_url_file)


def load(kind: type[S]) -> S:
    """Settings from the environment. Raises SettingsError naming the variables at fault, never their values."""
    try:
        return kind()
    except ValidationError as error:
        raise SettingsError(f"settings: {_named(describe(error))}") from None


def _named(faults: str) -> str:
    return "; ".join(
        f"KEYFERRY_{name.upper()}:{rest}" for name, _, rest in (f.partition(":") for f in faults.split("; "))
    )
