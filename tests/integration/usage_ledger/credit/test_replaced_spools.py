"""A worker that starts again with an empty spool is shown; what waits for the earlier one waits until its operator decides."""

from datetime import timedelta

from services.usage_ledger.credit.release import CreditRelease, StreamProgress
from services.usage_ledger.credit.reports import STILL_REPORTS, ReportedWatermark
from tests.integration.usage_ledger.credit.ledger import NOW, NOW_MS, CreditLedger

LATER = NOW + timedelta(minutes=10)
LATER_MS = NOW_MS + 600_000


async def test_a_spool_that_was_replaced_is_named_and_nothing_is_released(ledger: CreditLedger) -> None:
    await ledger.fund(1_000_000)
    lease = await ledger.lease(100, 5000)
    worker = f"worker-of-{ledger.tenant}"

    async def read() -> StreamProgress:
        return StreamProgress(10, 10)

    def release_at_later() -> CreditRelease:
        return CreditRelease(ledger.credit, ledger.workers, read, lambda: LATER)

    await ledger.workers.record([ReportedWatermark(worker, "spl_old", 1, NOW_MS)], NOW)
    await ledger.workers.record([ReportedWatermark(worker, "spl_new", 2, LATER_MS)], LATER - STILL_REPORTS)
    release = release_at_later()
    await release.run_round()
    await release.run_round()
    [notice] = [one for one in release.degraded() if worker in one]
    assert f"`keyferry credits declare-lost {worker} --spool spl_old`" in notice
    assert await ledger.left_in(lease) == 5000
    await ledger.workers.forget(worker, await ledger.workers.find_silent(worker, "spl_old", LATER))
    release = release_at_later()
    await release.run_round()
    assert not [one for one in release.degraded() if worker in one]
    await ledger.workers.forget(worker, ["spl_new"])
