"""Which attempts are authentication failures of a key."""

from datetime import UTC, datetime, timedelta

from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.topology import ATTEMPT_FINISHED
from keyferry.contracts.usage import AttemptRecord, KeySource, Outcome
from services.key_vault.keys.auth_failures import find_auth_failures
from tests.support.ledger.attempt_records import WORKER, attempt_record, batch_message

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
SUBJECT = ATTEMPT_FINISHED.format(worker=WORKER)


def refused(failure: FailureClass = FailureClass.AUTH, **changes: object) -> AttemptRecord:
    values: dict[str, object] = {
        "key_source": KeySource.BYOK,
        "key_id": "key_1abc",
        "outcome": Outcome.FAILED,
        "failure": Failure(failure_class=failure, message="scripted"),
        "started_at": AT,
        "latency_ms": 250,
    }
    return attempt_record(**(values | changes))


def found(*records: AttemptRecord, subject: str = SUBJECT) -> list[tuple[str, str, datetime]]:
    return list(find_auth_failures(subject, batch_message([record.encode() for record in records])))


def test_only_an_authentication_failure_of_a_key_counts() -> None:
    others = [failure for failure in FailureClass if failure is not FailureClass.AUTH]
    assert found(*(refused(failure) for failure in others)) == []
    assert found(refused(key_id=None), attempt_record(tags={"note": "auth"})) == []
    assert found(refused()) == [("acme", "key_1abc", AT + timedelta(milliseconds=250))]


def test_platform_key_belongs_to_the_platform() -> None:
    assert [owner for owner, _, _ in found(refused(key_source=KeySource.PLATFORM))] == ["platform"]


def test_worker_reports_its_own_attempts_only() -> None:
    assert found(refused(), subject=ATTEMPT_FINISHED.format(worker="provider-worker-2")) == []


def test_malformed_attempts_are_skipped() -> None:
    broken = b'{"failure": "auth", "cut off'
    assert [key_id for _, key_id, _ in find_auth_failures(SUBJECT, batch_message([broken, refused().encode()]))] == [
        "key_1abc"
    ]
    assert list(find_auth_failures(SUBJECT, b"no batch at all")) == []
