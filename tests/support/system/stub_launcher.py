"""The launcher with stub services: each uses what the launcher gave it, and is ready once that works.

python -m tests.support.system.stub_launcher (configured by the environment)
"""

import os
import sys
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from deploy.console_page.sources import PageSources
from deploy.embedded import services
from deploy.embedded.commands import up
from deploy.embedded.errors import LaunchFailed
from deploy.embedded.home import Home, ensure_secret
from deploy.embedded.managed_process import ProcessConfig
from deploy.embedded.process import ProcessSpec
from deploy.embedded.system import Build
from deploy.embedded.terminal import Terminal
from deploy.postgres.migrate import versions_dir
from deploy.postgres.roles import SERVICES_WITH_TABLES
from keyferry.contracts import client_token
from tests.support.servers.ports import own_ports

SERVICE = """
import asyncio, os, signal, sys
from pathlib import Path
sys.modules["aiohttp"] = None  # nats needs it for websockets alone
import nats
from keyferry.runtime.process import notify

ENV = os.environ

async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    client = await nats.connect(ENV["KEYFERRY_NATS_URL"], nkeys_seed=ENV["KEYFERRY_NATS_NKEY_FILE"])
    if file := ENV.get("KEYFERRY_DATABASE_URL_FILE"):
        import psycopg
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


def _make_process_configs(
    home: Home, addresses: services.Addresses, environment: Mapping[str, str]
) -> Iterable[ProcessConfig]:
    return [_with_small_code(config) for config in services.make_process_configs(home, addresses, environment)]


def _with_small_code(config: ProcessConfig) -> ProcessConfig:
    """Return the same configuration with the small code instead of the service."""

    def make_spec() -> ProcessSpec:
        return replace(config.make_spec(), argv=(sys.executable, "-c", SERVICE))

    return replace(config, make_spec=make_spec)


def _run_smoke_test(home: Path) -> None:
    if os.environ.get("KEYFERRY_TEST_SMOKE_TEST") == "fails":
        raise LaunchFailed("the first chat was answered with 500")
    ensure_secret(Home(home).demo_token_file, lambda: client_token.mint().reveal())


def main() -> int:
    """Run the launcher; return its exit status."""
    root = Path(os.environ["KEYFERRY_HOME"]).parent / "services"
    for service in SERVICES_WITH_TABLES:
        versions = versions_dir(service, root)
        versions.mkdir(parents=True, exist_ok=True)
        (versions / "0001_starts.py").write_text(textwrap.dedent(MIGRATION))
    build = Build(
        make_process_configs=_make_process_configs,
        services_root=root,
        smoke_test=_run_smoke_test,
        page_sources=PageSources(root.parent / "web", openapi=root.parent / "openapi.json"),
    )
    with patch("deploy.embedded.ports.server_ports", lambda: own_ports(os.environ)):
        return up(os.environ, Terminal(), build)


if __name__ == "__main__":
    sys.exit(main())
