"""What the present state of a payment at Stripe means for credits: whose it is, and which effects it has. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from keyferry.contracts.ids import is_tenant_id
from keyferry.contracts.payments import PaymentKind, PaymentState
from keyferry.contracts.text import parse_digits
from services.billing.stripe.currencies import KNOWN, show_amount
from services.billing.stripe.objects import CREDITS, DEPLOYMENT, PURCHASE, TENANT, IntentFacts, PaymentFacts

_MAX_CREDITS = 10**15
_RETURNS = {PaymentKind.DISPUTE: PaymentKind.DISPUTE_WON, PaymentKind.REFUND: PaymentKind.CORRECTION}


class NotOurs(Exception):
    """The payment is none for credits of this installation; the message says why."""


class NotPaid(Exception):
    """Nothing was paid yet."""


class ParkedPayment(Exception):
    """It was paid, and whether or what to credit is not certain; the message says why, for an operator."""


@dataclass(frozen=True, slots=True)
class OrderedPayment:
    """What a tenant has ordered here."""

    tenant: str
    credits_micro_usd: int
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class PaidCredits:
    """A payment that buys credits."""

    payment_id: str
    tenant: str
    purchase_id: str | None
    credits_micro_usd: int
    amount_minor: int
    currency: str
    livemode: bool
    paid_at: datetime


@dataclass(frozen=True, slots=True)
class PaymentEffect:
    """What happens to credits by one object of Stripe, once."""

    kind: PaymentKind
    object_id: str
    amount_minor: int
    amount_micro_usd: int
    """0 where nothing is left to take back: then it has no effect in the ledger."""
    at: datetime


def tenant_of(intent: IntentFacts, deployment: str) -> str:
    """Return whose payment it is. Raises NotOurs."""
    tenant = intent.metadata.get(TENANT)
    if tenant is None:
        raise NotOurs("it is no payment for credits: it names no tenant")
    if (other := intent.metadata.get(DEPLOYMENT)) != deployment:
        raise NotOurs(f"it belongs to another installation ({other or 'unnamed'})")
    if not is_tenant_id(tenant):
        raise NotOurs("it names a tenant that cannot exist")
    return tenant


def credits_of(intent: IntentFacts, tenant: str, ordered: OrderedPayment | None, *, is_live: bool) -> PaidCredits:
    """Return what a payment buys. Raises NotPaid, and ParkedPayment where it is not what was ordered."""
    if intent.status != "succeeded":
        raise NotPaid(f"its state is {intent.status}")
    if intent.livemode != is_live:
        raise ParkedPayment("it is of live mode and the key of test mode, or the reverse")
    if intent.currency not in KNOWN:
        raise ParkedPayment(f"its currency {intent.currency!r} is not known, so what was paid is not certain")
    if intent.amount_received != intent.amount or intent.amount_received <= 0:
        paid, wanted = (show_amount(each, intent.currency) for each in (intent.amount_received, intent.amount))
        raise ParkedPayment(f"{paid} were received and {wanted} were to be paid")
    amount = _credits_in(intent)
    if ordered is not None:
        _require_ordered(intent, tenant, amount, ordered)
    return PaidCredits(
        payment_id=intent.id,
        tenant=tenant,
        purchase_id=intent.metadata.get(PURCHASE),
        credits_micro_usd=amount,
        amount_minor=intent.amount_received,
        currency=intent.currency,
        livemode=intent.livemode,
        paid_at=intent.created_at,
    )


def new_effects(facts: PaymentFacts, paid: PaidCredits, known: Sequence[PaymentEffect]) -> list[PaymentEffect]:
    """Return the effects that a payment has and that are not among `known`, in the order in which they are to be posted.

    A part of the money takes back its part of the credits, rounded down over all parts together, so that parts that come to the
    whole take back exactly what was bought, whatever the order in which they became known.
    """
    effects = list(known)
    if not _has(effects, PaymentKind.PURCHASE, paid.payment_id):
        effects.append(
            PaymentEffect(
                PaymentKind.PURCHASE, paid.payment_id, paid.amount_minor, paid.credits_micro_usd, paid.paid_at
            )
        )
    for refund in sorted(facts.refunds, key=lambda each: (each.created, each.id)):
        at = datetime.fromtimestamp(refund.created, UTC)
        if refund.is_taken:
            _take(effects, PaymentKind.REFUND, refund.id, refund.amount, paid, at)
        else:
            _give_back(effects, PaymentKind.REFUND, refund.id, at)
    for dispute in sorted(facts.disputes, key=lambda each: (each.created, each.id)):
        at = datetime.fromtimestamp(dispute.created, UTC)
        # A dispute in another currency than the payment's is about all of it.
        amount = dispute.amount if dispute.currency == paid.currency else paid.amount_minor
        if dispute.is_taken:
            _take(effects, PaymentKind.DISPUTE, dispute.id, amount, paid, at)
        if dispute.is_won:
            _give_back(effects, PaymentKind.DISPUTE, dispute.id, at)
    return effects[len(known) :]


def taken_back(effects: Iterable[PaymentEffect]) -> tuple[int, int]:
    """Return what is taken back now and was not given back: minor units and micro-dollars."""
    minor = micro = 0
    for each in effects:
        sign = 1 if each.kind in _RETURNS else -1 if each.kind in _RETURNS.values() else 0
        minor += sign * each.amount_minor
        micro += sign * each.amount_micro_usd
    return minor, micro


def state_of(facts: PaymentFacts, effects: Sequence[PaymentEffect]) -> PaymentState:
    """Return where a payment stands."""
    if any(each.is_taken and each.status not in ("won", "lost") for each in facts.disputes):
        return PaymentState.DISPUTED
    if any(each.status == "lost" for each in facts.disputes):
        return PaymentState.DISPUTE_LOST
    refunded, _ = taken_back(effects)
    if not refunded:
        return PaymentState.PAID
    return PaymentState.REFUNDED if refunded >= facts.intent.amount_received else PaymentState.PARTLY_REFUNDED


def _take(
    effects: list[PaymentEffect], kind: PaymentKind, object_id: str, minor: int, paid: PaidCredits, at: datetime
) -> None:
    if _has(effects, kind, object_id):
        return
    minor_before, micro_before = taken_back(effects)
    total = min(minor_before + minor, paid.amount_minor)
    micro = max(0, paid.credits_micro_usd * total // paid.amount_minor - micro_before)
    effects.append(PaymentEffect(kind, object_id, minor, micro, at))


def _give_back(effects: list[PaymentEffect], kind: PaymentKind, object_id: str, at: datetime) -> None:
    """Give back what an object took, if it did; one that failed before it was known never takes anything."""
    taken = next((each for each in effects if (each.kind, each.object_id) == (kind, object_id)), None)
    if taken is not None and not _has(effects, _RETURNS[kind], object_id):
        effects.append(PaymentEffect(_RETURNS[kind], object_id, taken.amount_minor, taken.amount_micro_usd, at))


def _has(effects: Iterable[PaymentEffect], kind: PaymentKind, object_id: str) -> bool:
    return any((each.kind, each.object_id) == (kind, object_id) for each in effects)


def _credits_in(intent: IntentFacts) -> int:
    amount = parse_digits(intent.metadata.get(CREDITS, ""))
    if amount is None or not 0 < amount <= _MAX_CREDITS:
        raise ParkedPayment(f"its metadata {CREDITS} names no amount of credits")
    return amount


def _require_ordered(intent: IntentFacts, tenant: str, amount: int, ordered: OrderedPayment) -> None:
    if (intent.amount_received, intent.currency) != (ordered.amount_minor, ordered.currency):
        paid = show_amount(intent.amount_received, intent.currency)
        raise ParkedPayment(f"{paid} were paid, and {show_amount(ordered.amount_minor, ordered.currency)} were ordered")
    if (tenant, amount) != (ordered.tenant, ordered.credits_micro_usd):
        raise ParkedPayment("its metadata and the order name another tenant or another amount of credits")
