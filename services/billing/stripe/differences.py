"""How Stripe and the ledger differ about payments of a day. Pure."""

from collections.abc import Iterable, Mapping

from keyferry.contracts.credit_management import from_micro_usd
from keyferry.contracts.money import plain
from keyferry.contracts.payments import LedgerPayment, PaymentKind
from keyferry.contracts.stripe_events import DifferenceKind, StripeDifference
from services.billing.stripe.rules import PaymentEffect

EffectKey = tuple[PaymentKind, str]


def compare_effects(
    payment_id: str,
    tenant: str,
    expected: Iterable[PaymentEffect],
    recorded: Mapping[EffectKey, LedgerPayment],
    posted_now: Iterable[PaymentEffect],
) -> list[StripeDifference]:
    """Return how the effects that a payment has by Stripe differ from those recorded before; what is posted now is settled."""
    now = {(each.kind, each.object_id) for each in posted_now}
    found: list[StripeDifference] = []
    for effect in expected:
        key = (effect.kind, effect.object_id)
        row = recorded.get(key)
        if not effect.amount_micro_usd or (row is not None and _agrees(row, effect, tenant)):
            continue
        if row is None and key not in now:
            continue  # It was recorded under another day, or by another process in the meantime.
        kind = DifferenceKind.MISSING_HERE if row is None else DifferenceKind.AMOUNT
        has = 0 if row is None else row.amount_micro_usd
        found.append(
            StripeDifference(
                kind=kind,
                subject=effect.object_id,
                payment_id=payment_id,
                tenant=tenant,
                expected_micro_usd=effect.amount_micro_usd,
                recorded_micro_usd=has,
                settled=row is None,
                detail=_describe(kind, effect, has),
            )
        )
    return found


def missing_at_stripe(row: LedgerPayment, reason: str) -> StripeDifference:
    """Return the difference about something that is recorded and that Stripe does not have."""
    return StripeDifference(
        kind=DifferenceKind.MISSING_AT_STRIPE,
        subject=row.source_id,
        payment_id=row.receipt.payment_id,
        tenant=row.tenant,
        recorded_micro_usd=row.amount_micro_usd,
        settled=False,
        detail=(
            f"the {row.kind.value} of {plain(from_micro_usd(row.amount_micro_usd))} credits is recorded, and Stripe does not"
            f" have it: {reason}. Find out who recorded it, and correct the credits with `keyferry credits adjust`"
        ),
    )


def parked(payment_id: str, tenant: str | None, reason: str) -> StripeDifference:
    """Return the difference about a payment that was paid and not credited."""
    return StripeDifference(
        kind=DifferenceKind.PARKED,
        subject=payment_id,
        payment_id=payment_id,
        tenant=tenant,
        settled=False,
        detail=f"paid and not credited: {reason}",
    )


def _agrees(row: LedgerPayment, effect: PaymentEffect, tenant: str) -> bool:
    return (row.amount_micro_usd, row.tenant) == (effect.amount_micro_usd, tenant)


def _describe(kind: DifferenceKind, effect: PaymentEffect, recorded: int) -> str:
    credits_ = plain(from_micro_usd(effect.amount_micro_usd))
    if kind is DifferenceKind.MISSING_HERE:
        return f"the {effect.kind.value} of {credits_} credits was not recorded; it is now"
    return (
        f"the {effect.kind.value} is {credits_} credits by Stripe, and {plain(from_micro_usd(recorded))} are recorded:"
        " correct the credits with `keyferry credits adjust`"
    )
