"""The subjects by which an operator manages routing, and the views of what is managed: the part of `topology` about routing.

Import them from here; `topology` adds them to the map of the bus. Pure.
"""

from typing import Any

from keyferry.contracts import catalog_edits, price_edits, provider_edits
from keyferry.contracts.channels import AnySubject, Bucket, Role, Subject

SUBJECTS: tuple[AnySubject, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Subject))
"""Every subject above, in that order."""

CATALOG_VIEW = Bucket(
    name="catalog",
    owner=Role.ROUTER,
    readers=(Role.ROUTER,),
    message=catalog_edits.CatalogEntry,
    summary="What operators changed about models, by a digest of the model's id.",
)
PROVIDERS_VIEW = Bucket(
    name="providers",
    owner=Role.ROUTER,
    readers=(Role.ROUTER, Role.KEY_VAULT, Role.PROVIDER_WORKER, Role.CONSOLE),
    message=provider_edits.ProviderEntry,
    summary="Providers that operators added or retired, by name.",
)
PRICES_VIEW = Bucket(
    name="prices",
    owner=Role.ROUTER,
    readers=(Role.ROUTER, Role.USAGE_LEDGER),
    message=price_edits.PriceEntry,
    summary="Prices that operators set, by a digest of provider, model and moment.",
)
BUCKETS: tuple[Bucket[Any], ...] = (CATALOG_VIEW, PROVIDERS_VIEW, PRICES_VIEW)
