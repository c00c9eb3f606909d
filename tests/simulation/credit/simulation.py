"""One run: three routers of one name, three workers and a ledger under faults, then without, until everything must be back."""

from collections import Counter
from dataclasses import dataclass

from tests.simulation.credit.ledger_process import Ledger
from tests.simulation.credit.release_rules import ReleaseRule, past_every_watermark
from tests.simulation.credit.router_process import TENANTS, Router
from tests.simulation.credit.worker_process import Job, Worker
from tests.simulation.credit.world import START_MS, World

FAULTY_MS = 150_000
HEALTHY_MS = 170_000
_ACCOUNTS = tuple(f"credits/{tenant}" for tenant in TENANTS) + tuple(f"budget/{tenant}/2026-11" for tenant in TENANTS)


@dataclass
class SimulationResult:
    """What a run came to, by the model that sees every call to a provider."""

    attempts: int
    spent: Counter[str]
    """What the providers' calls cost, by account."""
    captured: Counter[str]
    uncollected: int
    """What the ledger could not collect."""
    open_leases: int
    missing: int
    """What neither came back to the accounts nor was captured."""
    overspent: bool
    """Whether more was spent of an account at some moment than it had ever been given."""
    refused: int
    """How often a router got nothing of an account that had enough."""

    @property
    def leaked(self) -> bool:
        """Return whether something was spent that was not collected."""
        return self.uncollected > 0 or self.spent != self.captured


class Simulation:
    """The processes of one run."""

    def __init__(self, seed: int, rule: ReleaseRule) -> None:
        self.world = World(seed)
        self.ledger = Ledger(self.world, rule)
        self.spent: Counter[str] = Counter()
        self.attempts = 0
        self.overspent = False
        self.workers = [Worker(self.world, f"worker-{slot}", self.ledger, self._spend) for slot in range(3)]
        self._started: list[Router] = []
        """Every router there ever was."""
        self.routers = [self._router(f"router-{slot}") for slot in range(3)]

    def run(self) -> SimulationResult:
        self._start()
        self.world.run_until(START_MS + FAULTY_MS)
        self._heal()
        self.world.run_until(START_MS + FAULTY_MS + HEALTHY_MS)
        ledger = self.ledger
        captured = Counter({account: amount for account, amount in ledger.captured.items() if amount})
        missing = sum(ledger.granted.values()) - sum(ledger.available.values()) - sum(captured.values())
        refused = sum(router.refused for router in self._started)
        spent = Counter({account: amount for account, amount in self.spent.items() if amount})
        return SimulationResult(
            self.attempts, spent, captured, ledger.uncollected, len(ledger.leases), missing, self.overspent, refused
        )

    # --- inside

    def _router(self, name: str) -> Router:
        self._started.append(Router(self.world, name, self.ledger, self.workers))
        return self._started[-1]

    def _spend(self, job: Job) -> None:
        """Account for a call that a provider has answered: it costs its accounts at most what it holds of them."""
        self.attempts += 1
        for hold in job.reservation.holds:
            self.spent[hold.account] += min(job.due[hold.account], hold.amount)
            self.overspent |= self.spent[hold.account] > self.ledger.granted[hold.account]

    def _start(self) -> None:
        chance = self.world.chance
        for account in _ACCOUNTS:
            self.ledger.fund(account, chance.choice([3000, 10_000, 40_000]))
        for process in (self.ledger, *self.workers, *self.routers):
            process.start()
        self.world.after(chance.randrange(20_000), self._fund_again)
        self.world.after(chance.randrange(5000), self._break_something)

    def _fund_again(self) -> None:
        if not self.world.healed:
            self.ledger.fund(self.world.chance.choice(_ACCOUNTS), self.world.chance.choice([500, 5000]))
            self.world.after(self.world.chance.randrange(20_000), self._fund_again)

    def _break_something(self) -> None:
        if self.world.healed:
            return
        chance = self.world.chance
        lasting_ms = chance.choice([500, 3000, 20_000, 90_000])
        breaks = (self._break_worker, self._break_worker, self._break_router, self._break_router, self._break_ledger)
        chance.choice(breaks)(lasting_ms)
        self.world.after(chance.randrange(500, 15_000), self._break_something)

    def _break_worker(self, lasting_ms: int) -> None:
        worker = self.world.chance.choice(self.workers)
        match self.world.chance.randrange(5):
            case 0 | 1:
                self._kill(worker, lasting_ms // 2)
            case 2:
                worker.pause(lasting_ms)
            case 3:
                self.world.cut(worker.name, "stream", lasting_ms)
            case _:
                if worker.up:
                    worker.guard(worker.stop)()

    def _break_router(self, lasting_ms: int) -> None:
        chance = self.world.chance
        router = chance.choice(self.routers)
        match chance.randrange(3):
            case 0:
                self._kill(router, lasting_ms // 4)
            case 1:
                router.pause(lasting_ms)
                if chance.random() < 0.5:  # another process takes its place; the old one wakes up later
                    self.routers[self.routers.index(router)] = taken_over = self._router(router.name)
                    taken_over.start()
            case _:
                self.world.cut(router.name, chance.choice(["ledger", chance.choice(self.workers).name]), lasting_ms)

    def _break_ledger(self, lasting_ms: int) -> None:
        self._kill(self.ledger, lasting_ms // 2)

    def _kill(self, process: Worker | Router | Ledger, down_ms: int) -> None:
        if process.up:
            process.kill()
            process.start_after(down_ms)

    def _heal(self) -> None:
        self.world.healed = True
        for process in (self.ledger, *self.workers):
            if not process.up:
                process.start()


def simulate(seed: int, rule: ReleaseRule = past_every_watermark) -> SimulationResult:
    """Return what the run of a seed came to. Raises AssertionError if a balance is wrong at any moment."""
    return Simulation(seed, rule).run()
