"""The key of an attempt: requested once, cached while allowed, and accepted only in reply to this very request."""

import asyncio
import logging
import time
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.credit import Hold, Reservation
from keyferry.contracts.failure import FailureClass, Where
from keyferry.contracts.key import KeyStatus
from keyferry.contracts.lease import LeaseKey, Registered, RunKeyTest, SealedKey, WorkerRegistration
from keyferry.contracts.secret import Secret
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.backoff import Backoff
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.sealing import registration as registrations
from keyferry.sealing.delivery import InvalidDelivery, Purpose, seal_to_worker
from keyferry.sealing.framing import to_base64
from services.provider_worker.keys import lease_client
from services.provider_worker.keys.lease_client import KeyUnavailable
from tests.support.providers.attempt_runs import attempt_run
from tests.support.vault.grants import Granting
from tests.support.vault.vault_double import INSTANCE_ID, WORKER_ID, VaultDouble, key_facts, worker_side
from tests.support.waiting import eventually

ORIGIN = "https://api.openai.com"
KEY = Secret("sk-canary-0123456789abcdef")
FACTS = key_facts()
REPLAYS = 10_000
BODY = b"{}"


def run_with(key_id: str = FACTS.key_id, owner: str | None = "acme") -> AttemptRun:
    return attempt_run(provider="openai").model_copy(update={"key_id": key_id, "key_owner": owner})


def vault_with_a_key() -> VaultDouble:
    vault = VaultDouble()
    vault.put(FACTS, KEY)
    return vault


async def test_only_the_first_call_requests_a_lease() -> None:
    vault = vault_with_a_key()
    leases = worker_side(vault).leases
    for _ in range(5):
        leased = await leases.lease(run_with(), ORIGIN, BODY)
        assert leased.for_origin(ORIGIN) == KEY
    (command,) = vault.commands
    assert (command.owner, command.tenant, command.attempt_id, command.instance_id) == (
        "acme",
        "acme",
        "att_test",
        INSTANCE_ID,
    )


async def test_attempts_at_the_same_time_share_one_request() -> None:
    vault = vault_with_a_key()
    leases = worker_side(vault).leases
    leased = await asyncio.gather(*(leases.lease(run_with(), ORIGIN, BODY) for _ in range(100)))
    assert len(vault.commands) == 1
    assert len(set(map(id, leased))) == 1


