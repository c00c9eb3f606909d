"""The key of an attempt: asked for once, kept while it may be, and taken only as the vault gave it for this very question."""

import asyncio
import logging
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import FailureClass, Where
from keyferry.contracts.key import KeyStatus, LeaseKey, Registered, RunKeyTest, SealedKey, WorkerRegistration
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
from tests.support.vault.vault_double import INSTANCE_ID, WORKER_ID, VaultDouble, key_facts, worker_side

ORIGIN = "https://api.openai.com"
KEY = Secret("sk-canary-0123456789abcdef")
FACTS = key_facts()
REPLAYS = 10_000


def run_with(key_id: str = FACTS.key_id, owner: str | None = "acme") -> AttemptRun:
    return attempt_run(provider="openai").model_copy(update={"key_id": key_id, "key_owner": owner})


def vault_with_a_key() -> VaultDouble:
    vault = VaultDouble()
    vault.put(FACTS, KEY)
    return vault


async def test_the_first_call_asks_and_the_next_ones_need_not() -> None:
    vault = vault_with_a_key()
    leases = worker_side(vault).leases
    for _ in range(5):
        leased = await leases.lease(run_with(), ORIGIN)
        assert leased.for_origin(ORIGIN) == KEY
    (asked,) = vault.asked
    assert (asked.owner, asked.tenant, asked.attempt_id, asked.instance_id) == ("acme", "acme", "att_test", INSTANCE_ID)


async def test_attempts_at_the_same_time_share_one_request() -> None:
    vault = vault_with_a_key()
    leases = worker_side(vault).leases
    leased = await asyncio.gather(*(leases.lease(run_with(), ORIGIN) for _ in range(100)))
    assert len(vault.asked) == 1
    assert len(set(map(id, leased))) == 1


async def test_one_attempt_that_gives_up_does_not_take_the_key_from_the_others() -> None:
    vault, answer = vault_with_a_key(), asyncio.Event()

    async def slow(asked: LeaseKey) -> SealedKey:
        await answer.wait()
        return await vault.lease(asked)

    leases = worker_side(vault, ask=slow).leases
    first, second = (asyncio.create_task(leases.lease(run_with(), ORIGIN)) for _ in range(2))
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
        await leases.lease(run_with(), ORIGIN)
        moment[0] += vault.lease_ms - 1
        await leases.lease(run_with(), ORIGIN)
        assert len(vault.asked) == 1
        moment[0] += 1
        await leases.lease(run_with(), ORIGIN)
    assert len(vault.asked) == 2


# --- revocation


@pytest.mark.parametrize("change", ["removed", "rotated", "disabled", "moved"])
async def test_what_the_view_takes_back_is_dropped_at_once(change: str) -> None:
    vault = vault_with_a_key()
    leases = worker_side(vault).leases
    await leases.lease(run_with(), ORIGIN)
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


async def test_a_rotated_key_is_the_new_one_from_the_next_attempt_on() -> None:
    vault = vault_with_a_key()
    leases = worker_side(vault).leases
    await leases.lease(run_with(), ORIGIN)
    vault.put(key_facts(version=2), Secret("sk-the-next-one"))
    assert (await leases.lease(run_with(), ORIGIN)).for_origin(ORIGIN) == Secret("sk-the-next-one")


async def test_without_looking_at_the_view_the_old_key_would_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.provider_worker.keys.lease_cache.is_usable", lambda *_: True)
    vault = vault_with_a_key()
    leases = worker_side(vault).leases
    await leases.lease(run_with(), ORIGIN)
    del vault.view["acme.key_0001"]
    assert (await leases.lease(run_with(), ORIGIN)).for_origin(ORIGIN) == KEY


async def test_a_view_that_may_have_missed_something_allows_nothing_to_be_kept() -> None:
    vault = vault_with_a_key()
    leases = worker_side(vault).leases
    await leases.lease(run_with(), ORIGIN)
    vault.connected = False
    await leases.lease(run_with(), ORIGIN)
    assert len(vault.asked) == 2
    assert len(leases) == 0, "nor is what was asked for meanwhile"
    vault.connected = True
    await leases.lease(run_with(), ORIGIN)
    assert len(vault.asked) == 3
    assert len(leases) == 1
    leases.evict_all()
    assert len(leases) == 0


