"""Credits over the bus: grants once, corrections never below zero, balances, history and audit."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.contracts.accounts import REVENUE
from keyferry.contracts.audit import ListAudit, VerifyAudit
from keyferry.contracts.budget import SaveBudget
from keyferry.contracts.charges import GetAllowance
from keyferry.contracts.credit import credits_account
from keyferry.contracts.credit_management import (
    AdjustCredits,
    CreditEntryKind,
    CreditHistory,
    CreditState,
    GetCredits,
    GrantCredits,
    ListCreditHistory,
    SetCreditThreshold,
)
from keyferry.contracts.ledger_management import (
    ALLOWANCE_GET,
    BUDGET_SAVE,
    CREDIT_ADJUST,
    CREDIT_GET,
    CREDIT_GRANT,
    CREDIT_HISTORY,
    CREDIT_THRESHOLD,
)
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import Tenant, Tier
from keyferry.contracts.topology import AUDIT_LIST, AUDIT_VERIFY, TENANTS_VIEW, Role
from keyferry.runtime.bus.requests import Refused
from keyferry.runtime.views import ViewWriter
from services.usage_ledger.accounts import credit_store
from services.usage_ledger.accounts.credit_store import CreditStore, InvalidHistoryCursor
from services.usage_ledger.accounts.store import apply_transfers, read_held
from services.usage_ledger.accounts.transfer import Transfer, TransferPurpose
from tests.integration.usage_ledger.processes import LedgerServers
from tests.support.waiting import eventually_async

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def grant(amount: object, key: str, **fields: Any) -> GrantCredits:
    values = {"tenant": "acme", "credits": amount, "idempotency_key": key, "reason": "a gift", **fields}
    return GrantCredits.model_validate(values)


async def test_an_operator_grants_and_corrects_credits(servers: LedgerServers) -> None:
    async with servers.in_process(), servers.operator() as operator:

        async def ask(subject: Any, command: Any) -> Any:
            return await operator.ask(subject, command, timeout_seconds=10)

        async def refused(subject: Any, command: Any) -> ErrorCode:
            with pytest.raises(Refused) as error:
                await ask(subject, command)
            return error.value.refusal.code

        acme = Tenant(tenant="acme", name="Acme", tier=Tier.FREE)
        async with servers.installation.client(Role.TENANT_DIRECTORY) as tenancy:
            await ViewWriter(tenancy, TENANTS_VIEW).reconcile({"acme": acme.encode()})

        async def knows_acme() -> bool:
            with suppress(Refused):
                await ask(ALLOWANCE_GET, GetAllowance(tenant="acme"))
                return True
            return False

        await eventually_async("the ledger knows the tenants", knows_acme)
        assert await refused(CREDIT_GRANT, grant("5000.5", "welcome", tenant="amce")) is ErrorCode.NOT_FOUND
        misspelt = SaveBudget.model_validate(
            {"tenant": "amce", "scope": "tenant", "window": {"calendar": "month"}, "limit_micro_usd": 5}
        )
        assert await refused(BUDGET_SAVE, misspelt) is ErrorCode.NOT_FOUND
        nothing = await ask(CREDIT_GET, GetCredits(tenant="acme"))
        assert (nothing.state, nothing.balance) == (CreditState.NONE, 0)
        first = await ask(CREDIT_GRANT, grant("5000.5", "welcome"))
        assert (first.repeated, first.credits.balance, first.credits.balance_usd) == (
            False,
            Decimal("5000.5"),
            Decimal("5.0005"),
        )
        again = await ask(CREDIT_GRANT, grant("5000.5", "welcome"))
        assert (again.repeated, again.credits.balance) == (True, Decimal("5000.5"))
        assert await refused(CREDIT_GRANT, grant("5000", "welcome")) is ErrorCode.CONFLICT
        paid = {"source": "stripe", "source_id": "evt_1"}
        assert (await ask(CREDIT_GRANT, grant(1000, "paid-1", **paid))).credits.balance == Decimal("6000.5")
        assert await refused(CREDIT_GRANT, grant(1000, "paid-2", **paid)) is ErrorCode.CONFLICT
        assert await refused(CREDIT_GRANT, grant(1, "k", source="stripe")) is ErrorCode.INVALID

        correction = {"tenant": "acme", "reason": "granted twice"}
        too_much = AdjustCredits(credits=Decimal("-6000.501"), idempotency_key="c", **correction)
        assert await refused(CREDIT_ADJUST, too_much) is ErrorCode.CONFLICT
        rest = AdjustCredits(credits=Decimal("-6000"), idempotency_key="c", **correction)
        left = (await ask(CREDIT_ADJUST, rest)).credits
        assert (left.available, left.state) == (Decimal("0.5"), CreditState.LOW)
        threshold = SetCreditThreshold(tenant="acme", credits=Decimal("0.499"))
        assert (await ask(CREDIT_THRESHOLD, threshold)).state is CreditState.OK
        assert (await ask(CREDIT_THRESHOLD, SetCreditThreshold(tenant="acme"))).low_below == 1000

        history = await ask(CREDIT_HISTORY, ListCreditHistory(tenant="acme", limit=2))
        assert [(entry.credits, entry.balance) for entry in history.entries] == [
            (Decimal(-6000), Decimal("0.5")),
            (Decimal(1000), Decimal("6000.5")),
        ]
        assert (history.entries[1].source, history.entries[1].actor) == ("stripe", "operator")
        oldest = await ask(CREDIT_HISTORY, ListCreditHistory(tenant="acme", after=history.next))
        assert [(entry.kind, entry.balance, entry.reason) for entry in oldest.entries] == [
            (CreditEntryKind.GRANT, Decimal("5000.5"), "a gift")
        ]
        assert oldest.next is None
        assert await refused(CREDIT_HISTORY, ListCreditHistory(tenant="acme", after="page 2")) is ErrorCode.INVALID

        audit = (await ask(AUDIT_LIST, ListAudit(tenant="platform"))).entries
        assert [(entry.event.action, entry.event.details.get("credits")) for entry in reversed(audit)] == [
            ("credits.grant", "5000.5"),
            ("credits.grant", "1000"),
            ("credits.adjust", "-6000"),
            ("credits.threshold", None),
            ("credits.threshold", None),
        ]
        assert (await ask(AUDIT_VERIFY, VerifyAudit())).faults == []


async def post(engine: AsyncEngine, now: datetime, *transfers: tuple[str, str, str, int, TransferPurpose]) -> None:
    async with engine.begin() as connection:
        await apply_transfers(
            connection,
            [
                Transfer(transfer_id=name, debit=debit, credit=credit, amount=amount, purpose=purpose)
                for name, debit, credit, amount, purpose in transfers
            ],
            now,
        )


async def test_spending_is_held_then_summed_by_day_with_a_running_balance(engine: AsyncEngine) -> None:
    """What routers lease and settle, over a week, as people see it."""
    store = CreditStore(engine)
    account, lease = credits_account("hooli"), "lease/hooli-1"
    begin = NOW - timedelta(days=7)
    await post(
        engine,
        begin,
        ("h-grant", "platform/granted", account, 10_000_000, TransferPurpose.GRANT),
        ("h-lease", account, lease, 3_000_000, TransferPurpose.LEASE),
    )
    held = await store.read_balance("hooli", begin)
    assert (held.balance, held.available, held.held) == (Decimal(10_000), Decimal(7000), Decimal(3000))
    assert held.days_left is None
    for day in range(8):
        # Twice a day; the second batch of a day adds to the first.
        for hour in (0, 1):
            name = f"h-settle-{day}-{hour}"
            at = begin + timedelta(days=day, hours=hour - 1)
            await post(engine, at, (name, lease, REVENUE, 100_000, TransferPurpose.SETTLEMENT))
    await post(
        engine,
        NOW,
        ("h-return", lease, account, 1_400_000, TransferPurpose.RETURN),
        ("h-rerate", REVENUE, account, 50_000, TransferPurpose.RERATING),
    )
    balance = await store.read_balance("hooli", NOW)
    assert (balance.balance, balance.available, balance.held) == (Decimal(8450), Decimal(8450), Decimal(0))
    assert balance.spent_7_days == 1600
    assert balance.days_left == 39, "8450 at 1600 in seven days and a half"

    entries = []
    cursor = None
    for _ in range(20):
        page: CreditHistory = await store.list_history(ListCreditHistory(tenant="hooli", limit=3, after=cursor))
        entries += page.entries
        cursor = page.next
        if cursor is None:
            break
    assert len({entry.entry_id for entry in entries}) == len(entries)
    assert [entry.kind for entry in entries if entry.kind is not CreditEntryKind.USAGE] == ["correction", "grant"]
    assert [entry.credits for entry in entries if entry.kind is CreditEntryKind.USAGE] == [Decimal(-200)] * 8
    assert entries[0].balance == balance.balance
    running = Decimal(0)
    for entry in sorted(entries, key=lambda entry: (entry.at, entry.entry_id)):
        running += entry.credits
        assert entry.balance == running


async def test_balance_is_of_one_moment_while_routers_lease(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    account, lease = credits_account("moment"), "lease/moment-1"
    await post(engine, NOW, ("m-grant", "platform/granted", account, 1_000_000, TransferPurpose.GRANT))

    async def lease_and_read(connection: Any, names: Any) -> dict[str, int]:
        await post(engine, NOW, ("m-lease", account, lease, 400_000, TransferPurpose.LEASE))
        return await read_held(connection, names)

    monkeypatch.setattr(credit_store, "read_held", lease_and_read)
    found = await CreditStore(engine).read_balance("moment", NOW)
    assert [found.balance, found.available, found.held] == [Decimal(1000), Decimal(1000), Decimal(0)], (
        "not 1400, which it never had"
    )


@pytest.mark.parametrize("cursor", ["", "x", "1", ":", "1:", "x:1", "-1:x", "9" * 18 + ":x", "9" * 200 + ":x"])
async def test_a_cursor_of_no_page_is_refused(engine: AsyncEngine, cursor: str) -> None:
    store = CreditStore(engine)
    command = ListCreditHistory(tenant="hooli").model_copy(update={"after": cursor})
    with pytest.raises(InvalidHistoryCursor):
        await store.list_history(command)
