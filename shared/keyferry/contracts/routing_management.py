"""The subjects by which an operator manages routing, and the views of what is managed: the part of `topology` about routing.

Import them from here; `topology` adds them to the map of the bus. Pure.
"""

from typing import Any

from keyferry.contracts import catalog_edits, feedback, past_decisions, price_edits, provider_edits, rule_management
from keyferry.contracts.channels import AnySubject, Bucket, Role, Subject, manage, request

_ROUTER = Role.ROUTER

RULES_GET = manage(
    "kf.v1.rules.get",
    rule_management.GetRules,
    rule_management.RoutingRules,
    _ROUTER,
    "Return a version of a tenant's routing rules, and its draft.",
)
RULES_SAVE_DRAFT = manage(
    "kf.v1.rules.save_draft",
    rule_management.SaveRuleDraft,
    rule_management.SavedRuleDraft,
    _ROUTER,
    "Save a draft of routing rules.",
)
RULES_DISCARD_DRAFT = manage(
    "kf.v1.rules.discard_draft",
    rule_management.DiscardRuleDraft,
    rule_management.RoutingRules,
    _ROUTER,
    "Remove the draft.",
)
RULES_COMPARE = manage(
    "kf.v1.rules.compare",
    rule_management.CompareRules,
    rule_management.RuleDifference,
    _ROUTER,
    "Return the difference between a version and a rule set that may replace it.",
)
RULES_DRY_RUN = manage(
    "kf.v1.rules.dry_run",
    rule_management.DryRunRules,
    rule_management.DryRunReport,
    _ROUTER,
    "Plan past requests again with other rules.",
)
RULES_PUBLISH = manage(
    "kf.v1.rules.publish",
    rule_management.PublishRules,
    rule_management.PublishedRules,
    _ROUTER,
    "Publish routing rules.",
)
RULES_ROLL_BACK = manage(
    "kf.v1.rules.roll_back",
    rule_management.RollBackRules,
    rule_management.PublishedRules,
    _ROUTER,
    "Publish an earlier version again, as a new one.",
)
RULES_VERSIONS = manage(
    "kf.v1.rules.versions",
    rule_management.ListRuleVersions,
    rule_management.RuleVersions,
    _ROUTER,
    "List the published versions, newest first.",
)
DECISION_LIST = request(
    "kf.v1.decision.list",
    past_decisions.ListDecisions,
    past_decisions.PastDecisions,
    publishers=(_ROUTER,),
    subscribers=(Role.USAGE_LEDGER,),
    queue=Role.USAGE_LEDGER.value,
    summary="The router, which has no records, requests past decisions to plan them again with other rules.",
)
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
ROUTING_RULES_VIEW = Bucket(
    name="routing_rules",
    owner=Role.ROUTER,
    readers=(Role.ROUTER,),
    message=rule_management.RuleSetVersion,
    summary="The published routing rules of each tenant, by tenant; those of `platform` are for all.",
)
BUCKETS: tuple[Bucket[Any], ...] = (RATINGS_VIEW, ROUTING_RULES_VIEW, CATALOG_VIEW, PROVIDERS_VIEW, PRICES_VIEW)
