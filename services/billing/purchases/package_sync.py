"""Makes the products and prices at Stripe equal to what the billing file sells, and reports what differs on either side."""

from collections.abc import Callable
from datetime import datetime

from keyferry.billing.plan import BillingPlan
from keyferry.contracts.purchases import PackageSync, SyncAction, SyncedPrice, SyncPackages
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.runtime.database.service_database import ServiceDatabase
from services.billing.purchases.catalog import OfferCatalog
from services.billing.purchases.offers import Offer, TierOffer, offers, tier_offers
from services.billing.purchases.rule_violation import PurchaseRefused
from services.billing.purchases.stripe_calls import StripeCalls
from services.billing.stripe.client import StripeDict, StripeObjectMissing, StripeRequestRefused


class PackageSynchronizer:
    """Compares and repairs. Prices are immutable at Stripe: a changed offer is a new price, and the former one is archived."""

    def __init__(
        self,
        calls: StripeCalls,
        catalog: OfferCatalog,
        plan: BillingPlan,
        database: ServiceDatabase,
        clock: Callable[[], datetime],
    ) -> None:
        self._calls = calls
        self._catalog = catalog
        self._plan = plan
        self._database = database
        self._clock = clock

    async def sync(self, command: SyncPackages) -> PackageSync:
        """Compare both sides and make them equal, or only report. Repeating it changes nothing more.

        Raises StripeFailure, BusError and DatabaseUnavailable.
        """
        sold: list[Offer | TierOffer] = [*offers(self._plan), *tier_offers(self._plan)]
        prices = [await self._sync_offer(offer, dry_run=command.dry_run) for offer in sold]
        known = {price.lookup_key for price in prices}
        for product in self._catalog.products:
            prices += await self._archive_others(product, known, dry_run=command.dry_run)
        report = PackageSync(
            dry_run=command.dry_run,
            version=self._plan.version,
            livemode=await self._calls.is_live(),
            prices=prices,
            at=self._clock(),
        )
        if not command.dry_run:
            await self._record(command.actor, report)
        return report

    async def price_of(self, offer: Offer | TierOffer) -> str:
        """Return the id of the price of an offer, made or activated if need be. Raises PurchaseRefused if it differs.

        Raises also StripeFailure and BusError.
        """
        synced = await self._sync_offer(offer, dry_run=False)
        if synced.action is SyncAction.DIFFERENT or synced.price_id is None:
            raise PurchaseRefused(
                ErrorCode.CONFLICT,
                f"the price of this offer was changed at Stripe ({synced.detail}): an operator has to correct it"
                " (`keyferry billing sync-packages` shows the difference)",
            )
        return synced.price_id

    async def credits_product(self) -> str:
        """Return the product of credits, made if need be."""
        return str((await self._product(self._catalog.credits_product))["id"])

    async def _product(self, product: str) -> StripeDict:
        return await self._calls.product(product, self._catalog.products[product])

    async def _sync_offer(self, offer: Offer | TierOffer, *, dry_run: bool) -> SyncedPrice:
        key = self._catalog.lookup_key(offer)
        price = await self._calls.price(key)
        if price is None and dry_run:
            return SyncedPrice(lookup_key=key, action=SyncAction.CREATED)
        if price is None:
            price, made = await self._create(offer)
            if made:
                return _synced(key, SyncAction.CREATED, price)
        difference = self._catalog.difference(offer, price)
        if difference is not None:
            return _synced(key, SyncAction.DIFFERENT, price, difference)
        if price["active"]:
            return _synced(key, SyncAction.UNCHANGED, price)
        if not dry_run:
            await self._calls.set_price_active(price["id"], active=True)
        return _synced(key, SyncAction.ACTIVATED, price)

    async def _create(self, offer: Offer | TierOffer) -> tuple[StripeDict, bool]:
        """Return the price of an offer, and whether this call made it: another process may do so at the same moment."""
        await self._product(self._catalog.product_of(offer))
        try:
            return await self._calls.create_price(self._catalog.price_params(offer)), True
        except StripeRequestRefused:
            price = await self._calls.price(self._catalog.lookup_key(offer))
            if price is None:
                raise
            return price, False

    async def _archive_others(self, product: str, known: set[str], *, dry_run: bool) -> list[SyncedPrice]:
        try:
            found = [price async for price in self._calls.prices_of(product)]
        except StripeObjectMissing:
            return []  # the product does not exist yet
        archived = []
        for price in found:
            key = str(price.get("lookup_key") or price["id"])
            if key in known:
                continue
            if not dry_run:
                await self._calls.set_price_active(price["id"], active=False)
            archived.append(_synced(key, SyncAction.ARCHIVED, price, "the billing file does not sell it"))
        return archived

    async def _record(self, actor: str, report: PackageSync) -> None:
        counts = {action.value: 0 for action in SyncAction}
        for price in report.prices:
            counts[price.action.value] += 1
        async with self._database.change() as transaction:
            await transaction.audit(
                actor=actor,
                action="package.sync",
                tenant=PLATFORM_TENANT,
                target=report.version,
                details={name: str(count) for name, count in counts.items() if count},
            )


def _synced(key: str, action: SyncAction, price: StripeDict, detail: str | None = None) -> SyncedPrice:
    product = price.get("product")
    return SyncedPrice(
        lookup_key=key,
        action=action,
        price_id=price["id"],
        product_id=product if isinstance(product, str) else None,
        detail=detail,
    )
