"""The subjects by which people buy credits and manage payments: the part of `topology` about purchases.

Import them from here; `topology` adds them to the map of the bus. Pure.
"""

from typing import Any

from keyferry.contracts import purchases, subscriptions
from keyferry.contracts.channels import AnySubject, Bucket, Role, Subject, manage, request

_BILLING = Role.BILLING

PACKAGE_LIST = manage(
    "kf.v1.package.list", purchases.ListPackages, purchases.Packages, _BILLING, "List what can be bought."
)
PACKAGE_SYNC = manage(
    "kf.v1.package.sync",
    purchases.SyncPackages,
    purchases.PackageSync,
    _BILLING,
    "Make products and prices at Stripe equal to the billing file, or report what differs.",
)
CHECKOUT_CREATE = manage(
    "kf.v1.checkout.create",
    purchases.CreateCheckout,
    purchases.Purchase,
    _BILLING,
    "Open a page of Stripe on which a tenant pays for credits, once per idempotency key.",
)
CHECKOUT_GET = manage(
    "kf.v1.checkout.get", purchases.GetCheckout, purchases.Purchase, _BILLING, "Return how far a purchase is."
)
CHECKOUT_CANCEL = manage(
    "kf.v1.checkout.cancel", purchases.CancelCheckout, purchases.Purchase, _BILLING, "Close a page that is not paid."
)
PURCHASE_LIST = manage(
    "kf.v1.purchase.list", purchases.ListPurchases, purchases.Purchases, _BILLING, "List a tenant's purchases."
)
CUSTOMER_GET = manage(
    "kf.v1.customer.get",
    purchases.GetCustomer,
    purchases.BillingCustomer,
    _BILLING,
    "Return a tenant as a customer at Stripe.",
)
TOP_UP_GET = manage(
    "kf.v1.top_up.get", purchases.GetTopUp, purchases.TopUp, _BILLING, "Return a tenant's automatic top-up."
)
TOP_UP_SAVE = manage(
    "kf.v1.top_up.save", purchases.SaveTopUp, purchases.TopUp, _BILLING, "Set a tenant's automatic top-up."
)
TOP_UP_RESUME = manage(
    "kf.v1.top_up.resume", purchases.ResumeTopUp, purchases.TopUp, _BILLING, "Let a paused top-up go on."
)
SUBSCRIPTION_GET = manage(
    "kf.v1.subscription.get",
    subscriptions.GetSubscription,
    subscriptions.Subscription,
    _BILLING,
    "Return a tenant's subscription, and the tiers that are sold.",
)
SUBSCRIPTION_START = manage(
    "kf.v1.subscription.start",
    subscriptions.StartSubscription,
    subscriptions.SubscriptionPage,
    _BILLING,
    "Open a page of Stripe on which a tenant subscribes to a tier.",
)
SUBSCRIPTION_CHANGE = manage(
    "kf.v1.subscription.change",
    subscriptions.ChangeSubscription,
    subscriptions.Subscription,
    _BILLING,
    "Change the tier: a higher one at once, a lower one at the end of the period.",
)
SUBSCRIPTION_CANCEL = manage(
    "kf.v1.subscription.cancel",
    subscriptions.CancelSubscription,
    subscriptions.Subscription,
    _BILLING,
    "End a subscription with its period, or take that back.",
)
TENANT_APPLY_SUBSCRIPTION = request(
    "kf.v1.tenant.apply_subscription",
    subscriptions.ApplySubscription,
    subscriptions.AppliedSubscription,
    publishers=(_BILLING,),
    subscribers=(Role.TENANT_DIRECTORY,),
    queue=Role.TENANT_DIRECTORY.value,
    summary="Give a tenant the tier that its subscription pays for, unless an operator has set its tier.",
)

SUBJECTS: tuple[AnySubject, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Subject))
"""Every subject above, in that order."""
BUCKETS: tuple[Bucket[Any], ...] = ()
