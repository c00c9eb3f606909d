"""Random sequences of transfers against PostgreSQL and a model of a few dictionaries: balances, and sums of zero."""

import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import Phase as HypothesisPhase
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from services.usage_ledger.accounts.store import AppliedTransfers, apply_transfers, read_balances, read_held
from services.usage_ledger.accounts.transfer import (
    InsufficientFunds,
    PendingConflict,
    Transfer,
    TransferConflict,
    TransferPhase,
    TransferPurpose,
    TransferRefused,
    resolve,
)
from tests.support.random_seed import random_seed

LONG_SEQUENCES = 10_000
_PART = 50
BEGINNING = datetime(2026, 11, 29, 12, tzinfo=UTC)
AMOUNTS = st.one_of(st.integers(1, 20), st.sampled_from([1, 10**12, 10**15]))
_RUNS = itertools.count()


class Model:
    """What the accounts hold by the rules, in dictionaries."""

    def __init__(self) -> None:
        self.posted: dict[str, int] = {}
        self.pending: dict[str, int] = {}
        """What is set aside to leave an account."""
        self.parents: dict[str, str] = {}
        self.applied: dict[str, Transfer] = {}
        self.open: dict[str, Transfer] = {}
        self.resolved: set[str] = set()

    def available(self, account: str) -> int:
        return self.posted.get(account, 0) - self.pending.get(account, 0)

    def expected(self, transfer: Transfer, now: datetime) -> type[TransferRefused] | None:
        """Return how the rules refuse a transfer."""
        before = self.applied.get(transfer.transfer_id)
        if before is not None:
            return None if before == transfer else TransferConflict
        if transfer.pending_id is not None:
            found = self.open.get(transfer.pending_id)
            if found is None or transfer.amount > found.amount:
                return PendingConflict
            expired = found.expires_at is not None and now >= found.expires_at
            return None if expired == (transfer.phase is TransferPhase.EXPIRE) else PendingConflict
        parent = self.parents.get(transfer.credit)
        if parent is not None and parent != transfer.debit:
            return TransferRefused
        if not transfer.debit.startswith("platform/") and self.available(transfer.debit) < transfer.amount:
            return InsufficientFunds
        return None

    def apply(self, transfer: Transfer) -> None:
        if transfer.transfer_id in self.applied:
            return
        self.applied[transfer.transfer_id] = transfer
        if transfer.credit.startswith("lease/"):
            self.parents.setdefault(transfer.credit, transfer.debit)
        if transfer.pending_id is not None:
            original = self.open.pop(transfer.pending_id)
            self.pending[transfer.debit] -= original.amount
        if transfer.phase is TransferPhase.PENDING:
            self.open[transfer.transfer_id] = transfer
            self.pending[transfer.debit] = self.pending.get(transfer.debit, 0) + transfer.amount
        if transfer.phase in (TransferPhase.POSTED, TransferPhase.POST):
            self.posted[transfer.debit] = self.posted.get(transfer.debit, 0) - transfer.amount
            self.posted[transfer.credit] = self.posted.get(transfer.credit, 0) + transfer.amount


