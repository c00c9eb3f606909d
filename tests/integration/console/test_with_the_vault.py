"""The console with a vault and PostgreSQL: key management over HTTP, and secrets that never appear."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from nats.aio.msg import Msg

from keyferry.contracts.audit import AuditOutcome
from keyferry.contracts.tenancy import GetTenant, Tenant, Tier
from keyferry.contracts.topology import KEY_ADD, KEY_TRY, TENANT_GET, Role
from keyferry.sealing.intake import seal_key
from keyferry.sealing.private_keys import public_key_text
from tests.integration.console.console import Console, console
from tests.integration.key_vault.vault_service import (
    KeyFiles,
    VaultService,
    Worker,
    openai_key,
    rejected,
    unreachable,
)
from tests.integration.permissions.watcher import watching
from tests.support.canary.searcher import Canary, CapturedOutput, Searcher
from tests.support.servers.migrated_database import migrated_database
from tests.support.servers.provisioned_bus import provisioned_bus

ACME = "/api/v1/ops/tenants/acme/provider-keys"
OWN = "/api/v1/provider-keys"
ORIGIN = "https://api.openai.com"


@pytest.fixture
async def around(tmp_path: Path) -> AsyncIterator[VaultService]:
    """A bus, a migrated database and a running vault."""
    url_files = migrated_database(tmp_path / "database", "key_vault").url_files
    async with provisioned_bus(tmp_path) as bus:
        vault_service = VaultService(bus, url_files["key_vault"], KeyFiles(tmp_path / "keys"))
        async with vault_service.vault():
            yield vault_service


@pytest.fixture
async def worker(around: VaultService) -> AsyncIterator[Worker]:
    async with around.worker() as found:
        yield found


@pytest.fixture
async def face(around: VaultService, tmp_path: Path) -> AsyncIterator[Console]:
    async with console(around.bus, tmp_path, public_key_text(around.files.intake)) as found:
        yield found


@pytest.fixture
async def directory(around: VaultService) -> AsyncIterator[None]:
    """Answer for the tenant directory. A watcher of the bus hears its requests too, so that no other answer comes at once."""

    async def answer(message: Msg) -> None:
        asked = GetTenant.decode(message.data)
        await message.respond(Tenant(tenant=asked.tenant, name="Acme", tier=Tier.PROFESSIONAL).encode())

    async with around.bus.client(Role.TENANT_DIRECTORY) as client:
        await client.subscribe(TENANT_GET.pattern(), queue=Role.TENANT_DIRECTORY.value, cb=answer)
        await client.flush()
        yield


def error_message(response: httpx.Response) -> str:
    return str(response.json()["error"]["message"])


async def test_key_lifecycle_over_http(around: VaultService, worker: Worker, face: Console) -> None:
    key, other = openai_key("first"), openai_key("second")
    body = {"provider": "openai", "label": "production", "key": key.reveal(), "monthly_limit_usd": "50"}
    added = await face.client.post(ACME, json=body)
    assert added.status_code == 201, added.text
    one = added.headers["location"]
    assert (added.json()["status"], added.json()["origin"]) == ("valid", ORIGIN)
    assert added.json()["created_by"] == "console:operator"
    assert worker.tested[0][0] == key, "the worker got exactly the key that came in"

    again = await face.client.post(ACME, json=body)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")
    assert added.json()["key_id"] in error_message(again)
    assert (await face.client.post(OWN, json=body)).status_code == 201, "the platform is another tenant"

    edited = await face.client.patch(one, json={"label": "main", "monthly_limit_usd": None})
    assert (edited.json()["label"], edited.json()["monthly_limit_usd"]) == ("main", None)
    rotated = await face.client.post(f"{one}/rotate", json={"key": other.reveal()})
    assert (rotated.status_code, rotated.json()["version"]) == (200, 2), rotated.text
    assert worker.tested[-1][0] == other
    assert (await face.client.post(f"{one}/test")).json()["last_test"]["result"] == "valid"
    reverted = await face.client.post(f"{one}/revert")
    assert (reverted.status_code, reverted.json()["version"]) == (200, 3), reverted.text
    assert worker.tested[-1][0] == key

    assert [row["key_id"] for row in (await face.client.get(ACME)).json()["data"]] == [added.json()["key_id"]]
    summary = (await face.client.get(f"{ACME}/summary")).json()
    assert (summary["keys"], summary["usable"], summary["by_status"]) == (1, 1, {"valid": 1})
    removed = await face.client.delete(one)
    assert (removed.status_code, removed.json()["keys_left"]) == (200, 0)
    assert (await face.client.get(one)).status_code == 404
    assert (await face.client.delete(one)).status_code == 404

    acts = [event for event in await around.audited() if event.tenant == "acme" and event.actor == "console:operator"]
    done = [event.action for event in acts if event.outcome is AuditOutcome.DONE]
    assert done == ["key.add", "key.edit", "key.rotate", "key.test", "key.revert", "key.remove"]


async def test_key_ages_and_listing_by_creator(around: VaultService, worker: Worker, face: Console) -> None:
    for name in ("one", "two"):
        body = {"provider": "openai", "label": name, "key": openai_key(name).reveal()}
        added = await face.client.post(ACME, json=body)
        assert added.status_code == 201, added.text
        assert (added.json()["age_days"], added.json()["rotation_due"], added.json()["credit_low"]) == (0, False, False)
    await around.execute("UPDATE provider_keys SET created_by = 'ada' WHERE label = 'two'")
    hers = (await face.client.get(ACME, params={"created_by": "ada"})).json()
    assert [(key["label"], key["created_by"]) for key in hers["data"]] == [("two", "ada")]
    assert (await face.client.get(ACME, params={"created_by": "joan"})).json() == {"data": [], "next": None}
    assert len((await face.client.get(ACME)).json()["data"]) == 2
    assert (await face.client.get(ACME, params={"created_by": "a b"})).status_code == 422
    await around.execute("UPDATE provider_keys SET created_at = now() - interval '95 days' WHERE label = 'one'")
    async with asyncio.timeout(30):
        while True:
            summary = (await face.client.get(f"{ACME}/summary")).json()
            if summary["rotation_due"]:
                break
            await asyncio.sleep(0.05)
    assert (summary["rotation_due"], summary["credit_low"]) == (1, 0)
    (old,) = [key for key in (await face.client.get(ACME)).json()["data"] if key["rotation_due"]]
    assert (old["label"], old["age_days"]) == ("one", 95)


async def test_client_sealed_key_is_accepted(worker: Worker, face: Console) -> None:
    intake = (await face.client.get(f"{OWN}/intake-key")).json()
    key = openai_key()
    sealed = seal_key(intake["public_key"], "acme", "openai", ORIGIN, key, suite=intake["suite"])
    body = {"provider": "openai", "label": "main", "sealed": sealed}
    elsewhere = await face.client.post("/api/v1/ops/tenants/globex/provider-keys", json=body)
    assert (elsewhere.status_code, elsewhere.json()["error"]["code"]) == (422, "refused"), "it is bound to its tenant"
    assert (await face.client.post(ACME, json=body)).status_code == 201
    assert worker.tested[0][0] == key


async def test_vault_refusals_keep_their_meaning(worker: Worker, face: Console) -> None:
    body = {"provider": "openai", "label": "main", "key": openai_key().reveal()}
    worker.says = lambda _: rejected()
    refused = await face.client.post(ACME, json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "refused")
    assert "does not accept this key" in error_message(refused)
    untested = {name: body[name] for name in ("provider", "key")}
    tested = await face.client.post(f"{ACME}/test", json=untested)
    assert (tested.status_code, tested.json()["result"]) == (200, "invalid")
    worker.says = lambda _: unreachable()
    away = await face.client.post(ACME, json=body)
    assert (away.status_code, away.json()["error"]["code"]) == (503, "unavailable")
    assert (await face.client.post(ACME, json={**body, "save_untested": True})).json()["status"] == "untested"
    tier = await face.client.post("/api/v1/ops/tenants/free/provider-keys", json=body)
    assert tier.status_code == 409
    assert "has no provider keys of its own" in error_message(tier)
    unknown = await face.client.post("/api/v1/ops/tenants/nobody/provider-keys", json=body)
    assert unknown.status_code == 404
    assert "there is no tenant nobody" in error_message(unknown)


async def test_unpinned_intake_key_gets_nothing(around: VaultService, worker: Worker, tmp_path: Path) -> None:
    stranger = KeyFiles(tmp_path / "stranger")
    async with console(around.bus, tmp_path, public_key_text(stranger.intake)) as face:
        body = {"provider": "openai", "label": "main", "key": openai_key().reveal()}
        answer = await face.client.post(ACME, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "intake_key_mismatch")
    assert worker.tested == []


@pytest.mark.usefixtures("directory")
async def test_key_is_in_no_byte_of_the_bus_the_log_or_the_responses(
    around: VaultService, worker: Worker, face: Console
) -> None:
    canary = Canary("a provider key", f"sk-proj-{secrets.token_hex(24)}", "sk-proj-")
    body = {"provider": "openai", "label": "main", "key": canary.text}
    async with watching(around.bus) as watcher:
        answers = [
            await face.client.post(ACME, json=body),
            await face.client.post(ACME, json=body),
            await face.client.post(f"{ACME}/test", json={"provider": "openai", "key": canary.text}),
            await face.client.post(ACME, json={**body, "label": ""}),
            await face.client.post(ACME, json={**body, "key": f"{canary.text} "}),
            await face.client.post(ACME, json={**body, canary.text: "x"}),
            await face.client.get(f"{ACME}/{canary.text}"),
        ]
        await watcher.wait_for_message(KEY_TRY.format())
    assert [answer.status_code for answer in answers] == [201, 409, 200, 422, 422, 400, 404]
    assert len(watcher.received[KEY_ADD.format()]) == 2
    emissions = [
        *(CapturedOutput("bus", subject, data) for subject, messages in watcher.received.items() for data in messages),
        *(
            CapturedOutput("http", str(at), answer.content + str(answer.headers).encode())
            for at, answer in enumerate(answers)
        ),
        CapturedOutput("log", "console", face.log_text.encode()),
    ]
    searcher = Searcher([canary])
    assert searcher.sightings(emissions) == []
    assert worker.tested[0][0].reveal() == canary.text, "the worker got it all the same"
    request = answers[0].request.content
    assert searcher.sightings([CapturedOutput("http", "request", request)]), "the search finds it where it is"
