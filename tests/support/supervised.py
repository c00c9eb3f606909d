"""A supervisor with a few children in a process of its own, so that a test can kill it.

    python -m tests.support.supervised RUN_DIR

It keeps `RUN_DIR/pids` and `RUN_DIR/ready`, and stops as the real one does on SIGTERM.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from deploy.embedded.child import Probe
from deploy.embedded.process import Identity, ProcessSpec
from deploy.embedded.seat import Patience, Placement
from deploy.embedded.supervisor import Supervisor

ROOT = Path(__file__).parents[2]

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
"""Makes a grandchild that lives as long as its parent, as PostgreSQL's do."""


def placement(
    service: str,
    code: str = STEADY,
    *,
    slot: int = 1,
    replicated: bool = False,
    after: tuple[str, ...] = (),
    identity: Identity | None = None,
    probe: Probe | None = None,
    arguments: tuple[str, ...] = (),
) -> Placement:
    """A seat for a Python child that runs `code`."""

    def specify() -> ProcessSpec:
        return ProcessSpec(
            name=f"{service}-{slot}" if replicated else service,
            argv=(sys.executable, "-c", code, *arguments),
            env={"PATH": os.defpath, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'shared'}"},
            cwd=ROOT,
            identity=identity or Identity(),
        )

    return Placement(service=service, specify=specify, slot=slot, replicated=replicated, after=after, probe=probe)


async def _live(run_dir: Path) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    root = os.geteuid() == 0
    async with Supervisor(log_dir=run_dir / "log", run_dir=run_dir, patience=Patience(), say=print) as supervisor:
        await supervisor.start(
            [
                placement("ordinary"),
                placement("parent", PARENT + STEADY),
                placement("namespaced", identity=Identity(own_user_namespace=root)),
            ]
        )
        (run_dir / "pids").write_text(" ".join(str(seat["pid"]) for seat in supervisor.status()))
        (run_dir / "ready").touch()
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(_live(Path(sys.argv[1])))
