"""What the bus has acknowledged of paid calls, payments, alerts and the audit is on disk, as the server reports its settings."""

import json
import urllib.request
from pathlib import Path
from typing import Any

import orjson

from deploy.nats.render import render_server_conf
from keyferry.contracts.topology import STREAMS, Role
from tests.support.servers.nats import nats_server
from tests.support.servers.ports import find_free_port
from tests.support.servers.provisioned_bus import provisioned_bus

SYNCED = {"ALERTS", "ATTEMPTS", "AUDIT", "DEAD_LETTERS", "PAYMENTS"}


def test_the_server_syncs_every_acknowledged_message(tmp_path: Path) -> None:
    port = find_free_port()
    rendered = render_server_conf({}, port=-1, store_dir=tmp_path / "jetstream")
    conf = f'{rendered}\nhttp: "127.0.0.1:{port}"\n'
    with nats_server(conf, whole=True), urllib.request.urlopen(f"http://127.0.0.1:{port}/jsz?config=true") as response:
        jetstream: dict[str, Any] = json.load(response)["config"]
    assert jetstream["sync_always"] is True


async def test_streams_of_paid_calls_payments_alerts_and_the_audit_do_not_opt_out(tmp_path: Path) -> None:
    modes: dict[str, str] = {}
    async with provisioned_bus(tmp_path) as bus, bus.client(Role.PROVISIONER) as client:
        for stream in STREAMS:
            reply = await client.request(f"$JS.API.STREAM.INFO.{stream.name}", b"{}", timeout=10)
            modes[stream.name] = orjson.loads(reply.data)["config"].get("persist_mode", "default")
    assert {name for name, mode in modes.items() if mode == "default"} == SYNCED
    assert set(modes.values()) == {"default", "async"}
