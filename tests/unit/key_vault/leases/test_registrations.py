"""Which workers may receive keys, and until when: enrolled ones, until the last moment of their registration."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keyferry.contracts.lease import WorkerRegistration
from keyferry.sealing.private_keys import public_key_text
from keyferry.sealing.registration import BadRegistration
from services.key_vault.leases.registrations import BadEnrolment, EnrolledWorkers, VerifiedRegistrations
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


def enrolled(identity: Ed25519PrivateKey, worker_id: str = WORKER) -> EnrolledWorkers:
    return EnrolledWorkers.parse(json.dumps({worker_id: public_key_text(identity)}))


def test_an_enrolled_worker_may_register_until_its_registration_expires() -> None:
    workers = enrolled(PROCESS.identity)
    assert len(workers) == 1
    workers.check(REGISTRATION, END - 1)
    with pytest.raises(BadRegistration, match="register again"):
        workers.check(REGISTRATION, END)


def test_a_worker_that_is_not_enrolled_is_named_with_the_setting() -> None:
    with pytest.raises(BadRegistration) as refused:
        enrolled(PROCESS.identity, "provider-worker-2").check(REGISTRATION, END - 1)
    assert str(refused.value) == (
        f"{WORKER} is not enrolled with the vault: add its identity's public key to the file that"
        " KEYFERRY_ENROLLED_WORKERS_FILE names"
    )


def test_a_registration_signed_by_another_identity_is_refused() -> None:
    with pytest.raises(BadRegistration, match="not signed by the identity key"):
        enrolled(Ed25519PrivateKey.generate()).check(REGISTRATION, END - 1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the file of enrolled workers is not a JSON object: "),
        ("[]", "the file of enrolled workers has to hold a JSON object of worker id -> public key"),
        ('{"w": "AAAA"}', "the public key of w in the file of enrolled workers is not 32 bytes in base64url"),
        ('{"w": 1}', "the public key of w in the file of enrolled workers is not 32 bytes in base64url"),
        ('{"w": "A", "w": "A"}', "a worker is named twice"),
    ],
)
def test_an_unusable_list_is_refused_with_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(BadEnrolment) as refused:
        EnrolledWorkers.parse(text)
    assert says in str(refused.value)


def test_an_empty_list_enrols_nobody() -> None:
    assert len(EnrolledWorkers.parse("{}")) == 0