async def test_an_attempt_that_gives_up_does_not_cancel_the_others_request() -> None:
    vault, answer = vault_with_a_key(), asyncio.Event()

    async def slow(command: LeaseKey) -> SealedKey:
        await answer.wait()
        return await vault.lease(command)

    leases = worker_side(vault, ask=slow).leases
    first, second = (asyncio.create_task(leases.lease(run_with(), ORIGIN, BODY)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    answer.set()
    assert (await second).for_origin(ORIGIN) == KEY
    assert first.cancelled()


async def test_a_lease_ends() -> None:
    vault = vault_with_a_key()
    moment = [1_900_000_000_000]
    vault_now = lambda: moment[0]  # noqa: E731
    leases = worker_side(vault, unix_ms=vault_now).leases
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("tests.support.vault.vault_double.verify", lambda *_: None)
        await leases.lease(run_with(), ORIGIN, BODY)
        moment[0] += vault.lease_ms - 1
        await leases.lease(run_with(), ORIGIN, BODY)
        assert len(vault.commands) == 1
        moment[0] += 1
        await leases.lease(run_with(), ORIGIN, BODY)
    assert len(vault.commands) == 2


async def test_a_cached_key_is_not_offered_to_another_origin() -> None:
    """The vault decides about each origin, although it released the key for one."""
    vault = vault_with_a_key()
    leases = worker_side(vault).leases
    await leases.lease(run_with(), ORIGIN, BODY)
    with pytest.raises(KeyUnavailable):
        await leases.lease(run_with(), "https://elsewhere.example", BODY)
    assert [command.origin for command in vault.commands] == [ORIGIN, "https://elsewhere.example"]


async def test_an_ended_lease_leaves_memory_without_another_attempt() -> None:
    vault = vault_with_a_key()
    vault.lease_ms = 300
    leases = worker_side(vault).leases
    await leases.lease(run_with(), ORIGIN, BODY)
    await eventually("the key is gone", lambda: len(leases) == 0)


# --- revocation


@pytest.mark.parametrize("change", ["removed", "rotated", "disabled", "moved"])
async def test_keys_revoked_by_the_view_are_evicted_at_once(change: str) -> None:
    vault = vault_with_a_key()
    leases = worker_side(vault).leases
    await leases.lease(run_with(), ORIGIN, BODY)
    assert len(leases) == 1
    match change:
        case "removed":
            del vault.view["acme.key_0001"]
        case "rotated":
            vault.put(key_facts(version=2), Secret("sk-the-next-one"))
        case "disabled":
            vault.put(key_facts(status=KeyStatus.DISABLED), KEY)
        case "moved":
            vault.put(key_facts(origin="https://gateway.example"), KEY)
    leases.evict_unusable()
    assert len(leases) == 0


async def test_the_next_attempt_after_a_rotation_uses_the_new_key() -> None:
    vault = vault_with_a_key()
    leases = worker_side(vault).leases
    await leases.lease(run_with(), ORIGIN, BODY)
    vault.put(key_facts(version=2), Secret("sk-the-next-one"))
    assert (await leases.lease(run_with(), ORIGIN, BODY)).for_origin(ORIGIN) == Secret("sk-the-next-one")


async def test_without_the_view_check_the_old_key_is_still_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.provider_worker.keys.lease_cache.is_usable", lambda *_: True)
    vault = vault_with_a_key()
    leases = worker_side(vault).leases
    await leases.lease(run_with(), ORIGIN, BODY)
    del vault.view["acme.key_0001"]
    assert (await leases.lease(run_with(), ORIGIN, BODY)).for_origin(ORIGIN) == KEY


async def test_nothing_is_cached_while_the_view_is_not_current() -> None:
    vault = vault_with_a_key()
    leases = worker_side(vault).leases
    await leases.lease(run_with(), ORIGIN, BODY)
    vault.connected = False
    await leases.lease(run_with(), ORIGIN, BODY)
    assert len(vault.commands) == 2
    assert len(leases) == 0, "nor is what was requested meanwhile cached"
    vault.connected = True
    await leases.lease(run_with(), ORIGIN, BODY)
    assert len(vault.commands) == 3
    assert len(leases) == 1
    leases.evict_all()
    assert len(leases) == 0


async def test_a_key_revoked_during_its_lease_request_is_not_cached() -> None:
    vault = vault_with_a_key()

    async def revoked_meanwhile(command: LeaseKey) -> SealedKey:
        sealed = await vault.lease(command)
        del vault.view["acme.key_0001"]
        return sealed

    leases = worker_side(vault, ask=revoked_meanwhile).leases
    await leases.lease(run_with(), ORIGIN, BODY)
    assert len(leases) == 0


# --- no key available


async def test_an_attempt_whose_key_was_removed_falls_back(caplog: pytest.LogCaptureFixture) -> None:
    leases = worker_side(VaultDouble()).leases
    with pytest.raises(KeyUnavailable, match="acme has no key key_0001") as refused:
        await leases.lease(run_with(), ORIGIN, BODY)
    assert refused.value.failure.failure_class is FailureClass.UNAVAILABLE
    assert refused.value.failure.where is Where.NOT_SENT


UNAVAILABLE = [
    BusError("nobody answers key.lease"),
    TimeoutError(),
    Refused(ErrorCode.UNAVAILABLE, "its database is away"),
]


@pytest.mark.parametrize(("limit", "remaining_candidates"), [("LEASE_SECONDS", 1), ("LAST_CANDIDATE_SECONDS", 0)])
@pytest.mark.parametrize("error", UNAVAILABLE)
async def test_the_wait_for_an_unavailable_vault_is_limited(
    monkeypatch: pytest.MonkeyPatch, error: Exception, limit: str, remaining_candidates: int
) -> None:
    monkeypatch.setattr(lease_client, limit, 0.2)

    async def fails(command: LeaseKey) -> SealedKey:
        raise error

    leases = worker_side(vault_with_a_key(), ask=fails).leases
    run = run_with().model_copy(update={"remaining_candidates": remaining_candidates})
    with pytest.raises(KeyUnavailable, match=r"the key vault does not answer|its database is away"):
        await leases.lease(run, ORIGIN, BODY)


async def test_the_wait_for_a_silent_vault_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_client, "LAST_CANDIDATE_SECONDS", 0.05)
    leases = worker_side(vault_with_a_key(), ask=SilentVault().ask).leases
    with pytest.raises(KeyUnavailable, match="does not answer"):
        await leases.lease(run_with(), ORIGIN, BODY)


# --- grants


GRANTING = Granting()


def granted_run(request_id: str, *, body: bytes = BODY, owner: str = "acme") -> AttemptRun:
    grant = GRANTING.grant("acme", request_id, body=body)
    ids = {"request_id": request_id, "attempt_id": f"att_of_{request_id}"}
    return run_with(owner=owner).model_copy(update={**ids, "grant": grant})


async def test_a_request_for_a_key_carries_the_grant() -> None:
    vault, run = vault_with_a_key(), granted_run("req_1")
    certificate = GRANTING.certificate("acme")
    hold = Hold(lease_id=certificate.lease_id, account=certificate.account, amount=1)
    reservation = Reservation(holds=[hold], not_after_unix_ms=1, certificate=certificate)
    paid = run.model_copy(update={"reservation": reservation})
    await worker_side(vault).leases.lease(paid, ORIGIN, BODY)
    (command,) = vault.commands
    assert (command.request_id, command.grant, command.certificate) == ("req_1", run.grant, None)
    vault.put(key_facts(tenant="platform"), KEY)
    await worker_side(vault).leases.lease(paid.model_copy(update={"key_owner": "platform"}), ORIGIN, BODY)
    assert vault.commands[-1].certificate == certificate, "only for a key of the platform"


@pytest.mark.parametrize("body", [b"", b"{} ", b'{"model":"another"}'])
async def test_a_body_that_was_exchanged_gets_no_key(body: bytes) -> None:
    vault = vault_with_a_key()
    with pytest.raises(KeyUnavailable, match="body is not the one that its grant is for") as refused:
        await worker_side(vault).leases.lease(granted_run("req_1"), ORIGIN, body)
    assert refused.value.failure.where is Where.NOT_SENT
    assert vault.commands == []


async def test_a_grant_that_cannot_be_read_gets_no_key() -> None:
    vault = vault_with_a_key()
    broken = granted_run("req_1").model_copy(update={"grant": "v1:ingress"})
    with pytest.raises(KeyUnavailable, match="grant cannot be read"):
        await worker_side(vault).leases.lease(broken, ORIGIN, BODY)
    assert vault.commands == []


async def test_a_request_that_is_not_granted_takes_no_key_from_those_that_wait_with_it() -> None:
    """A forged attempt comes first, and honest ones share its request to the vault."""
    vault, answer, asked = vault_with_a_key(), asyncio.Event(), list[str | None]()

    async def refuses_the_forged(command: LeaseKey) -> SealedKey:
        asked.append(command.request_id)
        await answer.wait()
        if command.request_id == "req_forged":
            raise Refused(ErrorCode.INVALID, "ingress has not signed for it")
        return await vault.lease(command)

    leases = worker_side(vault, ask=refuses_the_forged).leases
    forged = asyncio.create_task(leases.lease(granted_run("req_forged"), ORIGIN, BODY))
    honest = [asyncio.create_task(leases.lease(granted_run(f"req_{n}"), ORIGIN, BODY)) for n in range(20)]
    await asyncio.sleep(0)
    answer.set()
    for one in honest:
        assert (await one).for_origin(ORIGIN) == KEY
    with pytest.raises(KeyUnavailable, match="has not signed"):
        await forged
    assert asked[0] == "req_forged"
    assert len(asked) == 2, "the honest ones shared one further request"


async def test_what_is_refused_for_the_key_is_refused_for_all_that_wait() -> None:
    asked = list[str | None]()

    async def refuses(command: LeaseKey) -> SealedKey:
        asked.append(command.request_id)
        raise Refused(ErrorCode.NOT_FOUND, "it was removed")

    leases = worker_side(vault_with_a_key(), ask=refuses).leases
    runs = [leases.lease(granted_run(f"req_{n}"), ORIGIN, BODY) for n in range(5)]
    results = await asyncio.gather(*runs, return_exceptions=True)
    assert all(isinstance(one, KeyUnavailable) for one in results)
    assert len(asked) == 1


# --- a vault that recovers


class SilentVault:
    """A vault that was killed while handling a request: no reply, and no error."""

    def __init__(self) -> None:
        self.requested = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def ask(self, command: LeaseKey) -> SealedKey:
        self.requested.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()
        raise AssertionError("unreachable")


@pytest.mark.parametrize("error", UNAVAILABLE)
async def test_a_vault_that_recovers_is_asked_again_with_another_nonce(error: Exception) -> None:
    vault, nonces = vault_with_a_key(), []

    async def unavailable_at_first(command: LeaseKey) -> SealedKey:
        nonces.append(command.nonce)
        if len(nonces) < 3:
            raise error
        return await vault.lease(command)

    leases = worker_side(vault, ask=unavailable_at_first).leases
    assert (await leases.lease(run_with(), ORIGIN, BODY)).for_origin(ORIGIN) == KEY
    assert len(set(nonces)) == 3
    assert len(vault.delivered) == 1


async def test_a_lost_request_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_client, "_REPLY_TIMEOUTS", Backoff(0.02, lease_client.LEASE_SECONDS))
    vault, silent = vault_with_a_key(), SilentVault()

    async def loses_the_first(command: LeaseKey) -> SealedKey:
        return await (vault.lease(command) if silent.requested.is_set() else silent.ask(command))

    leases = worker_side(vault, ask=loses_the_first).leases
    assert (await leases.lease(run_with(), ORIGIN, BODY)).for_origin(ORIGIN) == KEY
    assert silent.cancelled.is_set()


