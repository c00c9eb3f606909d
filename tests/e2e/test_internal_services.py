"""An internal service through the whole running system: created, called with, revoked, at the command line."""

import asyncio
import json
from pathlib import Path

import pytest

from keyferry.client import CannotConnect, Client, KeyferryError, connect, connect_with_credentials
from keyferry.client.credentials import ServiceCredentials, read
from tests.support.providers.openai_double import ANSWER, CHAT_MODEL, key_of
from tests.support.vault.keyed_system import KeyedSystem
from tests.support.waiting import eventually, eventually_async, until

pytestmark = pytest.mark.timeout(300)

QUESTION = [{"role": "user", "content": "hello over the bus"}]


@pytest.fixture(scope="module")
def crm(keyed_system: KeyedSystem, tmp_path_factory: pytest.TempPathFactory) -> ServiceCredentials:
    """Create a tenant with a key of its own, and its service `crm`."""
    keyed_system.new_tenant("bussing", keys="own")
    keyed_system.add("bussing", keyed_system.provider.issue())
    return read(create(keyed_system, "crm", tmp_path_factory.mktemp("crm")))


def create(keyed_system: KeyedSystem, name: str, folder: Path) -> Path:
    file = folder / f"{name}.credentials.json"
    made = keyed_system.cli("services", "create", name, "--tenant", "bussing", "--output", str(file), "--json")
    assert json.loads(made)["credentials_file"] == str(file)
    return file


async def ask(client: Client) -> str:
    answer = await client.chat(model=CHAT_MODEL, messages=QUESTION, operation="crm.hello", tags={"step": "first"})
    return answer.text


async def until_answered(client: Client) -> None:
    """Wait until routers and the vault have the tenant, its key and the service in their views."""

    async def answered() -> bool:
        try:
            return await ask(client) == ANSWER
        except KeyferryError:
            return False

    await eventually_async("the provider answers over the bus", answered)


async def until_offered(file: Path) -> None:
    """Wait until the router knows the tenant's key. Nothing is leased for it."""

    async def offered() -> bool:
        async with connect_with_credentials(file) as client:
            return CHAT_MODEL in {model.id.rpartition("/")[2] for model in await client.models()}

    await eventually_async("the tenant's key serves the model", offered)


async def call(file: Path) -> None:
    async with connect_with_credentials(file) as client:
        await until_answered(client)


async def call_unsigned(credentials: ServiceCredentials, seed: Path) -> KeyferryError:
    """Call with the nkey alone, without the key that signs requests."""
    async with connect(
        credentials.nats_url, tenant=credentials.tenant, name=credentials.name, nkey_file=seed, max_retries=0
    ) as client:
        with pytest.raises(KeyferryError) as caught:
            await ask(client)
    return caught.value


def test_its_tenants_keys_are_released_for_requests_that_it_signed(
    keyed_system: KeyedSystem, crm: ServiceCredentials, tmp_path: Path
) -> None:
    file, seed = tmp_path / "crm.json", tmp_path / "crm.seed"
    file.write_text(crm.to_text().reveal())
    seed.write_text(crm.nkey_seed.reveal())
    asyncio.run(until_offered(file))
    mark = keyed_system.provider.mark()
    # The requests without a grant come first: a worker that has leased the key uses it for a minute.
    error = asyncio.run(call_unsigned(crm, seed))
    assert error.request_id
    assert asked_over_the_bus(keyed_system, mark) == [], "no key leaves the vault without a grant"
    asyncio.run(call(file))
    assert asked_over_the_bus(keyed_system, mark)


def asked_over_the_bus(keyed_system: KeyedSystem, mark: int) -> list[str]:
    """Return the keys of the calls since `mark` that the provider got for the question here."""
    calls = keyed_system.provider.calls[mark:]
    return [key_of(made.request) for made in calls if "over the bus" in str(made.request.body)]


@pytest.mark.usefixtures("crm")
def test_a_revoked_service_is_disconnected_and_stays_out(keyed_system: KeyedSystem, tmp_path: Path) -> None:
    file = create(keyed_system, "short-lived", tmp_path)

    async def live() -> None:
        async with connect_with_credentials(file) as client:
            await client.models()
            bus = client._transport._client  # type: ignore[attr-defined] # what its transport holds
            await asyncio.to_thread(keyed_system.cli, "services", "revoke", "short-lived", "--tenant", "bussing")
            await eventually("the server has closed its connection", lambda: not bus.is_connected)
        with pytest.raises(CannotConnect, match="does not accept"):
            async with connect_with_credentials(file):
                pass

    asyncio.run(live())
    listed = keyed_system.cli("services", "list", "--tenant", "bussing", "--revoked")
    assert "revoked 20" in next(line for line in listed.splitlines() if line.startswith("short-lived"))

    def is_audited() -> bool:
        events = keyed_system.audit("bussing")
        return ("internal_service.revoke", "short-lived") in [(event["action"], event["target"]) for event in events]

    until("the ledger has recorded the event", is_audited)
