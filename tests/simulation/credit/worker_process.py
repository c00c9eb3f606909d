"""A worker of a simulation: the production tracker of settlement around a spool that survives its process."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from keyferry.contracts.credit import RETIRED_UNIX_MS, Reservation
from services.provider_worker.settlement import SettlementTracker
from tests.simulation.credit.ledger_process import Ledger, SimulatedRecord, StoredBatch
from tests.simulation.credit.world import SimulatedProcess, World

LONGEST_CALL_MS = 20_000
"""How long an attempt takes as a rule; a few take longer."""


@dataclass(frozen=True)
class Job:
    """An attempt on its way to a worker."""

    attempt_id: str
    reservation: Reservation
    due: Mapping[str, int]
    """What it will cost each account."""


class Worker(SimulatedProcess):
    """Intent before the call, result after it; everything is published until the ledger confirms it."""

    def __init__(self, world: World, name: str, ledger: Ledger, spend: Callable[[Job], None]) -> None:
        super().__init__(world, name)
        self._ledger = ledger
        self._spend = spend
        self._spool: dict[str, tuple[Job, bool]] = {}
        """By attempt, and whether it has a result: on disk."""
        self.tracker = SettlementTracker()
        self.ready = False
        self._retired = False

    def start(self) -> None:
        """Read the spool, and take no job before the stream has the first watermark."""
        self.up, self.ready, self._retired = True, False, False
        self.tracker = SettlementTracker()
        self.tracker.restore((attempt_id, job.reservation) for attempt_id, (job, _) in self._spool.items())
        for attempt_id, (job, ended) in list(self._spool.items()):
            if not ended:  # nobody knows what became of it, and its tenant pays nothing
                self._spool[attempt_id] = (Job(attempt_id, job.reservation, dict.fromkeys(job.due, 0)), True)
        self.every(1000, self._report)

    def kill(self) -> None:
        super().kill()
        self.ready = False

    def stop(self) -> None:
        """Take no more jobs, and retire once every record is stored."""
        self.ready = False
        watermark = self.tracker.retire()
        if watermark is None:
            self.later(1000, self.stop)
            return
        self._retired = True
        self._publish((), self._shut_down)

    def receive(self, job: Job) -> None:
        """Take a job, which waits for its turn."""
        if self.ready:
            wait_ms = self.world.chance.randrange(30_000) if self.world.chance.random() < 0.1 else 0
            self.later(wait_ms, lambda: self._begin(job))

    # --- inside

    def _begin(self, job: Job) -> None:
        if not self.ready or not self.tracker.begin(job.attempt_id, job.reservation, self.clock_ms):
            return
        self._spool[job.attempt_id] = (job, False)
        longest_ms = 3 * LONGEST_CALL_MS if self.world.happens(0.02) else LONGEST_CALL_MS
        self.later(self.world.chance.randrange(100, longest_ms), lambda: self._end(job))

    def _end(self, job: Job) -> None:
        self._spend(job)
        self._spool[job.attempt_id] = (job, True)
        self._publish((job,), lambda: self._settle((job,)))

    def _report(self) -> None:
        left = [job for job, ended in self._spool.values() if ended]
        if left and self.world.chance.random() < 0.2:
            again = tuple(left[:20])
            self._publish(again, lambda: self._settle(again))
        self._publish((), self._become_ready)

    def _settle(self, jobs: tuple[Job, ...]) -> None:
        for job in jobs:
            self.tracker.settled(job.attempt_id)

    def _become_ready(self) -> None:
        self.ready = not self._retired

    def _shut_down(self) -> None:
        self.kill()
        self.start_after(self.world.chance.randrange(1000, 10_000))

    def _publish(self, jobs: tuple[Job, ...], stored: Callable[[], object]) -> None:
        """Publish a batch with the watermark of this moment, until it is acknowledged."""
        watermark = RETIRED_UNIX_MS if self._retired else self.tracker.watermark(self.clock_ms)
        records = tuple(SimulatedRecord(job.attempt_id, job.reservation, job.due) for job in jobs)
        batch = StoredBatch(self.name, f"{self.name}-spool", records, watermark, self._confirmed)
        acknowledged = False

        def acknowledge() -> None:
            nonlocal acknowledged
            if not acknowledged:
                acknowledged = True
                stored()

        def store() -> None:
            self._ledger.stream.append(batch)
            if not self.world.is_cut(self.name, "stream") and not self.world.happens(0.02):
                self.world.after(self.world.delay_ms(), self.guard(acknowledge))

        def attempt() -> None:
            if acknowledged:
                return
            if not self.world.is_cut(self.name, "stream") and not self.world.happens(0.01):
                self.world.after(self.world.delay_ms(), store)  # on its way, whatever becomes of this process
            if jobs or self._retired:
                self.later(2000, attempt)

        attempt()

    def _confirmed(self, attempt_ids: tuple[str, ...]) -> None:
        def drop() -> None:
            for attempt_id in attempt_ids:
                if self._spool.get(attempt_id, (None, False))[1]:
                    del self._spool[attempt_id]
                    self.tracker.settled(attempt_id)  # an earlier process published it, and nobody does again

        if attempt_ids:
            self.world.send("ledger", self, drop)
