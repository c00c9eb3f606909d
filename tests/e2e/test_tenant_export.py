"""The export and the compliance report of a tenant through the whole running system: complete, for owners, without any secret."""

import asyncio
import json

import httpx
import pytest

from keyferry.contracts import session_token
from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.sessions import ClaimedMembership, SessionChannel, StartSession
from keyferry.contracts.sign_in_management import SESSION_START
from keyferry.contracts.topology import Role
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.process.settings import ServiceSettings
from tests.support.canary.planted_secrets import client_token_named, installation_secrets
from tests.support.canary.searcher import Canary, CapturedOutput, Searcher
from tests.support.system.keyferry_system import KeyferrySystem
from tests.support.vault.keyed_system import KeyedSystem
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(180)
TENANT = "exported"


async def _start_session(system: KeyferrySystem, role: AccessRole) -> str:
    """Start a session of a member of the tenant; return its token."""
    token = session_token.mint().reveal()
    settings = ServiceSettings(
        nats_url=system.state["nats_url"], nats_nkey_file=system.home / "secrets" / "nkeys" / "console.seed"
    )
    bus = Bus(Role.CONSOLE, settings)
    await bus.connect()
    command = StartSession(
        digest=session_token.digest(token),
        issuer="https://id.example.com",
        subject=f"{role.value}-of-{TENANT}",
        name=role.value.title(),
        email=f"{role.value}@example.com",
        memberships=[ClaimedMembership(tenant=TENANT, role=role)],
        channel=SessionChannel.DEVICE,
        idle_seconds=3600,
        max_seconds=86400,
    )
    try:
        await bus.ask(SESSION_START, command, timeout_seconds=60)
    finally:
        await bus.broker.stop()
    return token


def test_an_export_is_complete_for_its_owner_and_has_no_secret(keyed_system: KeyedSystem) -> None:
    system = keyed_system.system
    account = keyed_system.new_tenant(TENANT, keys="own")
    key = keyed_system.provider.issue()
    key_id = keyed_system.add(TENANT, key)["key_id"]
    request_id = account.wait_for_status(200).headers["x-request-id"]
    account.attempts(request_id)
    sessions = {
        role: asyncio.run(_start_session(system, role))
        for role in (AccessRole.OWNER, AccessRole.ADMIN, AccessRole.VIEWER)
    }

    def ask(role: AccessRole, path: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {sessions[role]}"}
        return httpx.get(f"{system.state['console_url']}/api/v1{path}", headers=headers, timeout=60)

    for role in sessions:
        until(f"the session of the {role.value} is known", lambda role=role: ask(role, "/members").status_code == 200)  # type: ignore[misc]

    def exported() -> str | None:
        """The request log leaves out what the last seconds may still change."""
        answer = ask(AccessRole.OWNER, "/export")
        assert answer.status_code == 200, answer.text
        requests = [line for line in answer.text.splitlines() if line.startswith('{"kind":"request"')]
        return answer.text if any(request_id in line for line in requests) else None

    over_http = until("the export has the request", exported)
    by_command = keyed_system.cli("tenants", "export", TENANT)
    for text in (over_http, by_command):
        lines = [json.loads(line) for line in text.splitlines()]
        assert lines[0]["data"]["tenant"] == TENANT
        assert lines[-1] == {"kind": "end", "data": {"lines": len(lines)}}
        kinds = {line["kind"] for line in lines}
        assert kinds >= {"tenant", "client_token", "provider_key", "member", "credits", "request", "audit_entry"}
        assert [line["data"]["key_id"] for line in lines if line["kind"] == "provider_key"] == [key_id]
    for role, path in (
        (AccessRole.ADMIN, "/export"),
        (AccessRole.VIEWER, "/export"),
        (AccessRole.VIEWER, "/compliance"),
    ):
        refused = ask(role, path)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "not_allowed"), (role, path)

    # The vault publishes its audit after the commit, and the ledger reads it in batches.
    until(
        "the lease is in the audit log", lambda: "key.lease" in [each["action"] for each in keyed_system.audit(TENANT)]
    )
    answer = ask(AccessRole.ADMIN, "/compliance")
    shown = keyed_system.cli("tenants", "compliance", TENANT)
    report = answer.json()
    assert (answer.status_code, report["content"]) == (200, "off")
    assert [(each["provider"], each["key_id"]) for each in report["destinations"]] == [("openai", key_id)]
    assert {"key.add", "key.lease"} <= {each["action"] for each in report["keys"] if each["key_id"] == key_id}
    assert "session.start" in {each["action"] for each in report["activities"]}
    assert "WHERE DATA WENT" in shown

    canaries = [Canary("provider key", key), client_token_named("client token", account.token)]
    canaries += [Canary(f"session of the {role.value}", token) for role, token in sessions.items()]
    searcher = Searcher([*canaries, *installation_secrets(system.home)])
    texts = {"route": over_http, "command": by_command, "report": answer.text, "report as text": shown}
    emitted = [CapturedOutput("export", place, text.encode()) for place, text in texts.items()]
    assert searcher.sightings(emitted) == []
    assert searcher.found(f"a provider key {key} in it".encode()), "the search finds what is there"
