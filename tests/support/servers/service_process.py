"""A service in a process of its own, which tests may kill."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from keyferry.contracts.topology import Role
from tests.support.repository.files import ROOT


@asynccontextmanager
async def service_process(
    role: Role, environment: Mapping[str, str], log: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a service with these variables alone, and its log in a file; it is killed at the end if it still runs."""
    with log.open("wb") as stderr:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            f"services.{role.value.replace('-', '_')}",
            cwd=ROOT,
            stderr=stderr,
            env={"PATH": os.defpath, **environment},
        )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()
