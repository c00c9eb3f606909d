"""The sessions of people who have signed in on this machine, in a file that only its owner may read.

Each is kept under the address of its management API. The last one that was saved is the one in use where nothing else is named.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from keyferry.cli.problem import Problem
from keyferry.contracts.secret import Secret
from keyferry.runtime.process.os_errors import describe_os_error

URL_SETTING = "KEYFERRY_URL"
"""Names the management API whose session is used."""
_OWNER_ONLY = 0o600
_OTHERS = 0o077
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class SavedSession:
    """A session: the address of the management API, and the token that it takes as a bearer."""

    url: str
    token: Secret


def session_path(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where the sessions are: `keyferry/sessions.json` in the user's configuration directory."""
    folder = environment.get("XDG_CONFIG_HOME")
    return (Path(folder) if folder else Path.home() / ".config") / "keyferry" / "sessions.json"


def normalize_url(url: str) -> str:
    """Return the address of a management API in its one form. Raises Problem, also for an address that would show the token.

    What is sent without TLS can be read on the way, so only this machine may be addressed with http.
    """
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    plain = parts.path in ("", "/") and not (parts.query or parts.fragment or parts.username or parts.password)
    if parts.scheme not in ("http", "https") or not host or not plain:
        raise Problem(
            "that is not the address of a management API", "Give scheme, host and port: https://keyferry.example.com"
        )
    if parts.scheme == "http" and host not in _LOOPBACK:
        raise Problem(
            f"{host} is another machine, and http would show your session to everybody on the way",
            "Give the address that begins with https",
        )
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port is not None else "")


def load(url: str, path: Path | None = None) -> SavedSession | None:
    """Return the session at this address, if there is one. Raises Problem for a file that others may read."""
    wanted = normalize_url(url)
    token = _read(path or session_path()).get(wanted)
    return None if token is None else SavedSession(wanted, Secret(token))


def load_last(path: Path | None = None) -> SavedSession | None:
    """Return the session that was saved last, if there is one. Raises Problem for a file that others may read."""
    sessions = _read(path or session_path())
    if not sessions:
        return None
    url, token = list(sessions.items())[-1]
    return SavedSession(normalize_url(url), Secret(token))


def save(session: SavedSession, path: Path | None = None) -> None:
    """Save a session in place of the one at its address. Raises Problem if the file cannot be written."""
    path = path or session_path()
    url = normalize_url(session.url)
    sessions = {known: token for known, token in _read(path).items() if known != url}
    _write(path, sessions | {url: session.token.reveal()})


def remove(url: str, path: Path | None = None) -> bool:
    """Remove the session at this address, and return whether there was one. Raises Problem."""
    path = path or session_path()
    sessions = _read(path)
    if sessions.pop(normalize_url(url), None) is None:
        return False
    _write(path, sessions)
    return True


def _read(path: Path) -> dict[str, str]:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & _OTHERS:
                raise Problem(f"others may read {path}, which holds your sessions", f"Run `chmod 600 {path}`")
            content = json.loads(file.read())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise Problem(f"cannot read {describe_os_error(error)}", "Make the file readable, or remove it") from None
    except ValueError:
        content = None
    if not isinstance(content, dict) or not all(isinstance(token, str) for token in content.values()):
        raise Problem(f"{path} does not hold sessions", "Remove the file, and sign in again")
    return content


def _write(path: Path, sessions: Mapping[str, str]) -> None:
    """Replace the file at once, so that a reader finds the old or the new one."""
    new = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _OWNER_ONLY), "w") as file:
            json.dump(dict(sessions), file, indent=1)
        new.replace(path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise Problem(
            f"cannot save the session: {describe_os_error(error)}", "Make the directory writable for you"
        ) from None
