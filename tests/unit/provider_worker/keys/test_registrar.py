"""A process registers fresh public keys in time, keeps the last one until it expires, and reports what is wrong."""

import asyncio
import time

import pytest
from nats.errors import ConnectionClosedError

from keyferry.contracts.lease import Registered, WorkerRegistration
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.backoff import Backoff
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.sealing.registration import MAX_VALID_MS, verify
from services.provider_worker.keys import registrar as registrar_module
from services.provider_worker.keys.registrar import AskToRegister, NotRegistered, Registrar
from tests.support.vault.vault_double import INSTANCE_ID, WORKER_ID, VaultDouble, worker_side


def registrar_asking(vault: VaultDouble, ask: AskToRegister) -> Registrar:
    return Registrar(
        worker_id=WORKER_ID, instance_id=INSTANCE_ID, identity=vault.identity, vault=vault.signer.public_key(), ask=ask
    )


async def test_a_registration_is_signed_and_valid_for_an_hour() -> None:
    vault = VaultDouble()
    registrar = worker_side(vault).registrar
    assert not registrar.registered
    await registrar.register()
    (shown,) = vault.registrations
    now_unix_ms = time.time_ns() // 1_000_000
    verify(shown, vault.identity.public_key(), now_unix_ms)
    assert 0 <= now_unix_ms + MAX_VALID_MS - shown.not_after_unix_ms < 60_000
    assert (shown.worker_id, shown.instance_id) == (WORKER_ID, INSTANCE_ID)
    assert registrar.registered


async def test_each_registration_has_a_fresh_key_and_the_last_one_stays_until_it_expires() -> None:
    vault, now_unix_ms = VaultDouble(), time.time_ns() // 1_000_000
    moment = [now_unix_ms]
    registrar = worker_side(vault, unix_ms=lambda: moment[0]).registrar
    await registrar.register()
    first = registrar.recipient.private_keys[0]
    moment[0] += 1000
    await registrar.register()
    second, kept = registrar.recipient.private_keys
    assert kept is first
    assert second.private_bytes_raw() != first.private_bytes_raw()
    assert len({shown.public_key for shown in vault.registrations}) == 2
    moment[0] = now_unix_ms + MAX_VALID_MS
    assert registrar.recipient.private_keys == (second,)
    moment[0] += 1000
    assert not registrar.recipient.private_keys
    assert not registrar.registered


async def test_a_key_whose_confirmation_was_lost_is_registered_again() -> None:
    vault = VaultDouble()
    received: list[WorkerRegistration] = []

    async def answer_is_lost(registration: WorkerRegistration) -> Registered:
        received.append(registration)
        raise BusError("no answer to worker.register within 5 s")

    registrar = registrar_asking(vault, answer_is_lost)
    for _ in range(3):
        with pytest.raises(NotRegistered, match="no answer"):
            await registrar.register()
    assert len({registration.public_key for registration in received}) == 1
    assert len(registrar.recipient.private_keys) == 1
    assert not registrar.registered


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (
            Refused(ErrorCode.INVALID, "provider-worker-1 is not enrolled"),
            "refuses this worker: provider-worker-1 is not",
        ),
        (BusError("nobody answers worker.register"), "cannot be reached: nobody answers"),
        (ConnectionClosedError(), "cannot be reached"),
    ],
)
async def test_the_error_states_the_cause(error: Exception, detail: str) -> None:
    async def fails(registration: WorkerRegistration) -> Registered:
        raise error

    with pytest.raises(NotRegistered, match=detail):
        await registrar_asking(VaultDouble(), fails).register()


async def test_registration_is_retried_until_the_vault_is_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registrar_module, "_RETRIES", Backoff(0.001, 30.0))
    vault, tries, done = VaultDouble(), 0, asyncio.Event()

    async def comes_late(registration: WorkerRegistration) -> Registered:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise BusError("nobody answers")
        done.set()
        return await vault.register(registration)

    registrar = registrar_asking(vault, comes_late)
    registrar.start()
    try:
        async with asyncio.timeout(30):
            await done.wait()
            while not registrar.registered:  # noqa: ASYNC110  # the reply is handled in a task that signals nobody
                await asyncio.sleep(0)
    finally:
        await registrar.stop()
    assert tries == 4


async def test_concurrent_reregistrations_register_once() -> None:
    vault = VaultDouble()
    registrar = worker_side(vault).registrar
    await asyncio.gather(*(registrar.reregister() for _ in range(50)))
    assert len(vault.registrations) == 1
