"""A cached registration is good until its last moment and not after it."""

import pytest

from keyferry.contracts.lease import WorkerRegistration
from services.key_vault.leases.registrations import VerifiedRegistrations
from tests.unit.sealing.deliveries import Process

PROCESS = Process()
WORKER, INSTANCE = PROCESS.recipient.worker_id, PROCESS.recipient.instance_id
REGISTRATION: WorkerRegistration = PROCESS.registration
END = REGISTRATION.not_after_unix_ms


def cached() -> VerifiedRegistrations:
    registrations = VerifiedRegistrations()
    registrations.put(REGISTRATION, END - 1000)
    return registrations


@pytest.mark.parametrize(("now_unix_ms", "found"), [(END - 1, REGISTRATION), (END, None), (END + 1, None)])
def test_a_registration_is_found_until_it_expires(now_unix_ms: int, found: WorkerRegistration | None) -> None:
    assert cached().get(WORKER, INSTANCE, now_unix_ms) == found


def test_a_registration_belongs_to_one_process_of_one_worker() -> None:
    assert cached().get(WORKER, "inst_2", END - 1) is None
    assert cached().get("provider-worker-2", INSTANCE, END - 1) is None


def test_expired_registrations_are_dropped_when_another_comes() -> None:
    registrations = cached()
    later = REGISTRATION.model_copy(update={"instance_id": "inst_2", "not_after_unix_ms": END + 1000})
    registrations.put(later, END)
    assert registrations.get(WORKER, INSTANCE, END - 1) is None, "the clock of a later request does not go back"
    assert registrations.get(WORKER, "inst_2", END) == later