class Ledger(RuleBasedStateMachine):
    """One sequence, on accounts of its own. Times are seconds after BEGINNING."""

    runner: asyncio.Runner
    connection: AsyncConnection
    sent = Bundle("sent")
    leases = Bundle("leases")
    pendings = Bundle("pendings")

    def __init__(self) -> None:
        super().__init__()
        self.run_id = next(_RUNS)
        self.model = Model()
        self.now = BEGINNING
        self.names = itertools.count()

    # --- help for the rules

    def account(self, number: int) -> str:
        return f"credits/run-{self.run_id}-{number}"

    def platform(self, name: str) -> str:
        return f"platform/run-{self.run_id}-{name}"

    def make(self, debit: str, credit: str, amount: int, **fields: Any) -> Transfer:
        name = f"run-{self.run_id}-{next(self.names)}"
        return Transfer(
            transfer_id=name, debit=debit, credit=credit, amount=amount, purpose=TransferPurpose.GRANT, **fields
        )

    def execute(self, *transfers: Transfer, commit: bool = True) -> None:
        """Apply transfers together, as the model does; both refuse them for the same reason, or neither."""
        expected = None
        draft = Model()
        draft.__dict__ |= {name: value.copy() for name, value in self.model.__dict__.items()}
        for transfer in transfers:
            expected = draft.expected(transfer, self.now)
            if expected is not None:
                break
            draft.apply(transfer)
        outcome = self.runner.run(self._apply(transfers, commit))
        if expected is not None:
            assert type(outcome) is expected, (outcome, expected)
            return
        assert isinstance(outcome, AppliedTransfers), outcome
        assert outcome.new == draft.applied.keys() - self.model.applied.keys()
        for name, balance in outcome.balances.items():
            assert (balance.posted, balance.debits_pending) == (draft.posted.get(name, 0), draft.pending.get(name, 0))
        if commit:
            self.model = draft

    async def _apply(self, transfers: tuple[Transfer, ...], commit: bool) -> AppliedTransfers | TransferRefused:
        transaction = await self.connection.begin()
        try:
            applied = await apply_transfers(self.connection, transfers, self.now)
        except TransferRefused as refused:
            await transaction.rollback()
            return refused
        await (transaction.commit() if commit else transaction.rollback())
        return applied

    # --- rules

    @rule(target=sent, number=st.integers(0, 1), amount=AMOUNTS)
    def grant(self, number: int, amount: int) -> Transfer:
        transfer = self.make(self.platform("granted"), self.account(number), amount)
        self.execute(transfer)
        return transfer

    @rule(target=sent, number=st.integers(0, 1), amount=AMOUNTS)
    def take_back(self, number: int, amount: int) -> Transfer:
        transfer = self.make(self.account(number), self.platform("adjustments"), amount)
        self.execute(transfer)
        return transfer

    @rule(target=leases, number=st.integers(0, 1), amount=AMOUNTS)
    def lease(self, number: int, amount: int) -> Any:
        account = self.account(number)
        transfer = self.make(account, f"lease/run-{self.run_id}-{next(self.names)}", amount)
        self.execute(transfer)
        return transfer if transfer.transfer_id in self.model.applied else multiple()

    @rule(lease=leases, number=st.integers(0, 1), amount=AMOUNTS)
    def extend(self, lease: Transfer, number: int, amount: int) -> None:
        self.execute(self.make(self.account(number), lease.credit, amount))

    @rule(target=sent, lease=leases, captured=AMOUNTS, returned=st.integers(0, 20))
    def settle(self, lease: Transfer, captured: int, returned: int) -> Any:
        """Charge a part of a lease, and give another part back, in one transaction."""
        transfers = [self.make(lease.credit, self.platform("revenue"), captured)]
        if returned:
            transfers.append(self.make(lease.credit, lease.debit, returned))
        self.execute(*transfers)
        return multiple(*transfers)

    @rule(target=pendings, number=st.integers(0, 1), amount=AMOUNTS, seconds=st.none() | st.integers(1, 20))
    def set_aside(self, number: int, amount: int, seconds: int | None) -> Any:
        expires_at = None if seconds is None else self.now + timedelta(seconds=seconds)
        credit = self.platform("revenue")
        transfer = self.make(self.account(number), credit, amount, phase=TransferPhase.PENDING, expires_at=expires_at)
        self.execute(transfer)
        return transfer if transfer.transfer_id in self.model.applied else multiple()

    @rule(
        target=sent,
        pending=pendings,
        phase=st.sampled_from([TransferPhase.POST, TransferPhase.VOID, TransferPhase.EXPIRE]),
        difference=st.integers(-3, 1),
    )
    def resolve(self, pending: Transfer, phase: TransferPhase, difference: int) -> Transfer:
        amount = max(1, pending.amount + difference) if phase is TransferPhase.POST else None
        amount = None if amount is not None and amount > 10**15 else amount
        transfer = resolve(pending, phase, f"run-{self.run_id}-{next(self.names)}", amount)
        self.execute(transfer)
        return transfer

    @rule(transfer=sent, changed=st.booleans())
    def repeat(self, transfer: Transfer, changed: bool) -> None:
        """Send a transfer again, perhaps with another reason; one that was refused may succeed by now."""
        if changed:
            transfer = Transfer(
                **{name: getattr(transfer, name) for name in transfer.__slots__} | {"reason": "changed"}
            )
        self.execute(transfer)

    @rule(transfer=consumes(sent), number=st.integers(0, 1), amount=AMOUNTS)
    def crash_before_commit(self, transfer: Transfer, number: int, amount: int) -> None:
        self.execute(self.make(self.platform("granted"), self.account(number), amount), transfer, commit=False)

    @rule(seconds=st.integers(1, 10))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    # --- what always holds

    @invariant()
    def balances_are_those_of_the_model(self) -> None:
        self.runner.run(self._compare())

    async def _compare(self) -> None:
        model = self.model
        names = [*model.posted, *model.pending]
        balances = await read_balances(self.connection, names)
        held = await read_held(self.connection, [self.account(0), self.account(1)])
        await self.connection.rollback()
        for name, posted in model.posted.items():
            balance = balances[name]
            assert (balance.posted, balance.available) == (posted, model.available(name))
            assert name.startswith("platform/") or balance.available >= 0
        assert sum(balance.posted for balance in balances.values()) == 0
        in_leases: dict[str, int] = {}
        for lease, parent in model.parents.items():
            in_leases[parent] = in_leases.get(parent, 0) + model.posted[lease]
        assert held == {account: amount for account, amount in in_leases.items() if amount}

    def teardown(self) -> None:
        self.runner.run(self._compare_transfers())

    async def _compare_transfers(self) -> None:
        """Compare the columns of balances with the sums of all transfers of this sequence."""
        rows = await self.connection.execute(_SUMS, {"like": f"run-{self.run_id}-%"})
        sums = {row.name: int(row.posted) for row in rows}
        balances = await read_balances(self.connection, list(sums))
        await self.connection.rollback()
        assert sums == {name: balance.posted for name, balance in balances.items()}
        assert sum(sums.values()) == 0


