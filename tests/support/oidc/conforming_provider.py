"""A standards-conforming OpenID provider from npm, `oidc-provider`, run by the Node.js of a wheel.

It is not ours, so it is the measure of both the console's sign-in and the double, which other tests use for its faults.
"""

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from deploy.console_page import npm
from deploy.console_page.errors import PageProblem
from deploy.embedded.ports import LOOPBACK
from tests.support.oidc.provider_double import AUDIENCE, CLIENT, CLIENT_SECRET
from tests.support.repository.files import ROOT
from tests.support.waiting import TIMEOUT_SECONDS

_SOURCE = Path(__file__).parent / "conforming"
_CACHE = ROOT / "build" / "conforming-provider"
_FILES = ("package.json", "package-lock.json", "server.js")
_INSTALL_SECONDS = 180
_REMEDY = (
    "the tests of signing in need the packages of tests/support/oidc/conforming/package-lock.json, which are kept in"
    f" {_CACHE.relative_to(ROOT)}"
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
            try:
                npm.install(unfinished, timeout_seconds=_INSTALL_SECONDS)
            except PageProblem as problem:
                raise AssertionError(f"{_REMEDY}. {problem}") from None
            unfinished.rename(folder)
    return folder


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
        npm.node(),
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
