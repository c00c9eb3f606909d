"""The products and prices of this installation at Stripe: what each should be, and how one differs. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keyferry.contracts.purchases import CURRENCY
from services.billing.purchases.offers import Offer, TierOffer
from services.billing.purchases.stripe_access import CREDITS, DEPLOYMENT, LOOKUP, TIER


@dataclass(frozen=True, slots=True)
class OfferCatalog:
    """The names of an installation's products and prices; its id is in all of them, as several may share an account."""

    deployment: str

    @property
    def products(self) -> dict[str, Mapping[str, Any]]:
        """The products by their ids at Stripe."""
        return {
            self.credits_product: {"name": "Credits", "metadata": {DEPLOYMENT: self.deployment}},
            self.tiers_product: {"name": "Subscription", "metadata": {DEPLOYMENT: self.deployment}},
        }

    @property
    def credits_product(self) -> str:
        """The product of credits."""
        return f"keyferry_credits_{self.deployment.replace('.', '-')}"

    @property
    def tiers_product(self) -> str:
        """The product of subscriptions."""
        return f"keyferry_tiers_{self.deployment.replace('.', '-')}"

    def product_of(self, offer: Offer | TierOffer) -> str:
        """Return the product that an offer belongs to."""
        return self.credits_product if isinstance(offer, Offer) else self.tiers_product

    def lookup_key(self, offer: Offer | TierOffer) -> str:
        """Return the name by which the price of an offer is found."""
        return f"keyferry-{self.deployment}-{offer.price_name}"

    def price_params(self, offer: Offer | TierOffer) -> dict[str, Any]:
        """Return the price of an offer."""
        key = self.lookup_key(offer)
        params = {
            "product": self.product_of(offer),
            "currency": CURRENCY,
            "unit_amount": offer.amount_cents,
            "lookup_key": key,
            "metadata": {DEPLOYMENT: self.deployment, LOOKUP: key} | _of_offer(offer),
        }
        if isinstance(offer, Offer):
            return params | {"nickname": offer.label}
        return params | {"nickname": f"{offer.tier} by the month", "recurring": {"interval": "month"}}

    def difference(self, offer: Offer | TierOffer, price: Mapping[str, Any]) -> str | None:
        """Return how a price at Stripe differs from its offer, for people; None if it does not."""
        wanted = self.price_params(offer)
        metadata = price.get("metadata") or {}
        interval = (price.get("recurring") or {}).get("interval")
        found: dict[str, tuple[Any, Any]] = {
            "the product": (price.get("product"), wanted["product"]),
            "the currency": (price.get("currency"), wanted["currency"]),
            "the amount": (price.get("unit_amount"), wanted["unit_amount"]),
            "the interval": (interval, wanted.get("recurring", {}).get("interval")),
            **{f"metadata {name}": (metadata.get(name), each) for name, each in _of_offer(offer).items()},
        }
        wrong = [f"{name} is {is_} and should be {should}" for name, (is_, should) in found.items() if is_ != should]
        return "; ".join(wrong) or None


def _of_offer(offer: Offer | TierOffer) -> dict[str, str]:
    return {CREDITS: str(offer.credits_micro_usd)} if isinstance(offer, Offer) else {TIER: offer.tier.value}
