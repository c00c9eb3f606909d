"""The launcher with small services: each uses what the launcher gave it, and is ready once that works.

python -m tests.support.small_system HOME's parent directories are made; the rest comes from the environment
"""

import os
import sys
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from deploy.embedded import services
from deploy.embedded.failure import LaunchFailed
from deploy.embedded.home import Home
from deploy.embedded.process import ProcessSpec
from deploy.embedded.screen import Screen
from deploy.embedded.seat import Placement
from deploy.embedded.system import Build
from deploy.embedded.up import up
from deploy.postgres.migrate import versions_dir
from deploy.postgres.roles import SERVICES_WITH_TABLES

SERVICE = """
import asyncio, os, signal, sys
from pathlib import Path
import nats, psycopg
from keyferry.runtime.process import notify

ENV = os.environ

async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    client = await nats.connect(ENV["KEYFERRY_NATS_URL"], nkeys_seed=ENV["KEYFERRY_NATS_NKEY_FILE"])
    if file := ENV.get("KEYFERRY_DATABASE_URL_FILE"):
        url = Path(file).read_text().replace("+psycopg", "")
        async with await psycopg.AsyncConnection.connect(url) as connection:
            await connection.execute("INSERT INTO starts DEFAULT VALUES")
    if spool := ENV.get("KEYFERRY_SPOOL_DIR"):
        Path(spool, "record").touch()
    if host := ENV.get("KEYFERRY_HTTP_HOST"):
        listening = await asyncio.start_server(answer, host, int(ENV["KEYFERRY_HTTP_PORT"]), reuse_port=True)
    notify.ready()
    await stop.wait()
    await client.close()
    print("drained", flush=True)

async def answer(reader, writer):
    writer.write(b"HTTP/1.1 204 No Content\\r\\n\\r\\n")
    writer.close()

asyncio.run(main())
"""

MIGRATION = """
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute("CREATE TABLE starts (at timestamptz DEFAULT now())")
"""


def _placements(home: Home, addresses: services.Addresses, environment: Mapping[str, str]) -> Iterable[Placement]:
    return [_small(placement) for placement in services.placements(home, addresses, environment)]


def _small(placement: Placement) -> Placement:
    """The same seat, told the same, with small code in it."""

    def specify() -> ProcessSpec:
        return replace(placement.specify(), argv=(sys.executable, "-c", SERVICE))

    return replace(placement, specify=specify)


def _proof(home: Path) -> None:
    if os.environ.get("KEYFERRY_TEST_PROOF") == "fails":
        raise LaunchFailed("the first chat was answered with 500")
    Home(home).demo_token_file.write_text("kf_demo")


def main() -> int:
    """Run it; the launcher's exit status."""
    root = Path(os.environ["KEYFERRY_HOME"]).parent / "services"
    for service in SERVICES_WITH_TABLES:
        versions = versions_dir(service, root)
        versions.mkdir(parents=True, exist_ok=True)
        (versions / "0001_starts.py").write_text(textwrap.dedent(MIGRATION))
    build = Build(placements=_placements, services_root=root, proof=_proof)
    return up(os.environ, Screen(), build)


if __name__ == "__main__":
    sys.exit(main())