async def test_a_key_that_is_revoked_while_it_is_asked_for_is_not_kept() -> None:
    vault = vault_with_a_key()

    async def revoked_on_the_way(asked: LeaseKey) -> SealedKey:
        sealed = await vault.lease(asked)
        del vault.view["acme.key_0001"]
        return sealed

    leases = worker_side(vault, ask=revoked_on_the_way).leases
    await leases.lease(run_with(), ORIGIN)
    assert len(leases) == 0


# --- no key


async def test_a_key_that_is_gone_leaves_the_attempt_to_others(caplog: pytest.LogCaptureFixture) -> None:
    leases = worker_side(VaultDouble()).leases
    with pytest.raises(KeyUnavailable, match="acme has no key key_0001") as refused:
        await leases.lease(run_with(), ORIGIN)
    assert refused.value.failure.failure_class is FailureClass.UNAVAILABLE
    assert refused.value.failure.where is Where.NOT_SENT


AWAY = [BusError("nobody answers key.lease"), TimeoutError(), Refused(ErrorCode.UNAVAILABLE, "its database is away")]


@pytest.mark.parametrize(("patience", "remaining_candidates"), [("LEASE_SECONDS", 1), ("LAST_CANDIDATE_SECONDS", 0)])
@pytest.mark.parametrize("error", AWAY)
async def test_a_vault_that_stays_away_is_waited_for_no_longer_than_worth_while(
    monkeypatch: pytest.MonkeyPatch, error: Exception, patience: str, remaining_candidates: int
) -> None:
    monkeypatch.setattr(lease_client, patience, 0.2)

    async def fails(asked: LeaseKey) -> SealedKey:
        raise error

    leases = worker_side(vault_with_a_key(), ask=fails).leases
    run = run_with().model_copy(update={"remaining_candidates": remaining_candidates})
    with pytest.raises(KeyUnavailable, match=r"the key vault does not answer|its database is away"):
        await leases.lease(run, ORIGIN)


async def test_a_vault_that_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_client, "LAST_CANDIDATE_SECONDS", 0.05)
    leases = worker_side(vault_with_a_key(), ask=Mute().ask).leases
    with pytest.raises(KeyUnavailable, match="does not answer"):
        await leases.lease(run_with(), ORIGIN)


# --- a vault that comes back


