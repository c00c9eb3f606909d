"""What still names a team in the services that know teams by name only: preferences, budgets, alert rules and provider keys.

The directory, which removes teams, may not ask those services; who requests the removal looks first.
"""

from typing import Protocol

from keyferry.contracts.alert_management import ALERT_RULE_LIST
from keyferry.contracts.alert_rules import ListAlertRules
from keyferry.contracts.budget import BudgetScope, ListBudgets
from keyferry.contracts.channels import Q, R
from keyferry.contracts.key import ListKeys
from keyferry.contracts.ledger_management import BUDGET_LIST
from keyferry.contracts.preferences import ListPreferences, PreferenceScope
from keyferry.contracts.routing_management import PREFERENCES_LIST
from keyferry.contracts.topology import KEY_LIST, Subject


class Read(Protocol):
    """Sends a request that changes nothing."""

    async def __call__(self, subject: Subject[Q, R], question: Q, /) -> R:
        """Return the owner's answer."""


async def find_team_uses(read: Read, tenant: str, team: str) -> list[str]:
    """Return what names a team, each as a text for people. Raises what `read` raises."""
    saved = await read(PREFERENCES_LIST, ListPreferences(tenant=tenant))
    uses = ["its preferences" for each in saved.scopes if each.scope is PreferenceScope.TEAM and each.scope_id == team]
    found = await read(BUDGET_LIST, ListBudgets(tenant=tenant))
    uses += [
        f"the budget {state.budget.budget_id}"
        for state in found.budgets
        if state.budget.scope is BudgetScope.TEAM and state.budget.value == team
    ]
    watching = await read(ALERT_RULE_LIST, ListAlertRules(tenant=tenant))
    uses += [
        f"the alert rule {status.rule_id}"
        for status in watching.rules
        if status.rule is not None and status.rule.scope.team == team
    ]
    stored = await read(KEY_LIST, ListKeys(tenant=tenant))
    return uses + [f"the provider key {key.key_id}" for key in stored.keys if key.team == team]


def explain_team_uses(team: str, uses: list[str]) -> str:
    """Return why a team is not removed, for a sentence."""
    return f"the team {team!r} is still named by {', '.join(uses)}"
