"""What becomes of the credits of a deleted tenant: they are forfeited, and what it owes is borne by the platform.

The accounts and their transfers stay for the books. Credits that a lease returns later are forfeited by the following passes.
"""

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime

from nats.errors import Error as NatsError
from nats.js.errors import APIError
from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.contracts.accounts import ABSORBED, DEBTS, FORFEITED, PAYMENTS, debt_account
from keyferry.contracts.audit import AuditHead
from keyferry.contracts.credit import credits_account
from keyferry.contracts.credit_management import from_micro_usd
from keyferry.contracts.erasure import ErasedTenant, EraseTenant
from keyferry.contracts.money import plain
from services.usage_ledger.accounts.posting import Balance
from services.usage_ledger.accounts.store import apply_transfers, lock_accounts
from services.usage_ledger.accounts.transfer import Transfer, TransferPurpose
from services.usage_ledger.audit_log import AuditLog, OwnAction
from services.usage_ledger.database import TransactionalStore

_log = logging.getLogger(__name__)
_REASON = "the tenant was deleted"


class AccountClosing(TransactionalStore):
    """Empties the accounts of deleted tenants after `erase` has removed what it removes. Raises DatabaseUnavailable."""

    def __init__(
        self,
        engine: AsyncEngine,
        erase: Callable[[EraseTenant], Awaitable[ErasedTenant]],
        audit: AuditLog,
        clock: Callable[[], datetime],
    ) -> None:
        super().__init__(engine)
        self._erase = erase
        self._audit = audit
        self._clock = clock

    async def erase(self, command: EraseTenant) -> ErasedTenant:
        """Remove or count rows of a tenant, and once nothing is left to remove, empty its accounts."""
        erased = await self._erase(command)
        if erased.done and not command.count_only:
            head = await self._close(command.tenant, command.actor)
            if head is not None:
                try:
                    await self._audit.publish(head)
                except (NatsError, APIError, TimeoutError):
                    _log.warning("the signed head of the audit cannot be stored now; the next entry does that")
        return erased

    async def _close(self, tenant: str, actor: str) -> AuditHead | None:
        now = self._clock()
        async with self.transaction() as connection:
            account, debt = credits_account(tenant), debt_account(tenant)
            balances = await lock_accounts(connection, [account, debt])
            transfers = closing_transfers(tenant, balances.get(account), balances.get(debt), actor)
            if not transfers:
                return None
            await apply_transfers(connection, transfers, now)
            forfeited = sum(each.amount for each in transfers if each.credit == FORFEITED)
            borne = sum(each.amount for each in transfers if each.debit == ABSORBED)
            details = {"forfeited": plain(from_micro_usd(forfeited)), "borne": plain(from_micro_usd(borne))}
            action = OwnAction(actor, "credits.close", f"credits of {tenant}", details)
            return await self._audit.append(connection, action)


def closing_transfers(tenant: str, credits_: Balance | None, debt: Balance | None, actor: str) -> list[Transfer]:
    """Return the transfers that empty a tenant's accounts: credits pay what is owed, and the rest on either side is closed."""
    available = max(0, credits_.available) if credits_ is not None else 0
    owed = max(0, debt.posted) if debt is not None else 0
    paid = min(available, owed)
    account, owing = credits_account(tenant), debt_account(tenant)
    spent = credits_.debits_posted if credits_ is not None else 0
    moves = (
        ("paid", account, PAYMENTS, paid),
        ("forfeited", account, FORFEITED, available - paid),
        ("borne", ABSORBED, PAYMENTS, owed - paid),
        ("settled", owing, DEBTS, owed),
    )
    number = f"{spent + available}:{(debt.debits_posted if debt is not None else 0) + owed}"
    return [
        Transfer(
            transfer_id=f"closed-{name}:{tenant}:{number}",
            debit=source,
            credit=target,
            amount=amount,
            purpose=TransferPurpose.FORFEIT,
            reason=_REASON,
            actor=actor,
        )
        for name, source, target, amount in moves
        if amount
    ]
