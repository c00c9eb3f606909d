"""Levels, ratings and features on a real bus: from a virtual model's name to the attempt for a worker."""

from decimal import Decimal
from typing import Any

from keyferry.contracts.estimates import EstimateCost
from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.features import RequestFeatures
from keyferry.contracts.feedback import FeedbackPreview, PreviewFeedback, RatedModel, TenantRatings
from keyferry.contracts.preferences import Preferences, PreferenceScope, SavedPreferences
from keyferry.contracts.routing_management import COST_ESTIMATE, FEEDBACK_PREVIEW, PREFERENCES_VIEW
from keyferry.contracts.tenancy import Tenant, Tier
from keyferry.contracts.topology import RATINGS_VIEW, Role
from services.router.preferences.index import view_key
from tests.integration.router.processes import RouterServers
from tests.support.router.keys_and_prices import platform_key
from tests.support.waiting import eventually_async

ACME = Tenant(tenant="acme", name="Acme", tier=Tier.ENTERPRISE)
KEYS = (platform_key("openai", "key_openai"), platform_key("anthropic", "key_anthropic"))
LEARNS = SavedPreferences(
    tenant="acme",
    scope=PreferenceScope.TENANT,
    scope_id="acme",
    revision=1,
    preferences=Preferences(learned_quality=True),
)
BAD = TenantRatings(tenant="acme", models=[RatedModel(provider="openai", model="gpt-5.5", ratings=50, stars=50)])
GOOD = TenantRatings(tenant="other", models=[RatedModel(provider="openai", model="gpt-4o", ratings=500, stars=2500)])


async def test_levels_choose_models_and_ratings_change_them(servers: RouterServers) -> None:
    async with servers.router([ACME], KEYS) as routing:
        listed = await routing.wait_for_models("eco", "balanced", "precision", "auto")
        assert listed["auto"].virtual
        run, _ = await routing.chat("eco")
        assert run is not None
        assert (run.model_asked, run.model, run.chosen_model) == ("eco", "gpt-5-nano", "gpt-5-nano")
        assert (run.applied_level, run.power_level) == ("eco", None)

        features = RequestFeatures(input_tokens=3000, code=True, tools=True).model_dump()
        auto, _ = await routing.chat("auto", features=features)
        assert auto is not None
        assert (auto.applied_level, auto.chosen_model) == ("precision", "gpt-5.5")
        precise, _ = await routing.chat("precision")
        assert precise is not None
        overloaded = Failure(failure_class=FailureClass.OVERLOADED, message="no")
        second, _ = await routing.hand_back(precise, overloaded)
        assert second is not None
        assert (second.attempt_number, second.applied_level, second.chosen_model) == (2, "precision", "gpt-5.1")

        _, refusal = await routing.chat("eco", power_level="precision")
        assert refusal is not None
        assert refusal.failure_class is FailureClass.BAD_REQUEST

        async with servers.bus.connected(Role.OPERATOR) as operator:
            question = EstimateCost(tenant="acme", model="gpt-5-mini", features=RequestFeatures(input_tokens=1000))
            estimated = await operator.ask(COST_ESTIMATE, question, timeout_seconds=5)
        assert [each.model for each in estimated.levels] == ["gpt-5-nano", "gpt-5-mini", "gpt-5.5"]
        # 1,000 x $0.25 and 1,000 x $2 a million are $0.00225; x 0.25 x 1.8 are 1012.5 micro-dollars.
        cost = estimated.named.costs[0]
        assert (cost.low_cost_usd, cost.low_charge_micro_usd) == (Decimal("0.00225"), 1013)

        await servers.fill(RATINGS_VIEW, {"acme": BAD, "other": GOOD})
        await servers.fill(PREFERENCES_VIEW, {view_key(LEARNS): LEARNS})

        async def preview() -> FeedbackPreview | None:
            async with servers.bus.connected(Role.OPERATOR) as operator:
                found = await operator.ask(FEEDBACK_PREVIEW, PreviewFeedback(tenant="acme"), timeout_seconds=5)
            return found if found.models and found.applied else None

        found = await eventually_async("ratings and preferences have arrived", preview)
        ranks = {each.model: each for each in found.models}
        assert (ranks["gpt-5.5"].ratings, ranks["gpt-5.5"].quality, ranks["gpt-5.5"].learned_quality) == (50, 98, 28)
        assert "gpt-4o" not in ranks or ranks["gpt-4o"].ratings == 0
        learned: Any = (await routing.chat("precision"))[0]
        assert learned.chosen_model == "gpt-5.1"
