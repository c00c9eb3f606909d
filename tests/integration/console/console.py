"""The console as a process, on a bus with the deployed permissions."""

import asyncio
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import httpx

from deploy.embedded.ports import LOOPBACK
from keyferry.contracts.access_management import ACCESS_RECORD, AccessRecorded, RecordAccess
from keyferry.contracts.topology import Role
from tests.integration.cli.answering import owner
from tests.support.servers.ports import find_free_port
from tests.support.servers.provisioned_bus import ProvisionedBus

TIMEOUT_SECONDS = 30.0
TOKEN = secrets.token_urlsafe(32)


class Console:
    """A running console, and a client with the operator's token."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path, client: httpx.AsyncClient) -> None:
        self.process = process
        self._log = log
        self.client = client

    @property
    def log_text(self) -> str:
        """Return everything that the process has logged so far."""
        return self._log.read_text()

    async def drain(self) -> int:
        """Stop it like a supervisor does, and return its exit status."""
        self.process.terminate()
        return await asyncio.wait_for(self.process.wait(), TIMEOUT_SECONDS)


async def _record(_: RecordAccess) -> AccessRecorded:
    return AccessRecorded()


@asynccontextmanager
async def console(
    bus: ProvisionedBus,
    folder: Path,
    intake_public_key: str,
    *,
    records: bool = True,
    settings: Mapping[str, str] | None = None,
) -> AsyncIterator[Console]:
    """Start a console with `intake_public_key` (base64url) pinned, and wait until it is ready.

    `settings` are further ones. `records`: whether the access of its operator is recorded by a double, and not by a tenant
    directory of the test.
    """
    async with AsyncExitStack() as stack:
        if records:
            await stack.enter_async_context(owner(bus, Role.TENANT_DIRECTORY, ACCESS_RECORD, _record))
        yield await stack.enter_async_context(_console(bus, folder, intake_public_key, settings or {}))


@asynccontextmanager
async def _console(
    bus: ProvisionedBus, folder: Path, intake_public_key: str, settings: Mapping[str, str]
) -> AsyncIterator[Console]:
    port = find_free_port()
    environment = {
        "PATH": os.defpath,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "KEYFERRY_NATS_URL": bus.nats_url,
        "KEYFERRY_NATS_NKEY_FILE": str(bus.seed_file(Role.CONSOLE)),
        "KEYFERRY_OPERATOR_TOKEN_FILE": str(_secret(folder / "operator-token", TOKEN)),
        "KEYFERRY_INTAKE_PUBLIC_KEY_FILE": str(_secret(folder / "intake-key.pub", intake_public_key)),
        "KEYFERRY_HTTP_PORT": str(port),
        "KEYFERRY_LOG_LEVEL": "DEBUG",
        "KEYFERRY_DRAIN_SECONDS": "5",
        "KEYFERRY_PAGE_DIR": str(folder / "page"),
        **settings,
    }
    log = folder / "console.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.console", env=environment, stdout=output, stderr=output
        )
    url = f"http://{LOOPBACK}:{port}"
    try:
        async with httpx.AsyncClient(
            base_url=url, headers={"authorization": f"Bearer {TOKEN}"}, timeout=TIMEOUT_SECONDS
        ) as client:
            found = Console(process, log, client)
            await until_ready(found)
            yield found
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def until_ready(found: Console) -> None:
    """Wait until the console is ready. Raises AssertionError with its log after the timeout."""
    with suppress(TimeoutError):
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while found.process.returncode is None:
                with suppress(httpx.TransportError):
                    if (await found.client.get("/readyz")).status_code == 200:
                        return
                await asyncio.sleep(0.02)
    raise AssertionError(f"the console never became ready (exit status {found.process.returncode}): {found.log_text}")


def log_lines(text: str) -> list[dict[str, object]]:
    """Parse a process's log lines."""
    return [json.loads(line) for line in text.splitlines() if line]


def _secret(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text)
    return path
