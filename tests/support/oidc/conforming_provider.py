"""A standards-conforming OpenID provider from npm, `oidc-provider`, run by the Node.js of a wheel.

It is not ours, so it is the measure of both the console's sign-in and the double, which other tests use for its faults.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from deploy.console_page import npm
from deploy.embedded.ports import LOOPBACK
from tests.support.npm_packages import install_packages
from tests.support.oidc.provider_double import AUDIENCE, CLIENT, CLIENT_SECRET
from tests.support.waiting import TIMEOUT_SECONDS

_SOURCE = Path(__file__).parent / "conforming"
_FILES = ("package.json", "package-lock.json", "server.js")


def install() -> Path:
    """Return the folder with the server and its packages, after `npm ci` if they have changed. Raises AssertionError."""
    return install_packages(_SOURCE, "conforming-provider", _FILES)


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
