"""The `keyferry` command as a process of its own, as a person runs it."""

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.bus import Installation

_PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    status: int
    out: str
    err: str


async def keyferry(*arguments: str, environment: Mapping[str, str], cwd: Path, stdin: str | None = None) -> Ran:
    """Run it in `cwd` with no KEYFERRY_ variables but those of `environment`; `stdin` is what is piped into it."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KEYFERRY_")}
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "keyferry.cli.main",
        *arguments,
        env=clean | dict(environment),
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(
            child.communicate(None if stdin is None else stdin.encode()), _PATIENCE_SECONDS
        )
    except TimeoutError:
        child.kill()
        await child.wait()
        raise AssertionError(f"keyferry {' '.join(arguments)} does not end") from None
    assert child.returncode is not None
    assert b"Traceback" not in err, err.decode()
    return Ran(child.returncode, out.decode(), err.decode())


def operator_of(bus: Installation) -> dict[str, str]:
    """The environment that names a bus and its operator."""
    return {"KEYFERRY_NATS_URL": bus.nats_url, "KEYFERRY_NATS_NKEY_FILE": str(bus.seed_file("operator"))}