async def test_a_request_that_the_vault_refuses_is_not_repeated() -> None:
    commands: list[LeaseKey] = []

    async def refuses(command: LeaseKey) -> SealedKey:
        commands.append(command)
        raise Refused(ErrorCode.NOT_FOUND, "it was removed")

    with pytest.raises(KeyUnavailable, match="it was removed"):
        await worker_side(vault_with_a_key(), ask=refuses).leases.lease(run_with(), ORIGIN, BODY)
    assert len(commands) == 1


async def test_a_request_without_waiters_is_cancelled_and_the_next_attempt_makes_its_own() -> None:
    vault, silent = vault_with_a_key(), SilentVault()

    async def silent_at_first(command: LeaseKey) -> SealedKey:
        return await (vault.lease(command) if silent.requested.is_set() else silent.ask(command))

    leases = worker_side(vault, ask=silent_at_first).leases
    gone = asyncio.create_task(leases.lease(run_with(), ORIGIN, BODY))
    await silent.requested.wait()
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert (await leases.lease(run_with(), ORIGIN, BODY)).for_origin(ORIGIN) == KEY
    assert silent.cancelled.is_set()


async def test_concurrent_requests_to_the_vault_are_limited() -> None:
    at_once, most, back = 0, 0, asyncio.Event()
    vault, keys = VaultDouble(), [f"key_{number:04d}" for number in range(300)]
    for key_id in keys:
        vault.put(key_facts(key_id), KEY)

    async def counts(command: LeaseKey) -> SealedKey:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        try:
            await back.wait()
            return await vault.lease(command)
        finally:
            at_once -= 1

    leases = worker_side(vault, ask=counts).leases
    runs = [asyncio.create_task(leases.lease(run_with(key_id), ORIGIN, BODY)) for key_id in keys]
    await until_true(lambda: at_once == lease_client._MAX_CONCURRENT)
    back.set()
    assert {(await run).key_id for run in runs} == set(keys)
    assert most == lease_client._MAX_CONCURRENT


