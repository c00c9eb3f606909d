"""The console's process: start, reconnection, draining and invalid settings."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyferry.contracts.audit import AuditEntries, AuditVerification, ListAudit, VerifyAudit
from keyferry.contracts.key import ListKeys, ProviderKeys
from keyferry.contracts.route import ListModels, Model, Models
from keyferry.contracts.service import Ping, ServiceReport
from keyferry.contracts.topology import AUDIT_LIST, AUDIT_VERIFY, KEY_LIST, MODEL_LIST, SERVICE_PING, Role
from keyferry.contracts.usage import KeySource
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.process.lifecycle import EXIT_CANNOT_START
from keyferry.sealing.private_keys import public_key_text
from tests.integration.cli.answering import owner, process
from tests.integration.console.console import TIMEOUT_SECONDS, Console, console, log_lines
from tests.support.servers.provisioned_bus import ProvisionedBus, provisioned_bus

PINNED = public_key_text(X25519PrivateKey.generate())


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[ProvisionedBus]:
    async with provisioned_bus(tmp_path) as found:
        yield found


@pytest.fixture
async def face(bus: ProvisionedBus, tmp_path: Path) -> AsyncIterator[Console]:
    async with console(bus, tmp_path, PINNED) as found:
        yield found


async def test_deployed_permissions_allow_its_requests(bus: ProvisionedBus, face: Console) -> None:
    """The deployed permissions define what the console may publish and where it gets replies."""

    async def models(request: ListModels) -> Models:
        return Models(models=[Model(id=request.tenant, provider="p", key_source=KeySource.BYOK)])

    async def audit(request: ListAudit) -> AuditEntries:
        return AuditEntries(entries=[])

    async def verification(request: VerifyAudit) -> AuditVerification:
        return AuditVerification(tenants=1, entries=7)

    def ledger(declared: Bus) -> None:
        declared.respond(AUDIT_LIST, audit)
        declared.respond(AUDIT_VERIFY, verification)

    async with owner(bus, Role.ROUTER, MODEL_LIST, models), process(bus, Role.USAGE_LEDGER, ledger):
        listed = await face.client.get("/api/v1/ops/tenants/acme/models")
        assert [model["id"] for model in listed.json()["data"]] == ["acme"]
        assert (await face.client.get("/api/v1/audit")).json() == {"data": [], "next": None}
        assert (await face.client.get("/api/v1/audit/verify")).json()["entries"] == 7
    assert (await face.client.get("/api/v1/providers")).status_code == 200
    assert not [line for line in log_lines(face.log_text) if line["level"] in ("warning", "error", "critical")]


async def report_of_console(bus: ProvisionedBus) -> ServiceReport:
    """Ask every process of the bus, as `keyferry status` does, and return the console's answer."""
    async with bus.client(Role.OPERATOR) as client, asyncio.timeout(TIMEOUT_SECONDS):
        inbox = client.new_inbox()
        replies = await client.subscribe(inbox)
        await client.publish(SERVICE_PING.format(), Ping().encode(), reply=inbox)
        while True:
            report = ServiceReport.decode((await replies.next_msg(timeout=TIMEOUT_SECONDS)).data)
            if report.service == Role.CONSOLE.value:
                return report


async def test_it_reports_itself(bus: ProvisionedBus, face: Console) -> None:
    report = await report_of_console(bus)
    assert (report.ready, report.waiting_for) == (True, [])
    assert report.facts["url"] == str(face.client.base_url).rstrip("/")
    over_http = (await face.client.get("/api/v1/ops/services")).json()["data"]
    assert [each["service"] for each in over_http] == ["console", "tenant-directory"], (
        "the double of the directory answers, too"
    )
    assert (over_http[0]["instance_id"], over_http[0]["version"]) == (report.instance_id, report.version)


async def test_request_without_a_credential_is_not_forwarded(face: Console) -> None:
    url = str(face.client.base_url)
    async with httpx.AsyncClient(base_url=url) as stranger:
        assert (await stranger.get("/healthz")).status_code == 200
        refused = await stranger.post("/api/v1/provider-keys", content=b"x" * 100_000)
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
    response = await face.client.get("/api/v1/provider-keys")
    assert (response.status_code, response.json()["error"]["code"]) == (503, "unavailable")
    assert "is key-vault running?" in response.json()["error"]["message"]


async def test_a_bus_that_goes_away_and_comes_back(bus: ProvisionedBus, face: Console) -> None:
    async def keys(request: ListKeys) -> ProviderKeys:
        return ProviderKeys(keys=[])

    bus.server.kill()
    await _until_status(face, "/readyz", 503)
    away = await face.client.get("/api/v1/provider-keys")
    assert (away.status_code, away.headers["retry-after"]) == (503, "1")
    assert "the bus (NATS)" in away.json()["error"]["message"]
    bus.server.restart()
    await _until_status(face, "/readyz", 200)
    async with owner(bus, Role.KEY_VAULT, KEY_LIST, keys):
        assert (await face.client.get("/api/v1/provider-keys")).json() == {"data": [], "next": None}


async def test_shutdown_finishes_open_requests(bus: ProvisionedBus, face: Console) -> None:
    received, answer = asyncio.Event(), asyncio.Event()

    async def keys(request: ListKeys) -> ProviderKeys:
        received.set()
        await answer.wait()
        return ProviderKeys(keys=[])

    async with owner(bus, Role.KEY_VAULT, KEY_LIST, keys):
        running = asyncio.create_task(face.client.get("/api/v1/provider-keys"))
        await asyncio.wait_for(received.wait(), TIMEOUT_SECONDS)
        stopping = asyncio.create_task(face.drain())
        await _wait_for_log(face, "draining")
        answer.set()
        assert (await running).status_code == 200
        assert await stopping == 0


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("KEYFERRY_OPERATOR_TOKEN_FILE", "short", "shorter than 32 characters"),
        ("KEYFERRY_INTAKE_PUBLIC_KEY_FILE", "AAAA", "no public key of 32 bytes"),
        ("KEYFERRY_INTAKE_PUBLIC_KEY_FILE", "", "is empty"),
        ("KEYFERRY_OPERATOR_TOKEN_FILE", None, "there is no such file"),
    ],
)
async def test_bad_settings_prevent_the_start(tmp_path: Path, name: str, text: str | None, expected: str) -> None:
    good = {"KEYFERRY_OPERATOR_TOKEN_FILE": "t" * 40, "KEYFERRY_INTAKE_PUBLIC_KEY_FILE": PINNED}
    paths = {setting: tmp_path / setting for setting in good}
    for setting, content in (good | ({} if text is None else {name: text})).items():
        paths[setting].write_text(content)
    if text is None:
        paths[name].unlink()
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.console",
        env={
            "PATH": os.defpath,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "KEYFERRY_NATS_URL": "nats://127.0.0.1:9",
            **{setting: str(path) for setting, path in paths.items()},
        },
        stderr=asyncio.subprocess.PIPE,
    )
    _, output = await asyncio.wait_for(child.communicate(), TIMEOUT_SECONDS)
    assert child.returncode == EXIT_CANNOT_START
    (line,) = log_lines(output.decode())
    assert expected in str(line["message"])


async def _until_status(face: Console, path: str, status: int) -> None:
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while (await face.client.get(path)).status_code != status:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def _wait_for_log(face: Console, message: str) -> None:
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not any(line["message"] == message for line in log_lines(face.log_text)):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
