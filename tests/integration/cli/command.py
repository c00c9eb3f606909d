"""The `keyferry` command, as a process or inside this one."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.servers.provisioned_bus import ProvisionedBus
from tests.support.system.command_line import CommandResult, run_command

_TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    status: int
    out: str
    err: str


async def keyferry(*arguments: str, environment: Mapping[str, str], cwd: Path, stdin: str | None = None) -> Ran:
    """Run the command in `cwd` with only the KEYFERRY_ variables of `environment`; `stdin` is piped into it.

    It runs in a thread of this process, since most of the time of a process of its own goes into importing; one at a time.
    """
    without = {name: None for name in os.environ if name.startswith("KEYFERRY_")}
    output = await asyncio.to_thread(_run_in, cwd, arguments, without | dict(environment), stdin)
    assert "Traceback" not in output.err, output.err
    return Ran(output.status, output.out, output.err)


def _run_in(
    cwd: Path, arguments: tuple[str, ...], environment: Mapping[str, str | None], stdin: str | None
) -> CommandResult:
    with contextlib.chdir(cwd):
        return run_command(arguments, environment, stdin)


async def keyferry_process(*arguments: str, environment: Mapping[str, str], cwd: Path) -> Ran:
    """Run the command as a process, with empty standard input."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KEYFERRY_")}
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "keyferry.cli.main",
        *arguments,
        env=clean | dict(environment),
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(child.communicate(), _TIMEOUT_SECONDS)
    except TimeoutError:
        child.kill()
        await child.wait()
        raise AssertionError(f"keyferry {' '.join(arguments)} does not end") from None
    assert child.returncode is not None
    assert b"Traceback" not in err, err.decode()
    return Ran(child.returncode, out.decode(), err.decode())


def operator_environment(bus: ProvisionedBus) -> dict[str, str]:
    """Return the environment that names a bus and its operator."""
    return {"KEYFERRY_NATS_URL": bus.nats_url, "KEYFERRY_NATS_NKEY_FILE": str(bus.seed_file("operator"))}
