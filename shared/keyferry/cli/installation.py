"""The installation that a command is about: its home directory, its bus and the operator's credentials."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from keyferry.cli.problem import Problem
from keyferry.contracts.envelope import describe
from keyferry.runtime.process.home_lock import find_holder
from keyferry.runtime.process.os_errors import describe_os_error, remedy_for

HOME_NAME = ".keyferry"
STATE_FILE = Path("run", "state.json")
STARTING_FILE = Path("run", "endpoints.json")
"""The same while the system starts and has not passed its first request yet."""
TARGETS_FILE = Path("run", "prometheus-targets.json")
"""The operations port of each process, while the system runs."""
OPERATOR_SEED = Path("secrets", "nkeys", "operator.seed")
OPERATOR_GRANT_KEY = Path("secrets", "grants", "operator.key")
START_IT = "Start it with `make up`"
_WORKERS = "provider_worker"
_DEFAULT_WORKER_SLOTS = 2


class InstallationState(BaseModel):
    """The launcher's description of the running system. `processes` maps the name of each slot to its pid."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    nats_url: str
    http_url: str
    console_url: str | None = None
    operator_nkey_file: Path
    operator_grant_key_file: Path | None = None
    token_file: Path
    client_nkey_file: Path | None = None
    client_credentials_file: Path | None = None
    """Of the demo tenant's program on the bus."""
    processes: dict[str, int] = Field(default_factory=dict)

    @property
    def worker_slots(self) -> int:
        """How many provider workers there should be."""
        return sum(name.startswith(_WORKERS) for name in self.processes) or _DEFAULT_WORKER_SLOTS


@dataclass(frozen=True, slots=True)
class Installation:
    """The address of the bus and the seed file for it; `home` and `state` only if it runs on this machine."""

    nats_url: str
    nkey_file: Path | None
    home: Path | None = None
    state: InstallationState | None = None
    grant_key_file: Path | None = None
    """The key with which the operator signs for chats; without it they get no provider key."""

    @property
    def run_dir(self) -> Path:
        """The directory of the launcher's sockets. Raises Problem for an installation elsewhere."""
        if self.home is None:
            raise Problem(
                "this command needs the installation's home directory, and there is none here",
                "Run it where `make up` ran, or set KEYFERRY_HOME",
            )
        return self.home / "run"


def locate(environment: Mapping[str, str] = os.environ, start: Path | None = None) -> Installation:
    """Find the installation by the environment or by the directory `start` (default: the current one).

    Raises Problem if there is none, or if it does not run.
    """
    url, seed = environment.get("KEYFERRY_NATS_URL"), environment.get("KEYFERRY_NATS_NKEY_FILE")
    home = find_home(environment, start)
    if url:
        own_seed = home / OPERATOR_SEED if home else None
        default_seed = own_seed if own_seed is not None and own_seed.is_file() else None
        return Installation(
            url, Path(seed) if seed else default_seed, home, grant_key_file=_grant_key(environment, home)
        )
    if home is None:
        raise Problem(
            f"no installation here: no {HOME_NAME} in this directory or above it",
            f"{START_IT}, change to its directory, or set KEYFERRY_HOME",
        )
    state = read_state(home)
    return Installation(
        state.nats_url,
        Path(seed) if seed else state.operator_nkey_file,
        home,
        state,
        _grant_key(environment, home, state.operator_grant_key_file),
    )


def _grant_key(environment: Mapping[str, str], home: Path | None, of_state: Path | None = None) -> Path | None:
    if named := environment.get("KEYFERRY_GRANT_KEY_FILE"):
        return Path(named)
    own = of_state or (home / OPERATOR_GRANT_KEY if home else None)
    return own if own is not None and own.is_file() else None


def find_home(environment: Mapping[str, str] = os.environ, start: Path | None = None) -> Path | None:
    """Return KEYFERRY_HOME, else the nearest `.keyferry` from `start` upwards, else None."""
    if named := environment.get("KEYFERRY_HOME"):
        return Path(named)
    here = (start or Path.cwd()).resolve()
    return next((home for folder in (here, *here.parents) if (home := folder / HOME_NAME).is_dir()), None)


def read_state(home: Path) -> InstallationState:
    """Read the launcher's description of the system in `home`. Raises Problem if it is missing or invalid."""
    for path in (home / STATE_FILE, home / STARTING_FILE):
        try:
            return InstallationState.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            continue
        except OSError as error:
            raise Problem(
                f"cannot read {describe_os_error(error)}", remedy_for(error) or "Run this as the user who started it"
            ) from None
        except ValidationError as error:
            raise Problem(f"{path} is invalid: {describe(error)}", "Restart the system: `make down up`") from None
    if not home.is_dir():
        what = "is a file" if home.is_file() else "does not exist"
        raise Problem(f"there is no installation in {home}: it {what}", "Set KEYFERRY_HOME to its home directory")
    if (pid := find_holder(home)) is not None:
        raise Problem(
            f"the launcher (process {pid or 'unknown'}) runs in {home}, but there is no {STATE_FILE}",
            "If it is starting, wait until it has shown that it is up. If that file was removed, restart it: `make down`, then"
            " `make up`",
        )
    raise Problem(f"nothing runs in {home}: there is no {STATE_FILE}", START_IT)
