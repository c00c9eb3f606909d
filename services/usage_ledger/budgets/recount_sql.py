"""The SQL by which what counts in a budget is computed from the rows of attempts: the rules of `counting`. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from keyferry.budgets.windows import WindowSpan, window_at
from keyferry.contracts.budget import Budget, BudgetScope
from services.usage_ledger.attempt_packing import LABEL_OF_BUDGET, uuid_of_budget
from services.usage_ledger.budgets.counting import ROLLING_START, table_window
from services.usage_ledger.corrections import JOIN_CORRECTED, current

_MARGIN = timedelta(days=2)
"""The last window is one that contains every moment until so much later."""
_OLDEST_START = timedelta(days=400)
"""No attempt is recorded with an earlier start: it may have a hold of a later window than that in which it began."""
_MATCHES = {
    BudgetScope.TENANT: "CAST(:value AS text) IS NULL",
    BudgetScope.TEAM: "attempts.team = :value",
    BudgetScope.MEMBER: "attempts.member = :value",
    BudgetScope.CLIENT_TOKEN: "attempts.client_token_id = :value",
    BudgetScope.KEY: "attempts.key_id = :value",
    BudgetScope.MODEL: (
        "(attempts.model = :value OR attempts.provider || '/' || attempts.model = :value OR attempts.catalog_id = :value)"
    ),
}
_PLACED = """
SELECT (CAST(:windows AS timestamptz[]))[position] AS window_start, date_trunc('hour', began, 'UTC') AS hour, {amounts}
FROM {source}
CROSS JOIN LATERAL (
    SELECT least(attempts.started_at, attempts.recorded_at) AS began, coalesce((
        SELECT split_part(hold ->> 'account', '/', 3) FROM jsonb_array_elements(attempts.reservation -> 'holds') AS hold
        WHERE starts_with(hold ->> 'account', :account) LIMIT 1
    ), {label_of_packed}) AS label
) AS held
CROSS JOIN LATERAL (
    SELECT coalesce(
        array_position(CAST(:labels AS text[]), label), width_bucket(began, CAST(:starts AS timestamptz[]))
    ) AS position
) AS placed
WHERE {condition} AND attempts.tenant = :tenant AND position > 0 AND ({matches} OR label IS NOT NULL)
GROUP BY 1, 2
"""
_COUNTED = f"""sum(coalesce({current("spend_micro_usd")}, 0)) AS spent_micro_usd, count(*) AS attempts,
    count(*) FILTER (WHERE {current("spend_micro_usd")} IS NULL) AS unpriced"""
_CORRECTED = """sum(coalesce(r.spend_micro_usd, 0) - coalesce(r.spend_micro_usd_before, 0)) AS spent_micro_usd,
    sum((r.spend_micro_usd IS NULL)::integer - (r.spend_micro_usd_before IS NULL)::integer) AS unpriced"""


def windows_since_added(budget: Budget, now: datetime) -> list[WindowSpan]:
    """Return the windows in which every attempt counts: from that in which the budget was added until the present one."""
    spans = [window_at(budget.window, budget.created_at)]
    while (end := spans[-1].end) is not None and end <= now + _MARGIN:
        spans.append(window_at(budget.window, end))
    return spans


def select_counted(budget: Budget) -> str:
    """Return the statement that computes the rows of a budget from all attempts."""
    source = f"usage_ledger.attempts {JOIN_CORRECTED}"
    return _placed(budget, _COUNTED, source, "attempts.started_at >= :since")


def select_corrected(budget: Budget) -> str:
    """Return the statement that computes what a re-rating of the tenant has changed of a budget's rows."""
    source = "usage_ledger.rerated_attempts AS r JOIN usage_ledger.attempts USING (attempt_id)"
    return _placed(budget, _CORRECTED, source, "r.rerate_id = :rerate_id AND r.tenant = :tenant")


def placing_values(budget: Budget, spans: Sequence[WindowSpan]) -> dict[str, object]:
    """Return the parameters of both statements."""
    # A rolling budget has one window, whatever its holds say; a moment before it does not count.
    labels = [] if spans[0].end is None else [span.label for span in spans]
    may_have_holds = budget.hard or budget.revision > 1
    return {
        "tenant": budget.tenant,
        "value": budget.value,
        "account": f"budget/{budget.budget_id}/",
        "budget_uuid": uuid_of_budget(budget.budget_id),
        "labels": labels,
        "starts": [span.start for span in spans],
        "windows": [table_window(span) for span in spans],
        "since": max(spans[0].start - _OLDEST_START, ROLLING_START) if may_have_holds and labels else spans[0].start,
    }


def _placed(budget: Budget, amounts: str, source: str, condition: str) -> str:
    return _PLACED.format(
        amounts=amounts,
        source=source,
        condition=condition,
        matches=_MATCHES[budget.scope],
        label_of_packed=LABEL_OF_BUDGET,
    )
