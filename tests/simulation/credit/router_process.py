"""A router of a simulation: the production wallet between callers, the ledger and the workers."""

from collections.abc import Sequence
from functools import partial

from keyferry.contracts.credit import LeaseCredit, LeaseResult, Reservation
from services.router.credit.wallet import CreditWallet
from tests.simulation.credit.ledger_process import Ledger
from tests.simulation.credit.worker_process import Job, Worker
from tests.simulation.credit.world import SimulatedProcess, World

TENANTS = ("acme", "blue")
_USER = "router"
"""All routers are this user of the bus, as in production."""


class Router(SimulatedProcess):
    """Serves requests while it may; one that waits for a lease is tried once more."""

    def __init__(self, world: World, name: str, ledger: Ledger, workers: Sequence[Worker]) -> None:
        super().__init__(world, name)
        self._ledger = ledger
        self._workers = workers
        self._wallet = CreditWallet("")
        self.refused = 0
        """How often the ledger granted it nothing although the account had enough."""

    def start(self) -> None:
        self.up = True
        self._wallet = CreditWallet(f"{self.name}-{self.world.next_number()}")
        self.every(1000, self._give_back)
        self.later(self.world.chance.randrange(400), self._serve)

    # --- inside

    def _serve(self) -> None:
        if self.world.healed:
            return
        tenant = self.world.chance.choice(TENANTS)
        hold = self.world.chance.choice([50, 100, 400, 1000])
        needs = {f"credits/{tenant}": hold}
        if self.world.chance.random() < 0.4:
            needs[f"budget/{tenant}/2026-11"] = hold
        self._try(tenant, needs, again=False)
        self.later(self.world.chance.randrange(50, 1500), self._serve)

    def _try(self, tenant: str, needs: dict[str, int], *, again: bool) -> None:
        found = self._wallet.reserve(tenant, needs, self.clock_ms, again=again)
        if isinstance(found, Reservation):
            self._start_attempt(found, needs)
            return
        if again and self.world.chance.random() < 0.5:
            return
        for ask in found:
            self._lease(ask)
        self.later(60, lambda: self._try(tenant, needs, again=True))

    def _lease(self, ask: LeaseCredit) -> None:
        def grant() -> None:
            lease = self._ledger.lease(ask, _USER)
            self.refused += lease.result not in (LeaseResult.GRANTED, LeaseResult.INSUFFICIENT)
            # Where the answer is lost nobody gives the lease back.
            self.world.send("ledger", self, lambda: self._wallet.install(ask.tenant, lease, self.clock_ms))

        self.world.send(self.name, self._ledger, grant)

    def _start_attempt(self, reservation: Reservation, needs: dict[str, int]) -> None:
        ready = [worker for worker in self._workers if worker.up and worker.ready]
        if not ready or self.world.happens(0.03):
            self._wallet.put_back(reservation)  # there is no responder, so no worker can have it
            return
        worker = self.world.chance.choice(ready)
        hold = min(needs.values())
        cost = self.world.chance.choice([0, hold // 50, hold // 3, hold, hold])
        job = Job(f"att_{self.world.next_number()}", reservation, dict.fromkeys(needs, cost))
        wait_ms = self.world.chance.randrange(30_000) if self.world.happens(0.05) else 0
        # A job may sit in this process for a while, as when it is paused between the two.
        self.later(wait_ms, lambda: self.world.send(self.name, worker, lambda: worker.receive(job)))

    def _give_back(self) -> None:
        for given in self._wallet.take_returns(self.clock_ms):
            for _ in range(self.world.chance.choice([1, 1, 2])):
                self.world.send(self.name, self._ledger, partial(self._ledger.give_back, given, _USER))