class Mute:
    """A vault that was killed over a question: nothing comes back, and nothing says so."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.called_off = asyncio.Event()

    async def ask(self, asked: LeaseKey) -> SealedKey:
        self.asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.called_off.set()
        raise AssertionError("unreachable")


@pytest.mark.parametrize("error", AWAY)
async def test_a_vault_that_is_back_is_asked_anew_with_another_nonce(error: Exception) -> None:
    vault, nonces = vault_with_a_key(), []

    async def away_at_first(asked: LeaseKey) -> SealedKey:
        nonces.append(asked.nonce)
        if len(nonces) < 3:
            raise error
        return await vault.lease(asked)

    leases = worker_side(vault, ask=away_at_first).leases
    assert (await leases.lease(run_with(), ORIGIN)).for_origin(ORIGIN) == KEY
    assert len(set(nonces)) == 3
    assert len(vault.delivered) == 1


async def test_a_question_that_got_lost_is_asked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_client, "_REPLY_TIMEOUTS", Backoff(0.02, lease_client.LEASE_SECONDS))
    vault, mute = vault_with_a_key(), Mute()

    async def loses_the_first(asked: LeaseKey) -> SealedKey:
        return await (vault.lease(asked) if mute.asked.is_set() else mute.ask(asked))

    leases = worker_side(vault, ask=loses_the_first).leases
    assert (await leases.lease(run_with(), ORIGIN)).for_origin(ORIGIN) == KEY
    assert mute.called_off.is_set()


async def test_what_the_vault_says_no_to_is_not_asked_again() -> None:
    questions: list[LeaseKey] = []

    async def says_no(asked: LeaseKey) -> SealedKey:
        questions.append(asked)
        raise Refused(ErrorCode.NOT_FOUND, "it was removed")

    with pytest.raises(KeyUnavailable, match="it was removed"):
        await worker_side(vault_with_a_key(), ask=says_no).leases.lease(run_with(), ORIGIN)
    assert len(questions) == 1


async def test_a_question_that_nobody_waits_for_any_more_is_called_off_and_the_next_attempt_asks_its_own() -> None:
    vault, mute = vault_with_a_key(), Mute()

    async def mute_at_first(asked: LeaseKey) -> SealedKey:
        return await (vault.lease(asked) if mute.asked.is_set() else mute.ask(asked))

    leases = worker_side(vault, ask=mute_at_first).leases
    gone = asyncio.create_task(leases.lease(run_with(), ORIGIN))
    await mute.asked.wait()
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert (await leases.lease(run_with(), ORIGIN)).for_origin(ORIGIN) == KEY
    assert mute.called_off.is_set()


async def test_however_many_wait_a_vault_meets_few_questions_at_once() -> None:
    at_once, most, back = 0, 0, asyncio.Event()
    vault, keys = VaultDouble(), [f"key_{number:04d}" for number in range(300)]
    for key_id in keys:
        vault.put(key_facts(key_id), KEY)

    async def counts(asked: LeaseKey) -> SealedKey:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        try:
            await back.wait()
            return await vault.lease(asked)
        finally:
            at_once -= 1

    leases = worker_side(vault, ask=counts).leases
    runs = [asyncio.create_task(leases.lease(run_with(key_id), ORIGIN)) for key_id in keys]
    await until_asked(lambda: at_once == lease_client._MAX_CONCURRENT)
    back.set()
    assert {(await run).key_id for run in runs} == set(keys)
    assert most == lease_client._MAX_CONCURRENT


async def test_with_many_waiting_the_next_one_does_not_wait_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_client, "LEASE_SECONDS", 0.05)
    mute = Mute()
    leases = worker_side(vault_with_a_key(), ask=mute.ask, max_waiting=1).leases
    patient = asyncio.create_task(leases.lease(run_with(), ORIGIN))
    await mute.asked.wait()
    with pytest.raises(KeyUnavailable, match="does not answer"):
        await leases.lease(run_with(), ORIGIN)
    assert not patient.done()
    patient.cancel()


async def until_asked(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # a count has no event to wait for
            await asyncio.sleep(0)


async def test_a_process_that_the_vault_forgot_registers_again_and_asks_once_more() -> None:
    vault = vault_with_a_key()
    calls = 0

    async def forgets_once(asked: LeaseKey) -> SealedKey:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise Refused(ErrorCode.CONFLICT, "this process is not registered")
        return await vault.lease(asked)

    leases = worker_side(vault, ask=forgets_once).leases
    assert (await leases.lease(run_with(), ORIGIN)).for_origin(ORIGIN) == KEY
    assert calls == 2


async def test_neither_failures_nor_logs_repeat_a_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    vault = vault_with_a_key()
    vault.signer, told = Ed25519PrivateKey.generate(), []
    side = worker_side(vault)
    vault.signer = Ed25519PrivateKey.generate()
    for origin in (ORIGIN, "https://evil.example"):
        with pytest.raises(KeyUnavailable) as refused:
            await side.leases.lease(run_with(), origin)
        told.append(f"{refused.value!r} {refused.value.failure!r}")
    assert "canary" not in caplog.text + "".join(told)
    assert "rejected a delivered key" in caplog.text


# --- a bus that is hostile


async def test_ten_thousand_replays_and_substitutions_put_no_key_into_a_workers_hands() -> None:
    """Everything that was ever delivered comes again in place of the answer: for this question or for others."""
    vault = vault_with_a_key()
    vault.put(key_facts("key_0002"), Secret("sk-of-another"))
    honest = worker_side(vault)
    for key_id in ("key_0001", "key_0002") * 10:
        honest.leases.evict_all()
        await honest.leases.lease(run_with(key_id), ORIGIN)
    recorded = list(vault.delivered)
    played = 0

    async def replays(asked: LeaseKey) -> SealedKey:
        nonlocal played
        played += 1
        return recorded[played % len(recorded)]

    # The very process that the deliveries were sealed to, with the keys that open them.
    honest.leases._ask = replays
    honest.leases.evict_all()
    taken = 0
    for number in range(REPLAYS):
        try:
            await honest.leases.lease(run_with(f"key_000{1 + number % 2}"), ORIGIN)
            taken += 1
        except KeyUnavailable:
            pass
    assert (taken, played) == (0, REPLAYS)


async def test_without_the_check_of_the_question_a_replay_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    vault = vault_with_a_key()
    side = worker_side(vault)
    await side.leases.lease(run_with(), ORIGIN)
    (recorded,) = vault.delivered

    async def replays(asked: LeaseKey) -> SealedKey:
        return recorded

    side.leases._ask = replays
    side.leases.evict_all()
    monkeypatch.setattr(lease_client, "answers", lambda sealed, asked: None)
    assert (await side.leases.lease(run_with(), ORIGIN)).for_origin(ORIGIN) == KEY


async def test_a_key_of_the_attackers_own_is_not_taken_for_the_tenants() -> None:
    """The attacker on the bus knows every message, and answers each question with a well-formed delivery."""
    vault = vault_with_a_key()
    attacker = Ed25519PrivateKey.generate()

    async def substitutes(asked: LeaseKey) -> SealedKey:
        return seal_to_worker(
            Secret("sk-of-the-attacker"),
            attacker,
            vault.registrations[-1],
            FACTS,
            purpose=Purpose.LEASE,
            tenant=asked.tenant,
            nonce=asked.nonce,
            not_after_unix_ms=asked.sent_at_unix_ms + 60_000,
        )

    leases = worker_side(vault, ask=substitutes).leases
    with pytest.raises(KeyUnavailable, match="not signed by the vault"):
        await leases.lease(run_with(), ORIGIN)
    leases._registrar._vault = attacker.public_key()
    leased = await leases.lease(run_with(), ORIGIN)
    assert leased.for_origin(ORIGIN) == Secret("sk-of-the-attacker"), "the pinned key is all that stands in between"


async def test_a_registration_that_the_bus_puts_in_place_of_ours_gains_nothing() -> None:
    """The bus registers a public key of its own under the worker's name: without the identity's signature."""
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
    assert (await side.leases.lease(run_with(), ORIGIN)).for_origin(ORIGIN) == KEY
    assert len(accepted) == 1
    (sealed,) = vault.delivered
    assert vault.registrations[-1].public_key != to_base64(stolen.public_key().public_bytes_raw())
    assert sealed.instance_id == INSTANCE_ID


# --- a key to test


def check_for(vault: VaultDouble, *, purpose: Purpose = Purpose.CHECK, nonce: str = "AAAA") -> RunKeyTest:
    sealed = seal_to_worker(
        KEY,
        vault.signer,
        vault.registrations[-1],
        FACTS,
        purpose=purpose,
        tenant="acme",
        nonce=nonce,
        not_after_unix_ms=vault.registrations[-1].not_after_unix_ms,
    )
    return RunKeyTest(key=sealed, base_url=FACTS.base_url)


async def test_a_key_to_test_is_taken_once() -> None:
    vault = vault_with_a_key()
    side = worker_side(vault)
    await side.registrar.register()
    check = check_for(vault)
    assert side.leases.open_test_key(check).for_origin(ORIGIN) == KEY
    with pytest.raises(InvalidDelivery, match="asked for before"):
        side.leases.open_test_key(check)
    assert side.leases.open_test_key(check_for(vault, nonce="BBBB")).for_origin(ORIGIN) == KEY


async def test_a_lease_is_not_taken_for_a_test() -> None:
    vault = vault_with_a_key()
    side = worker_side(vault)
    await side.registrar.register()
    with pytest.raises(InvalidDelivery, match="not signed by the vault"):
        side.leases.open_test_key(check_for(vault, purpose=Purpose.LEASE))
