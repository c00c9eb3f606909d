"""Key tests through a live worker: the key is sealed to that process, for a test and nothing else."""

from datetime import UTC, datetime, timedelta

import pytest
from nats.aio.msg import Msg

from keyferry.contracts.key import KeyTest, KeyTestResult
from keyferry.contracts.lease import RunKeyTest
from keyferry.contracts.secret import Secret
from keyferry.contracts.service import ErrorCode, Refusal, refusal_reply
from keyferry.contracts.topology import KEY_TEST_RUN
from keyferry.runtime.bus.requests import BusError
from keyferry.sealing.delivery import Purpose, open_sealed
from services.key_vault.leases.service import KEY_TEST_SECONDS, LeaseService, NoWorker
from tests.integration.key_vault.vault_database import provider_key
from tests.integration.key_vault.vault_on_bus import VaultOnBus, WorkerEnd, quiet_alarms

KEY = Secret("sk-canary-0123456789abcdef")
FACTS = provider_key("acme")


async def answer_key_tests(worker: WorkerEnd, *, refuses: bool = False) -> list[tuple[RunKeyTest, Secret]]:
    """Make a worker answer key tests, and return the received tests as they come."""
    given: list[tuple[RunKeyTest, Secret]] = []

    async def on_check(message: Msg) -> None:
        check = RunKeyTest.decode(message.data)
        if refuses:
            await message.respond(refusal_reply(Refusal(code=ErrorCode.UNAVAILABLE, message="draining")))
            return
        key = open_sealed(check.key, worker.recipient, Purpose.KEY_TEST)
        given.append((check, key.for_origin(FACTS.origin)))
        answer = KeyTest(result=KeyTestResult.VALID, steps=[], duration_ms=1, tested_at=datetime.now(UTC))
        await message.respond(answer.encode())

    await worker.bus.client.subscribe(KEY_TEST_RUN.format(worker=worker.bus.user), cb=on_check)
    await worker.bus.client.flush()
    return given


async def test_live_worker_tests_a_key_that_is_not_stored(on_bus: VaultOnBus) -> None:
    async with on_bus.vault_process() as vault, on_bus.worker() as worker:
        given = await answer_key_tests(worker)
        answer = await vault.leases.test_key(FACTS, KEY, FACTS.base_url, {"region": "eu-central-1"}, "gpt-4o-mini")
    assert answer.result is KeyTestResult.VALID
    ((check, key),) = given
    assert key == KEY
    assert (check.base_url, check.fields, check.model) == (FACTS.base_url, {"region": "eu-central-1"}, "gpt-4o-mini")
    assert "canary" not in check.model_dump_json()


async def test_next_worker_is_asked_when_one_is_gone_or_refuses(on_bus: VaultOnBus) -> None:
    async with on_bus.vault_process() as vault, on_bus.worker(1) as one:
        given = await answer_key_tests(one)
        async with on_bus.worker(2):
            pass  # it registered last, and is gone
        await vault.leases.test_key(FACTS, KEY, FACTS.base_url, {}, None)
        async with on_bus.worker(2) as two:
            await answer_key_tests(two, refuses=True)
            await vault.leases.test_key(FACTS, KEY, FACTS.base_url, {}, None)
    assert len(given) == 2


async def test_key_test_without_a_worker_raises_no_worker(on_bus: VaultOnBus) -> None:
    async with on_bus.vault_process() as vault:
        with pytest.raises(NoWorker):
            await vault.leases.test_key(FACTS, KEY, FACTS.base_url, {}, None)
        async with on_bus.worker():
            pass
        with pytest.raises(NoWorker):
            await vault.leases.test_key(FACTS, KEY, FACTS.base_url, {}, None)


async def test_no_further_worker_is_asked_after_half_of_the_callers_time(on_bus: VaultOnBus) -> None:
    async with on_bus.vault_process(), on_bus.worker(1), on_bus.worker(2):
        now, asked = [datetime.now(UTC)], list[str]()

        async def ask(worker_id: str, command: RunKeyTest) -> KeyTest:
            asked.append(worker_id)
            now[0] += timedelta(seconds=seconds)
            raise BusError("it does not answer")

        database, encryption = on_bus.vault.stores.database, on_bus.vault.encryption
        alarms = quiet_alarms(database)
        service = LeaseService(database, encryption, on_bus.signer, on_bus.enrolled, lambda: now[0], ask, None, alarms)
        for seconds, count in ((KEY_TEST_SECONDS / 2 - 1, 2), (KEY_TEST_SECONDS / 2 + 1, 1)):  # noqa: B007 - `ask` reads it
            asked.clear()
            with pytest.raises(NoWorker):
                await service.test_key(FACTS, KEY, FACTS.base_url, {}, None)
            assert len(asked) == count
