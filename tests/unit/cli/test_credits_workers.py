"""What `keyferry credits workers` prints."""

from datetime import UTC, datetime

from keyferry.cli.credits_workers import format_workers
from keyferry.contracts.credit_workers import CreditWorker, CreditWorkers, WaitingCredit

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def worker(name: str, settled_until: datetime | None = AT, *, blocks: bool = False) -> CreditWorker:
    return CreditWorker(worker=name, spool_id="spl_1", settled_until=settled_until, seen_at=AT, blocks=blocks)


def test_workers_and_what_waits_for_them() -> None:
    workers = [worker("w1"), worker("w2", blocks=True), worker("w3", None)]
    text = format_workers(
        CreditWorkers(workers=workers, waiting=[WaitingCredit(account="credits/acme", leases=2, amount=300)])
    )
    rows = [line.split() for line in text.splitlines()]
    assert [row[-1] for row in rows if row and row[0] in ("w1", "w2", "w3")] == ["reports", "behind", "retired"]
    assert ["credits/acme", "2", "300"] in rows
    assert "keyferry credits declare-lost WORKER" in text


def test_nothing_to_do_is_not_advice() -> None:
    assert format_workers(CreditWorkers(workers=[], waiting=[])) == "no worker has reported yet"
    assert "declare-lost" not in format_workers(CreditWorkers(workers=[worker("w1", blocks=True)], waiting=[]))


def test_a_worker_that_lost_its_spool_is_shown_with_the_command() -> None:
    lost = worker("w1", blocks=True).model_copy(update={"spool_id": "spl_0", "replaced_by": "spl_1"})
    text = format_workers(CreditWorkers(workers=[lost, worker("w1")], waiting=[]))
    rows = [line.split() for line in text.splitlines()]
    assert [row[-1] for row in rows if row and row[0] == "w1"][:2] == ["replaced", "reports"]
    assert "`keyferry credits declare-lost w1 --spool spl_0`" in text