async def test_above_the_waiting_limit_an_attempt_waits_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_client, "LEASE_SECONDS", 0.05)
    silent = SilentVault()
    leases = worker_side(vault_with_a_key(), ask=silent.ask, max_waiting=1).leases
    patient = asyncio.create_task(leases.lease(run_with(), ORIGIN, BODY))
    await silent.requested.wait()
    with pytest.raises(KeyUnavailable, match="does not answer"):
        await leases.lease(run_with(), ORIGIN, BODY)
    assert not patient.done()
    patient.cancel()


async def until_true(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # a count has no event to wait for
            await asyncio.sleep(0)


async def test_an_unknown_process_registers_again_and_repeats_its_request() -> None:
    vault = vault_with_a_key()
    calls = 0

    async def unknown_once(command: LeaseKey) -> SealedKey:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise Refused(ErrorCode.CONFLICT, "this process is not registered")
        return await vault.lease(command)

    leases = worker_side(vault, ask=unknown_once).leases
    assert (await leases.lease(run_with(), ORIGIN, BODY)).for_origin(ORIGIN) == KEY
    assert calls == 2


async def test_neither_failures_nor_logs_repeat_a_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    vault = vault_with_a_key()
    vault.signer, messages = Ed25519PrivateKey.generate(), []
    side = worker_side(vault)
    vault.signer = Ed25519PrivateKey.generate()
    for origin in (ORIGIN, "https://evil.example"):
        with pytest.raises(KeyUnavailable) as refused:
            await side.leases.lease(run_with(), origin, BODY)
        messages.append(f"{refused.value!r} {refused.value.failure!r}")
    assert "canary" not in caplog.text + "".join(messages)
    assert "rejected a delivered key" in caplog.text


# --- a bus that is hostile


async def test_ten_thousand_replays_and_substitutions_deliver_no_key() -> None:
    """Every earlier delivery is replayed in place of the reply: to this request or to others."""
    vault = vault_with_a_key()
    vault.put(key_facts("key_0002"), Secret("sk-of-another"))
    honest = worker_side(vault)
    for key_id in ("key_0001", "key_0002") * 10:
        honest.leases.evict_all()
        await honest.leases.lease(run_with(key_id), ORIGIN, BODY)
    recorded = list(vault.delivered)
    played = 0

    async def replays(command: LeaseKey) -> SealedKey:
        nonlocal played
        played += 1
        return recorded[played % len(recorded)]

    # The very process that the deliveries were sealed to, with the keys that open them.
    honest.leases._ask = replays
    honest.leases.evict_all()
    taken = 0
    for number in range(REPLAYS):
        try:
            await honest.leases.lease(run_with(f"key_000{1 + number % 2}"), ORIGIN, BODY)
            taken += 1
        except KeyUnavailable:
            pass
    assert (taken, played) == (0, REPLAYS)


async def test_without_the_reply_check_a_replay_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    vault = vault_with_a_key()
    side = worker_side(vault)
    await side.leases.lease(run_with(), ORIGIN, BODY)
    (recorded,) = vault.delivered

    async def replays(command: LeaseKey) -> SealedKey:
        return recorded

    side.leases._ask = replays
    side.leases.evict_all()
    monkeypatch.setattr(lease_client, "check_delivery", lambda sealed, command: None)
    assert (await side.leases.lease(run_with(), ORIGIN, BODY)).for_origin(ORIGIN) == KEY


async def test_a_key_of_the_attackers_own_is_not_accepted_for_the_tenants() -> None:
    """The attacker on the bus knows every message, and replies to each request with a well-formed delivery."""
    vault = vault_with_a_key()
    attacker = Ed25519PrivateKey.generate()

    async def substitutes(command: LeaseKey) -> SealedKey:
        return seal_to_worker(
            Secret("sk-of-the-attacker"),
            attacker,
            vault.registrations[-1],
            FACTS,
            purpose=Purpose.LEASE,
            tenant=command.tenant,
            nonce=command.nonce,
            not_after_unix_ms=command.sent_at_unix_ms + 60_000,
        )

    leases = worker_side(vault, ask=substitutes).leases
    with pytest.raises(KeyUnavailable, match="not signed by the vault"):
        await leases.lease(run_with(), ORIGIN, BODY)
    leases._registrar._vault = attacker.public_key()
    leased = await leases.lease(run_with(), ORIGIN, BODY)
    assert leased.for_origin(ORIGIN) == Secret("sk-of-the-attacker"), "the pinned key is the only protection"


async def test_a_registration_substituted_by_the_bus_gains_nothing() -> None:
    """The bus registers a public key of its own in the worker's name, without the identity's signature."""
    vault = vault_with_a_key()
    stolen = X25519PrivateKey.generate()
    accepted: list[Registered] = []

    async def replaces(registration: WorkerRegistration) -> Registered:
        forged = registrations.sign(
            Ed25519PrivateKey.generate(),
            worker_id=WORKER_ID,
            instance_id=INSTANCE_ID,
            public_key=stolen.public_key().public_bytes_raw(),
            not_after_unix_ms=registration.not_after_unix_ms,
        )
        for attempt in (
            forged,
            forged.model_copy(update={"signature": registration.signature}),
            registration.model_copy(update={"public_key": forged.public_key}),
        ):
            with pytest.raises(registrations.BadRegistration):
                await vault.register(attempt)
        accepted.append(await vault.register(registration))
        return accepted[-1]

    side = worker_side(vault)
    side.registrar._ask = replaces
    assert (await side.leases.lease(run_with(), ORIGIN, BODY)).for_origin(ORIGIN) == KEY
    assert len(accepted) == 1
    (sealed,) = vault.delivered
    assert vault.registrations[-1].public_key != to_base64(stolen.public_key().public_bytes_raw())
    assert sealed.instance_id == INSTANCE_ID


# --- a key to test


def check_for(
    vault: VaultDouble,
    *,
    purpose: Purpose = Purpose.KEY_TEST,
    nonce: str = "AAAA",
    not_after_unix_ms: int | None = None,
) -> RunKeyTest:
    sealed = seal_to_worker(
        KEY,
        vault.signer,
        vault.registrations[-1],
        FACTS,
        purpose=purpose,
        tenant="acme",
        nonce=nonce,
        not_after_unix_ms=not_after_unix_ms or vault.registrations[-1].not_after_unix_ms,
    )
    return RunKeyTest(key=sealed, base_url=FACTS.base_url)


async def test_a_key_to_test_is_accepted_once() -> None:
    vault = vault_with_a_key()
    side = worker_side(vault)
    await side.registrar.register()
    check = check_for(vault)
    assert side.leases.open_test_key(check).for_origin(ORIGIN) == KEY
    with pytest.raises(InvalidDelivery, match="delivered before"):
        side.leases.open_test_key(check)
    assert side.leases.open_test_key(check_for(vault, nonce="BBBB")).for_origin(ORIGIN) == KEY


@pytest.mark.parametrize("late_by_ms", [0, 1])
async def test_a_key_to_test_that_comes_too_late_is_rejected(late_by_ms: int) -> None:
    vault = vault_with_a_key()
    moment = [time.time_ns() // 1_000_000]
    side = worker_side(vault, unix_ms=lambda: moment[0])
    await side.registrar.register()
    check = check_for(vault, not_after_unix_ms=moment[0] + 1000)
    moment[0] += 1000 + late_by_ms
    with pytest.raises(InvalidDelivery, match="time is over"):
        side.leases.open_test_key(check)
    moment[0] -= late_by_ms + 1
    assert side.leases.open_test_key(check).for_origin(ORIGIN) == KEY


async def test_a_lease_is_not_accepted_as_a_key_to_test() -> None:
    vault = vault_with_a_key()
    side = worker_side(vault)
    await side.registrar.register()
    with pytest.raises(InvalidDelivery, match="not signed by the vault"):
        side.leases.open_test_key(check_for(vault, purpose=Purpose.LEASE))
