"""The subjects by which an operator manages routing, and the views of what is managed: the part of `topology` about routing.

Import them from here; `topology` adds them to the map of the bus. Pure.
"""

from typing import Any

from keyferry.contracts import catalog_edits, feedback, price_edits, provider_edits
from keyferry.contracts.channels import AnySubject, Bucket, Role, Subject, manage, request

FEEDBACK_SAVE = request(
    "kf.v1.feedback.save.{tenant}",
    feedback.SaveFeedback,
    feedback.Feedback,
    publishers=(Role.INTERNAL_CLIENT, Role.OPERATOR, Role.CONSOLE),
    subscribers=(Role.USAGE_LEDGER,),
    queue=Role.USAGE_LEDGER.value,
    summary="Rates the answer to a request.",
)
FEEDBACK_LIST = manage(
    "kf.v1.feedback.list",
    feedback.ListFeedback,
    feedback.TenantRatings,
    Role.USAGE_LEDGER,
    "Sum a tenant's ratings by model and operation.",
)
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
RATINGS_VIEW = Bucket(
    name="ratings",
    owner=Role.USAGE_LEDGER,
    readers=(Role.ROUTER,),
    message=feedback.TenantRatings,
    summary="The sums of each tenant's ratings by model and operation, by tenant.",
)
BUCKETS: tuple[Bucket[Any], ...] = (RATINGS_VIEW, CATALOG_VIEW, PROVIDERS_VIEW, PRICES_VIEW)
