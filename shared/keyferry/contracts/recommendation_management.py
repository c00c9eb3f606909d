"""The subjects about recommendations: the part of `topology` about them.

Import them from here; `topology` adds them to the map of the bus. Pure.
"""

from keyferry.contracts import recommendations, rule_management
from keyferry.contracts.channels import AnySubject, Role, Subject, manage

RECOMMENDATION_LIST = manage(
    "kf.v1.recommendation.list",
    recommendations.ListRecommendations,
    recommendations.Recommendations,
    Role.ROUTER,
    "Return what would have made a tenant's traffic cheaper.",
)
RECOMMENDATION_DRAFT = manage(
    "kf.v1.recommendation.draft",
    recommendations.DraftRecommendedRule,
    rule_management.SavedRuleDraft,
    Role.ROUTER,
    "Put a recommended rule before the others of the draft.",
)
SUBJECTS: tuple[AnySubject, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Subject))
"""Every subject above, in that order."""
