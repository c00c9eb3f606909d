"""The subjects of payments: the part of `topology` about them.

Import them from here; `topology` adds them to the map of the bus. Pure.
"""

from datetime import timedelta

from keyferry.contracts import payments, stripe_events
from keyferry.contracts.channels import AnySubject, Role, Stream, Subject, event, manage, request

_BILLING, _LEDGER = Role.BILLING, Role.USAGE_LEDGER
PAYMENTS = Stream(name="PAYMENTS", max_age=timedelta(days=30), max_bytes=1024**3, synced=True)

CREDIT_RECORD_PAYMENT = request(
    "kf.v1.credits.record_payment",
    payments.RecordPayment,
    payments.RecordedPayment,
    publishers=(_BILLING,),
    subscribers=(_LEDGER,),
    queue=_LEDGER.value,
    summary="Record a purchase, refund or dispute in a tenant's credits, once per source, kind and id.",
)
CREDIT_LIST_PAYMENTS = request(
    "kf.v1.credits.list_payments",
    payments.ListRecordedPayments,
    payments.LedgerPayments,
    publishers=(_BILLING,),
    subscribers=(_LEDGER,),
    queue=_LEDGER.value,
    summary="List what is recorded of payments, for the comparison with the payment provider.",
)
CREDIT_POSTED = event(
    "kf.v1.credit.posted.{tenant}",
    payments.CreditPosted,
    publishers=(_LEDGER,),
    subscribers=(Role.NOTIFIER,),
    stream=PAYMENTS.name,
    summary="A tenant's credits were changed by something else than requests; committed with the entry.",
)
PAYMENT_CHANGED = event(
    "kf.v1.payment.changed.{tenant}",
    payments.PaymentChanged,
    publishers=(_BILLING,),
    subscribers=(_BILLING, Role.NOTIFIER),
    stream=PAYMENTS.name,
    summary="A payment of a tenant was settled, refunded or disputed, or needs attention.",
)
STRIPE_RECEIVE_WEBHOOK = request(
    "kf.v1.stripe.receive_webhook",
    stripe_events.ReceiveWebhook,
    stripe_events.WebhookReceived,
    publishers=(Role.CONSOLE,),
    subscribers=(_BILLING,),
    queue=_BILLING.value,
    summary="Verify a webhook of Stripe and store its event before it is acknowledged.",
)
STRIPE_EVENT_LIST = manage(
    "kf.v1.stripe_event.list",
    stripe_events.ListStripeEvents,
    stripe_events.StripeEvents,
    _BILLING,
    "List the events that Stripe has delivered, and what became of them.",
)
STRIPE_EVENT_REPLAY = manage(
    "kf.v1.stripe_event.replay",
    stripe_events.ReplayStripeEvents,
    stripe_events.ReplayedEvents,
    _BILLING,
    "Process events of Stripe again.",
)
PAYMENT_LIST = manage(
    "kf.v1.payment.list", payments.ListPayments, payments.Payments, _BILLING, "List a tenant's payments with receipts."
)
PAYMENT_CHECK_MISSING = manage(
    "kf.v1.payment.check_missing",
    payments.CheckMissingCredits,
    payments.MissingCredits,
    _BILLING,
    "Compare a tenant's payments with Stripe now, and credit what is owed.",
)
STRIPE_RECONCILIATION_RUN = manage(
    "kf.v1.stripe_reconciliation.run",
    stripe_events.RunStripeReconciliation,
    stripe_events.StripeReconciliation,
    _BILLING,
    "Compare the payments of a day with Stripe in both directions.",
)
STRIPE_RECONCILIATION_LIST = manage(
    "kf.v1.stripe_reconciliation.list",
    stripe_events.ListStripeReconciliations,
    stripe_events.StripeReconciliations,
    _BILLING,
    "List the reports of the daily comparison with Stripe.",
)
SUBJECTS: tuple[AnySubject, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Subject))
"""Every subject above, in that order."""
