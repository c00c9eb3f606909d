"""A supervisor with a few children in a process of its own, so that a test can kill it.

    python -m tests.support.system.supervisor_process RUN_DIR

It keeps `RUN_DIR/pids` and `RUN_DIR/ready`, and stops as the real one does on SIGTERM.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from deploy.embedded.child import Probe
from deploy.embedded.managed_process import ProcessConfig, ProcessTimeouts
from deploy.embedded.process import ProcessSpec, RunAs
from deploy.embedded.supervisor import Supervisor
from tests.support.repository.files import ROOT

STEADY = """
import signal, sys
from keyferry.runtime.process import notify
signal.signal(signal.SIGTERM, lambda *_: (print("drained", flush=True), sys.exit(0)))
print("up", flush=True)
notify.ready()
while True:
    signal.pause()
"""
"""A child that is ready at once and stops when asked."""

PARENT = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
"""
"""Starts a grandchild that lives as long as its parent, as PostgreSQL does."""


def make_config(
    service: str,
    code: str = STEADY,
    *,
    slot: int = 1,
    replicated: bool = False,
    after: tuple[str, ...] = (),
    run_as: RunAs | None = None,
    probe: Probe | None = None,
    arguments: tuple[str, ...] = (),
) -> ProcessConfig:
    """Return the configuration of a Python child that runs `code`."""

    def make_spec() -> ProcessSpec:
        return ProcessSpec(
            name=f"{service}-{slot}" if replicated else service,
            argv=(sys.executable, "-c", code, *arguments),
            env={"PATH": os.defpath, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'shared'}"},
            cwd=ROOT,
            run_as=run_as or RunAs(),
        )

    return ProcessConfig(
        service=service, make_spec=make_spec, slot=slot, replicated=replicated, after=after, probe=probe
    )


async def _run(run_dir: Path) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    root = os.geteuid() == 0
    async with Supervisor(
        log_dir=run_dir / "log", run_dir=run_dir, timeouts=ProcessTimeouts(), log=print
    ) as supervisor:
        await supervisor.start(
            [
                make_config("ordinary"),
                make_config("parent", PARENT + STEADY),
                make_config("namespaced", run_as=RunAs(own_user_namespace=root)),
            ]
        )
        (run_dir / "pids").write_text(" ".join(str(process["pid"]) for process in supervisor.status()))
        (run_dir / "ready").touch()
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(_run(Path(sys.argv[1])))
