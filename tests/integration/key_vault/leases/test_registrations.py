"""A registration is signed by an enrolled identity, for its own worker, for an hour at most."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keyferry.contracts.audit import AuditOutcome
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.bus.requests import Refused
from tests.integration.key_vault.vault_on_bus import VaultOnBus, now_unix_ms


async def test_registration_is_stored_and_audited(on_bus: VaultOnBus) -> None:
    async with on_bus.vault_process(), on_bus.worker() as worker:
        kept = await on_bus.vault.stores.workers.get(worker.bus.user, worker.bus.instance_id)
        assert kept is not None
        (event,) = on_bus.audited("worker.register")
    assert kept.instance_id == worker.bus.instance_id
    assert (event.actor, event.target, event.outcome) == (
        "provider-worker-1",
        worker.bus.instance_id,
        AuditOutcome.DONE,
    )


async def test_invalid_registration_is_rejected_and_audited(on_bus: VaultOnBus) -> None:
    async with on_bus.vault_process(), on_bus.worker(1, register=False) as one, on_bus.worker(2, register=False) as two:
        good = one.registration()
        on_bus.identities[1] = stranger = Ed25519PrivateKey.generate()
        one._identity = stranger
        cases = {
            "not signed by the identity key": one.registration(),
            "and 3600000 are allowed": two.registration(not_after_unix_ms=now_unix_ms() + 3_700_000),
            "ago: register again": two.registration(not_after_unix_ms=now_unix_ms() - 1000),
        }
        for detail, registration in cases.items():
            publisher = one if registration.worker_id == one.bus.user else two
            with pytest.raises(Refused, match=detail) as refused:
                await publisher.register(registration)
            assert refused.value.refusal.code is ErrorCode.INVALID
        events = on_bus.audited("worker.register")
        assert [event.outcome for event in events] == [AuditOutcome.REFUSED] * len(cases)
        assert all(detail in event.details["why"] for detail, event in zip(cases, events, strict=True))
        await one.register(good)


async def test_worker_cannot_register_on_another_workers_subject(on_bus: VaultOnBus) -> None:
    """Even a valid registration is rejected on another worker's subject."""
    async with on_bus.vault_process(), on_bus.worker(1, register=False) as one, on_bus.worker(2, register=False) as two:
        with pytest.raises(Refused, match="names another tenant or owner"):
            await two.register(one.registration())
        assert await on_bus.vault.stores.workers.get(one.bus.user, one.bus.instance_id) is None
