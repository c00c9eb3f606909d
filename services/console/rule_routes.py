"""Routes for a tenant's routing rules: draft, difference, dry run, publishing and versions."""

from typing import Annotated

from fastapi import Query

from keyferry.contracts.routing_management import (
    RULES_COMPARE,
    RULES_DISCARD_DRAFT,
    RULES_DRY_RUN,
    RULES_GET,
    RULES_PUBLISH,
    RULES_ROLL_BACK,
    RULES_SAVE_DRAFT,
    RULES_VERSIONS,
)
from keyferry.contracts.rule_management import (
    CompareRules,
    DiscardRuleDraft,
    DryRunReport,
    DryRunRules,
    GetRules,
    ListRuleVersions,
    PublishedRules,
    PublishRules,
    RollBackRules,
    RoutingRules,
    RuleDifference,
    RuleDraft,
    SavedRuleDraft,
    SaveRuleDraft,
)
from keyferry.contracts.rules import RuleSet
from services.console.access import RouteSpec
from services.console.problem import not_found
from services.console.rule_bodies import (
    CompareRulesBody,
    DiscardDraftQuery,
    DryRunBody,
    PublishRulesBody,
    RollBackRulesBody,
    RuleDraftBody,
    RuleVersionPaging,
    RuleVersionQuery,
    rule_set_of,
)
from services.console.service_client import RULES_SECONDS, ServiceClient
from services.console.tenant_context import CurrentTenant
from services.console.views import RuleVersionPage


class RuleRoutes:
    """The routes under `/routing/rules`."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes."""
        base = "/routing/rules"
        return (
            RouteSpec("GET", base, "get_routing_rules", self.get),
            RouteSpec("GET", f"{base}/draft", "get_rule_draft", self.get_draft),
            RouteSpec("PUT", f"{base}/draft", "save_rule_draft", self.save_draft),
            RouteSpec("DELETE", f"{base}/draft", "discard_rule_draft", self.discard_draft),
            RouteSpec("POST", f"{base}/diff", "compare_routing_rules", self.compare),
            RouteSpec("POST", f"{base}/dry-run", "dry_run_routing_rules", self.dry_run),
            RouteSpec("POST", f"{base}/publish", "publish_routing_rules", self.publish),
            RouteSpec("POST", f"{base}/rollback", "roll_back_routing_rules", self.roll_back),
            RouteSpec("GET", f"{base}/versions", "list_rule_versions", self.versions),
        )

    async def get(self, context: CurrentTenant, query: Annotated[RuleVersionQuery, Query()]) -> RoutingRules:
        """Return a version of a tenant's routing rules, and its draft. Those of the tenant `platform` are for all tenants."""
        return await self._services.read(RULES_GET, GetRules(tenant=context.tenant, version=query.version))

    async def get_draft(self, context: CurrentTenant) -> RuleDraft:
        """Return the draft."""
        found = await self._services.read(RULES_GET, GetRules(tenant=context.tenant))
        if found.draft is None:
            raise not_found("the tenant has no draft of routing rules; PUT saves one")
        return found.draft

    async def save_draft(self, context: CurrentTenant, body: RuleDraftBody) -> SavedRuleDraft:
        """Save the draft, which may have faults: `findings` lists them. 409 if somebody else has saved meanwhile."""
        command = SaveRuleDraft(
            tenant=context.tenant, actor=context.actor, rule_set=RuleSet(rules=body.rules), revision=body.revision
        )
        return await self._services.change(RULES_SAVE_DRAFT, command, timeout_seconds=RULES_SECONDS)

    async def discard_draft(self, context: CurrentTenant, query: Annotated[DiscardDraftQuery, Query()]) -> RoutingRules:
        """Remove the draft, and return what is published."""
        command = DiscardRuleDraft(tenant=context.tenant, actor=context.actor, revision=query.revision)
        return await self._services.change(RULES_DISCARD_DRAFT, command)

    async def compare(self, context: CurrentTenant, body: CompareRulesBody) -> RuleDifference:
        """Compare the draft, or the rules of the body, with the published version or another one."""
        command = CompareRules(tenant=context.tenant, rule_set=rule_set_of(body.rules), version=body.version)
        return await self._services.read(RULES_COMPARE, command, timeout_seconds=RULES_SECONDS)

    async def dry_run(self, context: CurrentTenant, body: DryRunBody) -> DryRunReport:
        """Plan past requests again with the draft, or with the rules of the body, and report what would be different.

        Health is ignored; keys, prices and the catalog are today's. Nothing is changed, and no provider is called.
        """
        command = DryRunRules(
            tenant=context.tenant,
            rule_set=rule_set_of(body.rules),
            since=body.since,
            until=body.until,
            limit=body.limit,
        )
        return await self._services.read(RULES_DRY_RUN, command, timeout_seconds=RULES_SECONDS)

    async def publish(self, context: CurrentTenant, body: PublishRulesBody) -> PublishedRules:
        """Publish the draft, or the rules of the body, as a new version. With faults nothing is published."""
        command = PublishRules(
            tenant=context.tenant,
            actor=context.actor,
            note=body.note,
            rule_set=rule_set_of(body.rules),
            revision=body.revision,
            expected_version=body.expected_version,
        )
        return await self._services.change(RULES_PUBLISH, command, timeout_seconds=RULES_SECONDS)

    async def roll_back(self, context: CurrentTenant, body: RollBackRulesBody) -> PublishedRules:
        """Publish an earlier version again, as a new version."""
        command = RollBackRules(tenant=context.tenant, actor=context.actor, **body.model_dump())
        return await self._services.change(RULES_ROLL_BACK, command, timeout_seconds=RULES_SECONDS)

    async def versions(self, context: CurrentTenant, query: Annotated[RuleVersionPaging, Query()]) -> RuleVersionPage:
        """List the published versions, newest first."""
        before = None if query.after is None else int(query.after)
        command = ListRuleVersions(tenant=context.tenant, before=before, limit=query.limit)
        found = await self._services.read(RULES_VERSIONS, command)
        last = found.versions[-1].version if found.versions else 1
        more = len(found.versions) == query.limit and last > 1
        return RuleVersionPage(data=found.versions, next=str(last) if more else None, published=found.published)
