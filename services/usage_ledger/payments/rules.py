"""What a payment does to accounts: the transfers of purchases, refunds and disputes. Pure."""

from keyferry.contracts.accounts import DEBTS, PAYMENTS, debt_account
from keyferry.contracts.credit import credits_account
from keyferry.contracts.payments import TAKES_BACK, PaymentKind, RecordPayment
from services.usage_ledger.accounts.transfer import Transfer, TransferPurpose

COUNTERPARTS = {PaymentKind.DISPUTE_WON: PaymentKind.DISPUTE, PaymentKind.CORRECTION: PaymentKind.REFUND}
"""What gives credits back, and what has to have taken them before, whichever of the two arrives first."""
_PURPOSES = {
    PaymentKind.PURCHASE: TransferPurpose.PURCHASE,
    PaymentKind.REFUND: TransferPurpose.REFUND,
    PaymentKind.DISPUTE: TransferPurpose.DISPUTE,
    PaymentKind.DISPUTE_WON: TransferPurpose.DISPUTE_WON,
    PaymentKind.CORRECTION: TransferPurpose.FAILED_REFUND,
}
ACTOR = "billing"


def taken_of(payment: RecordPayment, available: int) -> int:
    """Return what of a refund or dispute can be taken out of the credits; the rest is owed."""
    return min(payment.amount_micro_usd, max(0, available)) if payment.kind in TAKES_BACK else 0


def transfers_of(payment: RecordPayment, available: int) -> list[Transfer]:
    """Return the transfers of a payment, given what its tenant has available."""
    if payment.kind not in TAKES_BACK:
        return [_transfer(payment, PAYMENTS, credits_account(payment.tenant), payment.amount_micro_usd)]
    taken = taken_of(payment, available)
    owed = payment.amount_micro_usd - taken
    moves = [_transfer(payment, credits_account(payment.tenant), PAYMENTS, taken)] if taken else []
    if owed:
        moves.append(_transfer(payment, DEBTS, debt_account(payment.tenant), owed, TransferPurpose.DEBT))
    return moves


def transfer_name(payment: RecordPayment, purpose: TransferPurpose) -> str:
    """Return the id of a payment's transfer, which says where it comes from."""
    return f"{purpose.value}:{payment.source}:{payment.source_id}"


def _transfer(
    payment: RecordPayment, debit: str, credit: str, amount: int, purpose: TransferPurpose | None = None
) -> Transfer:
    purpose = purpose or _PURPOSES[payment.kind]
    return Transfer(
        transfer_id=transfer_name(payment, purpose),
        debit=debit,
        credit=credit,
        amount=amount,
        purpose=purpose,
        reason=payment.reason,
        actor=ACTOR,
        source=payment.source,
        source_id=payment.source_id,
    )
