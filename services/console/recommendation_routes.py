"""Routes for recommendations: what would have made a tenant's traffic cheaper, and the rule that makes a change."""

from typing import Annotated

from fastapi import Query

from keyferry.contracts.recommendation_management import RECOMMENDATION_DRAFT, RECOMMENDATION_LIST
from keyferry.contracts.recommendations import DraftRecommendedRule, ListRecommendations, Recommendations
from keyferry.contracts.rule_management import SavedRuleDraft
from services.console.access import RouteSpec
from services.console.recommendation_bodies import RecommendationQuery, RecommendedRuleBody
from services.console.service_client import RULES_SECONDS, ServiceClient
from services.console.tenant_context import CurrentTenant


class RecommendationRoutes:
    """The routes under `/recommendations`."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes."""
        return (
            RouteSpec("GET", "/recommendations", "list_recommendations", self.list_all),
            RouteSpec("POST", "/recommendations/draft", "draft_recommended_rule", self.draft),
        )

    async def list_all(self, context: CurrentTenant, query: Annotated[RecommendationQuery, Query()]) -> Recommendations:
        """List what would have made the tenant's traffic of the last days cheaper, the greatest amount first.

        A sample of past requests is planned again with other models and keys, and priced as it would be now.
        """
        command = ListRecommendations(tenant=context.tenant, days=query.days)
        return await self._services.read(RECOMMENDATION_LIST, command, timeout_seconds=RULES_SECONDS)

    async def draft(self, context: CurrentTenant, body: RecommendedRuleBody) -> SavedRuleDraft:
        """Put the rule of a recommendation before the others of the draft; nothing is published."""
        command = DraftRecommendedRule(tenant=context.tenant, actor=context.actor, rule=body.rule)
        return await self._services.change(RECOMMENDATION_DRAFT, command, timeout_seconds=RULES_SECONDS)
