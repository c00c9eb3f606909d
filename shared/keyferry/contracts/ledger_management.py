"""The subjects by which routers lease credit and people manage the ledger: the part of `topology` about the ledger.

Import them from here; `topology` adds them to the map of the bus. Pure.
"""

from typing import Any

from keyferry.contracts import (
    analytics,
    analytics_answers,
    budget,
    charges,
    credit,
    credit_management,
    credit_workers,
    dead_letters,
    operator_analytics,
    partitions,
    projections,
    request_log,
)
from keyferry.contracts.channels import AnySubject, Bucket, Role, Subject, manage, request

_LEDGER = Role.USAGE_LEDGER

CREDIT_LEASE = request(
    "kf.v1.credit.lease.{router}",
    credit.LeaseCredit,
    credit.CreditLease,
    publishers=(Role.ROUTER,),
    subscribers=(_LEDGER,),
    queue=_LEDGER.value,
    fast_path=True,
    summary="A router leases a part of a spendable account, from which it sets shares aside for attempts.",
)
CREDIT_RETURN = request(
    "kf.v1.credit.return.{router}",
    credit.ReturnCredit,
    credit.CreditReturned,
    publishers=(Role.ROUTER,),
    subscribers=(_LEDGER,),
    queue=_LEDGER.value,
    fast_path=True,
    summary="A router gives back what it has not set aside of a lease.",
)
DEAD_LETTER_GET = manage(
    "kf.v1.dead_letter.get",
    dead_letters.GetDeadLetter,
    dead_letters.DeadLetterDetail,
    _LEDGER,
    "Return one dead letter with its whole original.",
)
DEAD_LETTER_REPLAY = manage(
    "kf.v1.dead_letter.replay",
    dead_letters.ReplayDeadLetters,
    dead_letters.ReplayedLetters,
    _LEDGER,
    "Take records in again that were dead letters.",
)
PARTITION_LIST = manage(
    "kf.v1.partition.list",
    partitions.ListPartitions,
    partitions.LedgerPartitions,
    _LEDGER,
    "List the partitions of attempts and decisions, and how long rows are kept.",
)
REQUEST_LIST = manage(
    "kf.v1.request.list",
    request_log.ListRequests,
    request_log.RequestPage,
    owner=_LEDGER,
    summary="A page of a tenant's requests with their attempts, newest first.",
)
REQUEST_SHOW = manage(
    "kf.v1.request.show",
    request_log.ShowRequest,
    request_log.ShownRequest,
    owner=_LEDGER,
    summary="Everything that is recorded of one request.",
)
PROJECTION_REBUILD = manage(
    "kf.v1.projection.rebuild",
    projections.RebuildProjections,
    projections.RebuiltProjections,
    _LEDGER,
    "Compare balances and sums with the records that they are of, or compute them again.",
)
CREDIT_GET = request(
    "kf.v1.credits.get",
    credit_management.GetCredits,
    credit_management.CreditBalance,
    publishers=(Role.OPERATOR, Role.CONSOLE, Role.BILLING),
    subscribers=(_LEDGER,),
    queue=_LEDGER.value,
    summary="What a tenant has in credits, and how long it lasts; to billing, for automatic top-ups.",
)
CREDIT_GRANT = manage(
    "kf.v1.credits.grant",
    credit_management.GrantCredits,
    credit_management.CreditsChanged,
    _LEDGER,
    "Give a tenant credits, once per idempotency key.",
)
CREDIT_ADJUST = manage(
    "kf.v1.credits.adjust",
    credit_management.AdjustCredits,
    credit_management.CreditsChanged,
    _LEDGER,
    "Correct a tenant's credits up or down, once per idempotency key.",
)
CREDIT_THRESHOLD = manage(
    "kf.v1.credits.threshold",
    credit_management.SetCreditThreshold,
    credit_management.CreditBalance,
    _LEDGER,
    "Choose below which balance a tenant's credits count as low.",
)
CREDIT_HISTORY = manage(
    "kf.v1.credits.history",
    credit_management.ListCreditHistory,
    credit_management.CreditHistory,
    _LEDGER,
    "What happened to a tenant's credits, newest first.",
)
ANALYTICS_SUMMARIZE = manage(
    "kf.v1.analytics.summarize",
    analytics.SummarizeAnalytics,
    analytics_answers.AnalyticsSummary,
    _LEDGER,
    "Return the totals of a span of usage, and their change against the span before.",
)
ANALYTICS_SERIES = request(
    "kf.v1.analytics.list_series",
    analytics.ListSeries,
    analytics_answers.UsageSeries,
    publishers=(Role.OPERATOR, Role.CONSOLE, Role.ROUTER),
    subscribers=(_LEDGER,),
    queue=_LEDGER.value,
    summary="Return usage over time; to a router, which has no records, for comparing power levels.",
)
ANALYTICS_BREAKDOWN = request(
    "kf.v1.analytics.break_down",
    analytics.BreakDownUsage,
    analytics_answers.UsageBreakdown,
    publishers=(Role.OPERATOR, Role.CONSOLE, Role.NOTIFIER),
    subscribers=(_LEDGER,),
    queue=_LEDGER.value,
    summary="Return usage by the values of dimensions; to the notifier for scheduled reports.",
)
ANALYTICS_TAGS = manage(
    "kf.v1.analytics.list_tags",
    analytics.ListTagNames,
    analytics_answers.TagNames,
    _LEDGER,
    "Return the names of the tags of a span.",
)
ANALYTICS_SAVINGS = manage(
    "kf.v1.analytics.compute_savings",
    analytics.ComputeSavings,
    analytics_answers.UsageSavings,
    _LEDGER,
    "Return what own keys and the choice of models saved.",
)
ANALYTICS_FORECAST = manage(
    "kf.v1.analytics.forecast",
    analytics.ForecastUsage,
    analytics_answers.UsageForecast,
    _LEDGER,
    "Return what the current month will come to.",
)
CREDIT_WORKER_LIST = manage(
    "kf.v1.credit_worker.list",
    credit_workers.ListCreditWorkers,
    credit_workers.CreditWorkers,
    _LEDGER,
    "How far each worker's attempts are settled, and the credit that waits for them.",
)
CREDIT_WORKER_DECLARE_LOST = manage(
    "kf.v1.credit_worker.declare_lost",
    credit_workers.DeclareWorkerLost,
    credit_workers.WorkerDeclaredLost,
    _LEDGER,
    "Wait no longer for the records of a worker that will never send them.",
)
ALLOWANCE_GET = manage(
    "kf.v1.allowance.get",
    charges.GetAllowance,
    charges.AllowanceState,
    _LEDGER,
    "Return how many free requests a tenant has left in this month.",
)
MARGIN_GET = manage(
    "kf.v1.margin.get",
    charges.GetMargin,
    charges.Margin,
    _LEDGER,
    "Return what attempts have cost the platform and what it has earned with them, by tier and level.",
)
ATTEMPTS_RERATE = manage(
    "kf.v1.attempt.rerate",
    charges.RerateAttempts,
    charges.Rerating,
    _LEDGER,
    "Correct what tenants paid for attempts that were charged by a wrong price or plan.",
)
ANALYTICS_ANALYZE = manage(
    "kf.v1.analytics.analyze",
    operator_analytics.AnalyzeInstallation,
    operator_analytics.InstallationAnalytics,
    _LEDGER,
    "Return figures about all tenants together.",
)
BUDGET_SAVE = manage(
    "kf.v1.budget.save", budget.SaveBudget, budget.BudgetState, _LEDGER, "Add a budget, or replace its terms."
)
BUDGET_REMOVE = manage("kf.v1.budget.remove", budget.RemoveBudget, budget.BudgetRemoved, _LEDGER, "Remove a budget.")
BUDGET_LIST = manage(
    "kf.v1.budget.list",
    budget.ListBudgets,
    budget.Budgets,
    _LEDGER,
    "List a tenant's budgets, and what is spent of each.",
)
SUBJECTS: tuple[AnySubject, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Subject))
"""Every subject above, in that order."""

BUDGETS_VIEW = Bucket(
    name="budgets",
    owner=_LEDGER,
    readers=(Role.ROUTER,),
    message=budget.Budget,
    by_tenant=True,
    summary="Every budget, by `<tenant>.<budget_id>`.",
)
BUCKETS: tuple[Bucket[Any], ...] = (BUDGETS_VIEW,)
