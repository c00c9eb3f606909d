"""Everybody who may take requests in signs for them: the key of a tenant pays for its program's and the operator's chats.

Those of its HTTP clients are what the other tests of provider keys send. The provider's own log is the oracle.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from keyferry.client import ProviderKeyRefused, Unavailable, connect, connect_with_credentials
from keyferry.client.credentials import read
from tests.support.providers.openai_double import ANSWER, CHAT_MODEL, key_of
from tests.support.vault.keyed_system import KeyedSystem
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(180)

TENANT = "signers"
MESSAGES = [{"role": "user", "content": "hi"}]


def test_a_program_and_the_operator_sign_for_their_requests(keyed_system: KeyedSystem, tmp_path: Path) -> None:
    keyed_system.new_tenant(TENANT, keys="own")
    file = tmp_path / "crm.credentials.json"
    keyed_system.cli("services", "create", "crm", "--tenant", TENANT, "--output", str(file))
    key = keyed_system.provider.issue()
    keyed_system.add(TENANT, key)
    mark = keyed_system.provider.mark()

    answer = until("the program's chat is answered", lambda: asyncio.run(chat(file)))
    assert answer == ANSWER
    assert {key_of(call.request) for call in keyed_system.provider.calls[mark:]} == {key}

    shown = keyed_system.cli("chat", "hi", "--model", CHAT_MODEL, "--tenant", TENANT)
    assert ANSWER in shown


async def chat(file: Path) -> str | None:
    """Return the answer to a chat of the program; None while its keys, or the tenant's, are not known everywhere."""
    async with connect_with_credentials(file, max_retries=0) as client:
        try:
            return (await client.chat(model=CHAT_MODEL, messages=MESSAGES)).text
        except Exception:
            return None


def test_a_program_that_signs_nothing_gets_no_key(keyed_system: KeyedSystem, tmp_path: Path) -> None:
    """Its nkey lets it onto the bus. A key that no worker has leased is not released for it."""
    tenant = "unsigned"
    keyed_system.new_tenant(tenant, keys="own")
    file, seed = tmp_path / "crm.credentials.json", tmp_path / "seed"
    keyed_system.cli("services", "create", "crm", "--tenant", tenant, "--output", str(file))
    credentials = read(file)
    seed.write_text(credentials.nkey_seed.reveal())
    key = keyed_system.provider.issue()
    key_id = keyed_system.add(tenant, key)["key_id"]
    mark = keyed_system.provider.mark()

    async def refused() -> str | None:
        async with connect(credentials.nats_url, tenant=tenant, name="crm", nkey_file=seed, max_retries=0) as client:
            try:
                await client.chat(model=CHAT_MODEL, messages=MESSAGES)
            except (Unavailable, ProviderKeyRefused) as error:
                return str(error) if "under way" in str(error) else None
            raise AssertionError("it was answered")

    message = until("the chat is refused for want of a grant", lambda: asyncio.run(refused()))
    assert "connect_with_credentials" in message
    assert [call for call in keyed_system.provider.calls[mark:] if key_of(call.request) == key] == []

    def leases() -> list[dict[str, Any]]:
        found = keyed_system.audit(tenant)
        return [event for event in found if event["action"] == "key.lease" and event["target"] == key_id]

    recorded = until("the refusal is in the audit", leases)
    assert {event["outcome"] for event in recorded} == {"refused"}
