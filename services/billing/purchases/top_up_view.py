"""What people see of an automatic top-up. Pure."""

from datetime import datetime

from keyferry.contracts.credit_management import from_micro_usd
from keyferry.contracts.purchases import TopUp, TopUpState, from_cents
from services.billing.purchases.top_up_rules import MonthWindow
from services.billing.purchases.top_up_store import StoredTopUp, TopUpStatus

_NEEDS_METHOD = "No payment method is saved: buy credits once, and keep the payment method for automatic top-ups."
_CEILING = "Another payment would exceed the monthly ceiling. It goes on with the next month, or with a higher ceiling."


def state_of(status: TopUpStatus, now: datetime) -> TopUpState:
    """Return what a tenant's automatic top-up does at `now`."""
    terms = status.terms
    if terms is not None and terms.paused_at is not None:
        return TopUpState.PAUSED
    if terms is None or not terms.enabled:
        return TopUpState.OFF
    if status.under_way is not None:
        return TopUpState.RETRYING if status.under_way.failures else TopUpState.CHARGING
    if status.payment_method is None:
        return TopUpState.NEEDS_PAYMENT_METHOD
    if terms.held_until is not None and terms.held_until > now:
        return TopUpState.CEILING_REACHED
    return TopUpState.ACTIVE


def describe(
    tenant: str, status: TopUpStatus, month: MonthWindow, now: datetime, *, configured: bool, credits_micro_usd: int
) -> TopUp:
    """Return the message about a tenant's automatic top-up. `credits_micro_usd` is what one payment buys."""
    state = state_of(status, now)
    under_way, terms = status.under_way, status.terms
    shown = TopUp(
        tenant=tenant,
        configured=configured,
        state=state,
        reason=_reason(state, status),
        next_attempt_at=under_way.next_step_at if under_way is not None and state is TopUpState.RETRYING else None,
        failures=0 if under_way is None else under_way.failures,
        spent_this_month_usd=from_cents(status.spent_cents),
        month_ends_at=month.end,
        payment_method=status.payment_method,
    )
    return shown if terms is None else shown.model_copy(update=_terms(terms, credits_micro_usd))


def _terms(terms: StoredTopUp, credits_micro_usd: int) -> dict[str, object]:
    return {
        "enabled": terms.enabled,
        "threshold": from_micro_usd(terms.threshold_micro_usd),
        "price_usd": from_cents(terms.amount_cents),
        "credits": from_micro_usd(credits_micro_usd),
        "monthly_ceiling_usd": from_cents(terms.ceiling_cents),
        "paused_at": terms.paused_at,
        "consent_at": terms.consent_at,
        "consent_by": terms.consent_by,
        "revision": terms.revision,
    }


def _reason(state: TopUpState, status: TopUpStatus) -> str | None:
    if state is TopUpState.PAUSED:
        return None if status.terms is None else status.terms.paused_reason
    if state is TopUpState.RETRYING:
        return None if status.under_way is None else status.under_way.reason
    return {TopUpState.NEEDS_PAYMENT_METHOD: _NEEDS_METHOD, TopUpState.CEILING_REACHED: _CEILING}.get(state)
