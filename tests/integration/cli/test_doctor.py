"""`keyferry doctor` and `keyferry status` against processes on a real bus."""

import json
from pathlib import Path

import nkeys

from keyferry.contracts.topology import Role
from tests.integration.cli.answering import whole_system
from tests.integration.cli.command import keyferry, operator_environment
from tests.support.servers.provisioned_bus import ProvisionedBus


async def test_healthy_system_passes(bus: ProvisionedBus, tmp_path: Path) -> None:
    async with whole_system(bus, ledger_lags=1):
        ran = await keyferry("doctor", environment=operator_environment(bus), cwd=tmp_path)
        shown = await keyferry("status", environment=operator_environment(bus), cwd=tmp_path)
    assert (ran.status, ran.err) == (0, ""), ran.out
    assert ran.out.splitlines()[-1] == "all is well"
    assert "PROBLEM" not in ran.out
    for line in (
        "bus: NATS answers",
        "router: ready",
        "provider-worker, slot 2: ready",
        "KEK: k1 is 1 day old",
        "chat: demo got",
        "ledger: ",
        "clock: ",
    ):
        assert line in ran.out
    rows = [line.split() for line in shown.out.splitlines()]
    assert ["provider-worker", "2", "1002", "1", "ready", "unconfirmed", "0"] in rows


async def test_unready_and_missing_services_are_reported(bus: ProvisionedBus, tmp_path: Path) -> None:
    async with whole_system(bus, waiting=Role.INGRESS, without=Role.TENANT_DIRECTORY):
        ran = await keyferry("doctor", "--json", environment=operator_environment(bus), cwd=tmp_path)
    assert ran.status == 1
    ill = {row["subject"]: row for row in json.loads(ran.out) if not row["ok"]}
    assert set(ill) == {"ingress", "tenant-directory"}
    assert ill["ingress"]["detail"] == "waiting for the tenants view"
    assert ill["tenant-directory"]["remedy"]


async def test_overdue_kek_is_reported(bus: ProvisionedBus, tmp_path: Path) -> None:
    async with whole_system(bus, kek_days=91):
        ran = await keyferry("doctor", environment=operator_environment(bus), cwd=tmp_path)
    assert ran.status == 1
    assert "PROBLEM  KEK: k1 is 91 days old and overdue for rotation\n         -> as the test says" in ran.out


async def test_missing_router_also_fails_the_chat(bus: ProvisionedBus, tmp_path: Path) -> None:
    async with whole_system(bus, without=Role.ROUTER):
        ran = await keyferry("doctor", environment=operator_environment(bus), cwd=tmp_path)
    assert ran.status == 1
    assert "PROBLEM  router: does not answer" in ran.out
    assert "PROBLEM  chat: demo got no answer from echo: no router is running" in ran.out


async def test_home_without_a_bus_is_reported(tmp_path: Path) -> None:
    home = tmp_path / ".keyferry"
    (home / "run").mkdir(parents=True)
    (home / "secrets").mkdir(mode=0o700)
    seed = home / "secrets" / "operator.seed"
    seed.touch(mode=0o644)
    seed.write_bytes(nkeys.encode_seed(bytes(32), nkeys.PREFIX_BYTE_USER))
    state = {
        "nats_url": "nats://127.0.0.1:1",
        "http_url": "http://127.0.0.1:1",
        "operator_nkey_file": str(seed),
        "token_file": str(seed),
    }
    (home / "run" / "state.json").write_text(json.dumps(state))
    ran = await keyferry("doctor", environment={}, cwd=tmp_path)
    assert ran.status == 1
    assert f"PROBLEM  secrets: others may read {seed}" in ran.out
    assert "PROBLEM  launcher: no launcher listens" in ran.out
    assert "PROBLEM  bus: NATS does not answer at nats://127.0.0.1:1" in ran.out
    assert "make up" in ran.out
