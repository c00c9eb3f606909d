"""The subjects of comparisons with providers' own figures: the part of `topology` about them.

Import them from here; `topology` adds them to the map of the bus. Pure.
"""

from keyferry.contracts import reconciliation
from keyferry.contracts.channels import AnySubject, Role, Subject, manage, request

_BILLING, _LEDGER = Role.BILLING, Role.USAGE_LEDGER

USAGE_SUM_PROVIDER_DAY = request(
    "kf.v1.usage.sum_provider_day",
    reconciliation.SumProviderDay,
    reconciliation.ProviderDay,
    publishers=(_BILLING,),
    subscribers=(_LEDGER,),
    queue=_LEDGER.value,
    summary="Add up attempts at a provider on one day by what may explain a difference to the provider's figures.",
)
USAGE_LIST_ATTEMPTS = request(
    "kf.v1.usage.list_attempts",
    reconciliation.ListUsageAttempts,
    reconciliation.UsageAttempts,
    publishers=(_BILLING,),
    subscribers=(_LEDGER,),
    queue=_LEDGER.value,
    summary="Return a page of a tenant's attempts in a span, for reporting them again.",
)
RECONCILIATION_RUN = manage(
    "kf.v1.reconciliation.run",
    reconciliation.RunReconciliation,
    reconciliation.Reconciliation,
    _BILLING,
    "Compare days of a tenant's usage with what the provider says.",
)
RECONCILIATION_LIST = manage(
    "kf.v1.reconciliation.list",
    reconciliation.ListReconciliations,
    reconciliation.Reconciliations,
    _BILLING,
    "List a tenant's comparisons with providers.",
)
RECONCILIATION_GET = manage(
    "kf.v1.reconciliation.get",
    reconciliation.GetReconciliation,
    reconciliation.Reconciliation,
    _BILLING,
    "Return one comparison with its rows.",
)
RECONCILIATION_SCHEDULE_SAVE = manage(
    "kf.v1.reconciliation_schedule.save",
    reconciliation.SaveReconciliationSchedule,
    reconciliation.ReconciliationSchedule,
    _BILLING,
    "Compare each month with a provider's figures, and choose the tolerance.",
)
RECONCILIATION_SCHEDULE_REMOVE = manage(
    "kf.v1.reconciliation_schedule.remove",
    reconciliation.RemoveReconciliationSchedule,
    reconciliation.ReconciliationSchedule,
    _BILLING,
    "End the monthly comparison with a provider.",
)
RECONCILIATION_SCHEDULE_LIST = manage(
    "kf.v1.reconciliation_schedule.list",
    reconciliation.ListReconciliationSchedules,
    reconciliation.ReconciliationSchedules,
    _BILLING,
    "List a tenant's monthly comparisons with providers.",
)
SUBJECTS: tuple[AnySubject, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Subject))
"""Every subject above, in that order."""
