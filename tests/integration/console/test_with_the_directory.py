"""The console with a tenant directory and PostgreSQL: tenants and client tokens over HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from deploy.embedded.ports import LOOPBACK
from keyferry.contracts import client_token
from keyferry.contracts.audit import AuditEvent, CommandChannel
from keyferry.contracts.topology import AUDIT_RECORDED, CLIENT_TOKENS_VIEW, TOKEN_CREATE, Role
from keyferry.runtime.views import KvView
from keyferry.sealing.private_keys import public_key_text
from tests.integration.console.console import Console, console
from tests.integration.permissions.watcher import watching
from tests.integration.tenant_directory.conftest import servers as servers
from tests.integration.tenant_directory.processes import PEPPER, DirectoryServers
from tests.support.waiting import eventually

TENANTS = "/api/v1/ops/tenants"
ACME = f"{TENANTS}/acme"


@pytest.fixture
async def face(servers: DirectoryServers, tmp_path: Path) -> AsyncIterator[Console]:
    pinned = public_key_text(X25519PrivateKey.generate())
    async with servers.process(), console(servers.bus, tmp_path, pinned, records=False) as found:
        yield found


async def test_tenants_and_client_tokens_over_http(servers: DirectoryServers, face: Console) -> None:
    async with watching(servers.bus) as watcher:
        await _use_everything(servers, face)
        subject = AUDIT_RECORDED.format(service=Role.TENANT_DIRECTORY.value)
        await eventually("all changes are audited", lambda: len(watcher.received[subject]) >= 6)
        events = [AuditEvent.decode(data) for data in watcher.received[subject]]
    assert [(event.action, event.actor, event.tenant, event.sequence) for event in events] == [
        ("tenant.create", "console:operator", "acme", 1),
        ("tenant.update", "console:operator", "acme", 2),
        ("token.create", "console:operator", "acme", 3),
        ("operator.access", "console:operator", "acme", 4),
        ("token.revoke", "console:operator", "acme", 5),
        ("tenant.update", "console:operator", "acme", 6),
    ]
    assert events[1].details == {"key_policy": "not set → own", "name": "acme → Acme"}
    assert (events[3].target, events[3].details) == ("client-tokens", {"source": LOOPBACK})
    assert events[5].details == {"suspended": "false → true"}
    sources = [event.source for event in events]
    assert all(one is not None and one.channel is CommandChannel.API and one.request_id is not None for one in sources)
    assert {one.address for one in sources if one is not None} <= {"127.0.0.1", None}


async def _use_everything(servers: DirectoryServers, face: Console) -> None:
    created = await face.client.post(TENANTS, json={"tenant": "acme", "tier": "professional"})
    assert (created.status_code, created.headers["location"]) == (201, ACME)
    again = await face.client.post(TENANTS, json={"tenant": "acme"})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")
    changed = await face.client.patch(ACME, json={"key_policy": "own", "name": "Acme"})
    assert (changed.status_code, (await face.client.get(ACME)).json()) == (200, changed.json())
    listed = (await face.client.get(TENANTS)).json()["data"]
    assert [row["tenant"] for row in listed] == ["acme", "platform"]
    unknown = [
        await face.client.get(f"{TENANTS}/nobody"),
        await face.client.patch(f"{TENANTS}/nobody", json={"name": "x"}),
        await face.client.post(f"{TENANTS}/nobody/client-tokens", json={"label": "x"}),
        await face.client.get(f"{TENANTS}/nobody/client-tokens"),
    ]
    assert [answer.status_code for answer in unknown] == [404] * 4

    async with watching(servers.bus) as watcher:
        answer = await face.client.post(f"{ACME}/client-tokens", json={"label": "app", "allowed_models": ["echo"]})
        await watcher.wait_for_message(TOKEN_CREATE.format())
    assert answer.status_code == 201, answer.text
    token = answer.json()["token"]
    seen = b"".join(data for messages in watcher.received.values() for data in messages)
    assert token.encode() not in seen + face.log_text.encode(), "only its digest travels"

    one = answer.headers["location"]
    assert (await face.client.get(one)).json()["allowed_models"] == ["echo"]
    assert (await face.client.get(one)).status_code == 200, "a second access within minutes is not recorded again"
    async with servers.bus.connected(Role.INGRESS) as bus:
        view = KvView(bus, CLIENT_TOKENS_VIEW)
        await view.start()
        fingerprint = client_token.fingerprint(client_token.digest(token), PEPPER)
        await eventually("the ingress knows the token", lambda: view.get(fingerprint))
        revoked = await face.client.delete(one)
        assert (await face.client.delete(one)).json() == revoked.json(), "a second revocation changes nothing"
        await eventually("it is revoked", lambda: (found := view.get(fingerprint)) and found.revoked_at)
        await view.stop()

    assert (await face.client.patch(ACME, json={"suspended": True})).json()["suspended"] is True
    refused = await face.client.post(f"{ACME}/client-tokens", json={"label": "late"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")
