"""A purchase as it is stored, and as people see it. Pure."""

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Self

from keyferry.contracts.credit_management import from_micro_usd
from keyferry.contracts.purchases import FINAL_STATES, Purchase, PurchaseKind, PurchaseState, from_cents


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPurchase:
    """A row of the table of purchases, with times in UTC."""

    purchase: str
    tenant: str
    kind: PurchaseKind
    package: str | None = None
    amount_cents: int
    currency: str
    credits_micro_usd: int
    state: PurchaseState
    reason: str | None = None
    session: str | None = None
    url: str | None = None
    expires_at: datetime | None = None
    payment_intent: str | None = None
    return_path: str | None = None
    save_payment_method: bool = False
    idempotency_key: str
    actor: str
    created_at: datetime
    read_at: datetime | None = None
    paid_at: datetime | None = None
    credited_at: datetime | None = None
    failures: int = 0
    obstacles: int = 0
    next_step_at: datetime | None = None

    @classmethod
    def of(cls, row: Any) -> Self:
        """Return the purchase of a row."""
        values = {each.name: _in_utc(row._mapping[each.name]) for each in fields(cls)}
        values |= {"kind": PurchaseKind(values["kind"]), "state": PurchaseState(values["state"])}
        return cls(**values)

    @property
    def is_final(self) -> bool:
        """Whether nothing more is expected to happen."""
        return self.state in FINAL_STATES

    def is_same_order(self, other: "StoredPurchase") -> bool:
        """Return whether two requests with one idempotency key want the same."""
        return (self.amount_cents, self.credits_micro_usd, self.package, self.save_payment_method) == (
            other.amount_cents,
            other.credits_micro_usd,
            other.package,
            other.save_payment_method,
        )

    def to_message(self) -> Purchase:
        """Return what people see; the page of Stripe only while it can be paid."""
        return Purchase(
            purchase=self.purchase,
            tenant=self.tenant,
            kind=self.kind,
            package=self.package,
            price_usd=from_cents(self.amount_cents),
            currency=self.currency,
            credits=from_micro_usd(self.credits_micro_usd),
            state=self.state,
            reason=self.reason,
            url=self.url if self.state is PurchaseState.OPEN else None,
            expires_at=self.expires_at,
            created_at=self.created_at,
            paid_at=self.paid_at,
            credited_at=self.credited_at,
            payment_intent=self.payment_intent,
            actor=self.actor,
        )


def _in_utc(value: Any) -> Any:
    return value.astimezone(UTC) if isinstance(value, datetime) else value
