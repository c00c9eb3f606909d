"""What is published of the requests of a second: so many rows, and the number of the others."""

from datetime import UTC, datetime

from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.live_events import RequestsRecorded
from keyferry.contracts.usage import AttemptRecord, LedgerRow, Outcome
from services.usage_ledger.live.pending import ROWS_PER_SECOND, ROWS_PER_TENANT, PendingRequests
from tests.support.ledger.attempt_records import attempt_record, decision_record

NOW = datetime(2026, 3, 1, 13, tzinfo=UTC)
FAILURE = Failure(failure_class=FailureClass.OVERLOADED, where=Where.GATEWAY, message="it failed")


def rows(*records: AttemptRecord) -> list[LedgerRow]:
    return [LedgerRow(record=record, pricing="free", recorded_at=NOW) for record in records]


def take(pending: PendingRequests) -> dict[str, RequestsRecorded]:
    return {tenant: RequestsRecorded.decode(data) for tenant, data in pending.take(NOW)}


def test_each_tenant_gets_its_own_requests_once() -> None:
    pending = PendingRequests()
    first, second = attempt_record(), attempt_record(tenant="globex")
    pending.add_attempts(rows(first, second), 5.0)
    found = take(pending)
    assert {name: [one.request.request_id for one in each.requests] for name, each in found.items()} == {
        "acme": [first.request_id],
        "globex": [second.request_id],
    }
    assert take(pending) == {}
    assert not pending


def test_attempts_of_one_request_are_one_row_also_in_later_batches() -> None:
    pending = PendingRequests()
    failed = attempt_record(outcome=Outcome.FAILED, failure=FAILURE)
    more = {"request_id": failed.request_id, "outcome": Outcome.FAILED, "failure": FAILURE}
    second, third = attempt_record(attempt_number=2, **more), attempt_record(attempt_number=3, **more)
    pending.add_attempts(rows(second, failed), 5.0)
    [row] = take(pending)["acme"].requests
    assert (row.complete, row.request.tokens, len(row.request.attempts)) == (True, 30, 2)
    pending.add_attempts(rows(third), 5.2)
    [row] = take(pending)["acme"].requests
    assert [one.attempt_number for one in row.request.attempts] == [1, 2, 3]
    assert row.complete
    elsewhere = PendingRequests()
    elsewhere.add_attempts(rows(third), 5.2)
    assert not take(elsewhere)["acme"].requests[0].complete


def test_what_is_above_the_limit_of_a_second_is_counted() -> None:
    pending = PendingRequests()
    for second in (5.0, 5.4, 5.9):
        pending.add_attempts(rows(*(attempt_record() for _ in range(ROWS_PER_TENANT))), second)
        pending.add_attempts(rows(attempt_record(tenant="globex")), second)
        found = take(pending)
        assert len(found["acme"].requests) == (ROWS_PER_TENANT if second == 5.0 else 0)
        assert found["acme"].skipped == (0 if second == 5.0 else ROWS_PER_TENANT)
        assert len(found["globex"].requests) == 1, "nobody's rows take the place of another tenant's"
    pending.add_attempts(rows(attempt_record()), 6.0)
    assert (len(take(pending)["acme"].requests), pending._second) == (1, 6)


def test_a_request_above_the_limit_is_counted_once_in_a_batch() -> None:
    pending = PendingRequests()
    pending.add_attempts(rows(*(attempt_record() for _ in range(ROWS_PER_TENANT))), 5.0)
    many = [attempt_record(request_id="req_1", attempt_number=number) for number in range(1, 4)]
    pending.add_attempts(rows(*many), 5.0)
    assert take(pending)["acme"].skipped == 1


def test_all_tenants_together_have_a_limit() -> None:
    pending = PendingRequests()
    some = [attempt_record(tenant=f"tenant-{number % 100}") for number in range(2 * ROWS_PER_SECOND)]
    pending.add_attempts(rows(*some), 5.0)
    found = take(pending).values()
    assert sum(len(each.requests) for each in found) == ROWS_PER_SECOND
    assert sum(each.skipped for each in found) == ROWS_PER_SECOND


def test_rows_that_cannot_be_published_do_not_pile_up() -> None:
    """While the bus is away, nothing is taken: no further second begins."""
    pending = PendingRequests()
    for second in range(5, 100):
        pending.add_attempts(rows(attempt_record()), float(second))
    found = take(pending)["acme"]
    assert (len(found.requests), found.skipped) == (ROWS_PER_TENANT, 95 - ROWS_PER_TENANT)


def test_refused_requests_are_rows_and_have_the_same_limit() -> None:
    pending = PendingRequests()
    refused = [(decision_record(refusal=FAILURE), None) for _ in range(ROWS_PER_TENANT + 3)]
    pending.add_decisions([(decision_record(), None), *refused], 5.0)
    found = take(pending)["acme"]
    assert [one.request.outcome.value for one in found.requests] == ["refused"] * ROWS_PER_TENANT
    assert found.skipped == 3
