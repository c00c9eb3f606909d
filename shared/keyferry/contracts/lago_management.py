"""The subjects of reporting to Lago: the part of `topology` about it.

Import them from here; `topology` adds them to the map of the bus. Pure.
"""

from keyferry.contracts import lago
from keyferry.contracts.channels import AnySubject, Role, Subject, manage

_BILLING = Role.BILLING

LAGO_STATUS = manage(
    "kf.v1.lago.status", lago.GetLagoStatus, lago.LagoStatus, _BILLING, "Return how reporting to Lago is going."
)
LAGO_BACKFILL = manage(
    "kf.v1.lago.backfill", lago.BackfillLago, lago.LagoBackfill, _BILLING, "Report attempts from the ledger to Lago."
)
LAGO_CUSTOMER_SAVE = manage(
    "kf.v1.lago_customer.save",
    lago.SaveLagoCustomer,
    lago.LagoCustomer,
    _BILLING,
    "Choose which customer a tenant is in Lago, or that nothing of it is sent there.",
)
LAGO_CUSTOMER_LIST = manage(
    "kf.v1.lago_customer.list",
    lago.ListLagoCustomers,
    lago.LagoCustomers,
    _BILLING,
    "List which tenant is which customer in Lago.",
)
LAGO_EVENT_LIST = manage(
    "kf.v1.lago_event.list_parked",
    lago.ListParkedLagoEvents,
    lago.ParkedLagoEvents,
    _BILLING,
    "List events that Lago refuses.",
)
LAGO_EVENT_REPLAY = manage(
    "kf.v1.lago_event.replay",
    lago.ReplayLagoEvents,
    lago.ReplayedLagoEvents,
    _BILLING,
    "Report events again that Lago has refused.",
)
SUBJECTS: tuple[AnySubject, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Subject))
"""Every subject above, in that order."""