_SUMS = text("""
SELECT side.name, sum(side.amount * CASE WHEN phase IN ('posted', 'post') THEN 1 ELSE 0 END) AS posted
FROM usage_ledger.transfers CROSS JOIN LATERAL (VALUES (debit, -amount), (credit, amount)) side (name, amount)
WHERE id LIKE :like GROUP BY side.name
""")


def run_sequences(url: str, count: int, steps: int, first_seed: int) -> None:
    """Run random sequences; what they are follows from the seed."""
    engine: AsyncEngine = create_async_engine(url, connect_args={"options": "-c synchronous_commit=off"})
    with asyncio.Runner() as runner:
        Ledger.runner = runner
        Ledger.connection = runner.run(_connect(engine))
        try:
            run_state_machine_as_test(
                seed(first_seed)(Ledger),
                settings=settings(
                    max_examples=count,
                    stateful_step_count=steps,
                    database=None,
                    suppress_health_check=list(HealthCheck),
                    phases=[HypothesisPhase.generate, HypothesisPhase.shrink],
                ),
            )
        finally:
            runner.run(Ledger.connection.close())
            runner.run(engine.dispose())


async def _connect(engine: AsyncEngine) -> AsyncConnection:
    return await engine.connect()


def test_sequences_of_transfers_do_what_the_model_does(url: str) -> None:
    run_sequences(url, count=30, steps=20, first_seed=random_seed())


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(LONG_SEQUENCES // _PART))
def test_ten_thousand_sequences_of_transfers_do_what_the_model_does(url: str, part: int) -> None:
    run_sequences(url, count=_PART, steps=30, first_seed=part)
