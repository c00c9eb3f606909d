"""The subjects by which an operator manages routing, and the views of what is managed: the part of `topology` about routing.

Import them from here; `topology` adds them to the map of the bus. Pure.
"""

from typing import Any

from keyferry.contracts import (
    catalog_edits,
    estimates,
    feedback,
    past_decisions,
    power_comparison,
    preference_preview,
    preferences,
    price_edits,
    provider_edits,
    route,
    route_preview,
    rule_management,
)
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
CATALOG_LIST = manage(
    "kf.v1.catalog.list", catalog_edits.ListCatalog, catalog_edits.CatalogStates, _ROUTER, "List the whole catalog."
)
CATALOG_SAVE = manage(
    "kf.v1.catalog.save",
    catalog_edits.SaveCatalogModel,
    catalog_edits.CatalogState,
    _ROUTER,
    "Add or replace a model of the catalog.",
)
CATALOG_RETIRE = manage(
    "kf.v1.catalog.retire", catalog_edits.RetireModel, catalog_edits.CatalogState, _ROUTER, "Stop offering a model."
)
CATALOG_RESTORE = manage(
    "kf.v1.catalog.restore", catalog_edits.RestoreModel, catalog_edits.CatalogState, _ROUTER, "Offer a model again."
)
CATALOG_REMOVE = manage(
    "kf.v1.catalog.remove",
    catalog_edits.RemoveModel,
    catalog_edits.CatalogState,
    _ROUTER,
    "Undo every change of a model.",
)
PROVIDER_LIST = manage(
    "kf.v1.provider.list",
    provider_edits.ListProviders,
    provider_edits.ProviderStates,
    _ROUTER,
    "List every provider, retired ones included.",
)
PROVIDER_SAVE = manage(
    "kf.v1.provider.save",
    provider_edits.SaveProvider,
    provider_edits.ProviderState,
    _ROUTER,
    "Add or replace an OpenAI-compatible provider.",
)
PROVIDER_RETIRE = manage(
    "kf.v1.provider.retire",
    provider_edits.RetireProvider,
    provider_edits.ProviderState,
    _ROUTER,
    "Stop using a provider.",
)
PROVIDER_RESTORE = manage(
    "kf.v1.provider.restore",
    provider_edits.RestoreProvider,
    provider_edits.ProviderState,
    _ROUTER,
    "Use a retired provider again.",
)
PRICE_LIST = manage(
    "kf.v1.price.list",
    price_edits.ListPriceEntries,
    price_edits.PriceEntries,
    _ROUTER,
    "List the prices that operators set.",
)
PRICE_SET = manage(
    "kf.v1.price.set", price_edits.SetPrice, price_edits.SavedPrice, _ROUTER, "Set the price of a provider's model."
)
PRICE_REMOVE = manage(
    "kf.v1.price.remove", price_edits.RemovePrice, price_edits.PriceEntry, _ROUTER, "Remove a price that was set."
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
PREFERENCES_GET = manage(
    "kf.v1.preferences.get",
    preferences.GetPreferences,
    preferences.PreferencesInForce,
    Role.ROUTER,
    "Return the preferences of a scope, and the values in force there.",
)
PREFERENCES_SAVE = manage(
    "kf.v1.preferences.save",
    preferences.SavePreferences,
    preferences.PreferencesInForce,
    Role.ROUTER,
    "Replace the preferences of a scope.",
)
PREFERENCES_LIST = manage(
    "kf.v1.preferences.list",
    preferences.ListPreferences,
    preferences.SavedScopes,
    Role.ROUTER,
    "List the scopes of a tenant in which preferences are saved.",
)
FEEDBACK_PREVIEW = manage(
    "kf.v1.feedback.preview",
    feedback.PreviewFeedback,
    feedback.FeedbackPreview,
    Role.ROUTER,
    "Show how a tenant's ratings would change the ranks of models.",
)
COST_ESTIMATE = manage(
    "kf.v1.cost.estimate",
    estimates.EstimateCost,
    estimates.CostEstimate,
    Role.ROUTER,
    "Estimate what a request would cost, for its model and for every power level.",
)
PREFERENCES_PREVIEW = manage(
    "kf.v1.preferences.preview",
    preference_preview.PreviewPreferences,
    preference_preview.PreferencesPreview,
    Role.ROUTER,
    "Show what preferences would change before they are saved.",
)
POWER_LEVEL_COMPARE = manage(
    "kf.v1.power_level.compare",
    power_comparison.ComparePowerLevels,
    power_comparison.PowerLevelComparison,
    Role.ROUTER,
    "Compare what a tenant's traffic would cost at each power level.",
)
ROUTE_EXPLAIN = manage(
    "kf.v1.route.explain",
    route_preview.ExplainRoute,
    route.DecisionRecord,
    Role.ROUTER,
    "Return the decision about a request without sending it.",
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
    readers=(Role.ROUTER, Role.KEY_VAULT, Role.PROVIDER_WORKER, Role.CONSOLE, Role.HEALTH_MONITOR),
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
    by_tenant=True,
    summary="The sums of each tenant's ratings by model and operation, by tenant.",
)
ROUTING_RULES_VIEW = Bucket(
    name="routing_rules",
    owner=Role.ROUTER,
    readers=(Role.ROUTER,),
    message=rule_management.RuleSetVersion,
    by_tenant=True,
    summary="The published routing rules of each tenant, by tenant; those of `platform` are for all.",
)
PREFERENCES_VIEW = Bucket(
    name="preferences",
    owner=Role.ROUTER,
    readers=(Role.ROUTER,),
    message=preferences.SavedPreferences,
    by_tenant=True,
    summary="Saved preferences, by `<tenant>.<scope>.` and a digest of the scope's id.",
)
BUCKETS: tuple[Bucket[Any], ...] = (
    RATINGS_VIEW,
    PREFERENCES_VIEW,
    ROUTING_RULES_VIEW,
    CATALOG_VIEW,
    PROVIDERS_VIEW,
    PRICES_VIEW,
)
