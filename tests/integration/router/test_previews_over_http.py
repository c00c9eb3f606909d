"""What pages ask of the router before anything is sent or saved: how a request would go, and what each level would cost."""

from datetime import UTC, datetime, timedelta

from keyferry.contracts.analytics import BucketLength, Dimension, ListSeries
from keyferry.contracts.analytics_answers import (
    BucketSpan,
    DimensionValue,
    SeriesLine,
    UsageFigures,
    UsageSeries,
)
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.ledger_management import ANALYTICS_SERIES
from keyferry.contracts.past_decisions import ListDecisions, PastDecisions
from keyferry.contracts.routing_management import DECISION_LIST
from keyferry.contracts.tenancy import ClientToken, ClientTokens, ListClientTokens, Tenant, Tier
from keyferry.contracts.topology import TOKEN_LIST, Role
from keyferry.contracts.usage import TokenUsage
from tests.integration.cli.answering import owner
from tests.integration.router.processes import RouterServers
from tests.integration.router.test_routing_rules import PAST
from tests.integration.router.test_rules_over_http import management
from tests.support.router.keys_and_prices import platform_key

ACME = "/api/v1/ops/tenants/acme"
TENANT = Tenant(tenant="acme", name="Acme", tier=Tier.ENTERPRISE)
KEYS = (platform_key("openai", "key_openai"),)
TOKEN_ID = f"tok_{'0' * 26}"
TOKEN = ClientToken(
    token_id=TOKEN_ID,
    tenant="acme",
    label="ci",
    last4="abcd",
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    allowed_models=["gpt-5-mini"],
    team="blue",
)


def figures(requests: int, spend: int) -> UsageFigures:
    return UsageFigures(
        requests=requests,
        attempts=requests,
        completed=requests,
        failed=0,
        cancelled=0,
        indeterminate=0,
        token_usage=TokenUsage(),
        total_tokens=0,
        unpriced=0,
        charge_micro_usd=spend,
        charged=requests,
        absorbed_micro_usd=0,
        spend_micro_usd=spend,
        spend_unknown=0,
    )


async def series(query: ListSeries) -> UsageSeries:
    """Answer with 100 requests of one operation, all in the last ten days."""
    assert (query.tenant, query.bucket, query.by) == ("acme", BucketLength.DAY, Dimension.OPERATION)
    assert query.since is not None
    assert query.until is not None
    middle = query.until - timedelta(days=10)
    line = SeriesLine(
        key=DimensionValue(dimension=Dimension.OPERATION, value="code"),
        total=figures(100, 500),
        points=[figures(0, 0), figures(100, 500)],
    )
    return UsageSeries(
        as_of=query.until,
        tz="UTC",
        bucket=BucketLength.DAY,
        since=query.since,
        until=query.until,
        buckets=[BucketSpan(start=query.since, end=middle), BucketSpan(start=middle, end=query.until)],
        lines=[line],
    )


async def decisions(command: ListDecisions) -> PastDecisions:
    """Answer the newest of the spans with one request for `gpt-5-mini`."""
    assert command.until is not None
    newest = datetime.now(UTC) - command.until < timedelta(minutes=1)
    return PastDecisions(decisions=[PAST.model_copy(update={"model_asked": "gpt-5-mini"})] if newest else [])


async def tokens(command: ListClientTokens) -> ClientTokens:
    return ClientTokens(tokens=[TOKEN])


async def test_levels_are_compared_on_the_tenants_own_traffic(servers: RouterServers) -> None:
    async with (
        servers.router([TENANT], KEYS) as routing,
        owner(servers.bus, Role.USAGE_LEDGER, DECISION_LIST, decisions),
        owner(servers.bus, Role.USAGE_LEDGER, ANALYTICS_SERIES, series),
        owner(servers.bus, Role.TENANT_DIRECTORY, TOKEN_LIST, tokens),
        management(servers) as client,
    ):
        await routing.wait_for_models("eco")
        answer = await client.get(f"{ACME}/power-level/comparison")
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert (found["current"], found["requests"], found["requests_per_month"]) == ("balanced", 100, 300)
        assert (found["days_seen"], found["sampled"], found["actual_spend_micro_usd"]) == (10, 1, 1_500)
        levels = {each["level"]: each for each in found["levels"]}
        assert list(levels) == list(PowerLevel)
        assert [each["model"] for each in found["levels"]] == ["gpt-5-nano", "gpt-5-mini", "gpt-5.5"]
        # 1,000,000 tokens in at $0.25 and 1,000 out at $2 a million: 252,000 micro-dollars each, times multiplier and markup.
        amounts = {level: each["amounts"] for level, each in levels.items()}
        assert {each["cost_micro_usd"] for each in amounts.values()} == {300 * 252_000}
        estimate = await client.post(
            f"{ACME}/estimates",
            json={"model": "gpt-5-mini", "input_tokens": 1_000_000, "max_output_tokens": 1_000, "power_level": "eco"},
        )
        (cost,) = estimate.json()["named"]["costs"]
        assert amounts["eco"]["charge_micro_usd"] == 300 * cost["high_charge_micro_usd"]
        assert levels["balanced"]["difference_micro_usd"] == 0
        assert levels["eco"]["difference_micro_usd"] < 0 < levels["precision"]["difference_micro_usd"]
        assert levels["eco"]["operations"][0]["models"] == [{"model": "openai/gpt-5-mini", "permille": 1000}]


async def test_a_route_is_explained_without_sending_anything(servers: RouterServers) -> None:
    async with (
        servers.router([TENANT], KEYS) as routing,
        owner(servers.bus, Role.TENANT_DIRECTORY, TOKEN_LIST, tokens),
        management(servers) as client,
    ):
        await routing.wait_for_models("eco")
        body = {"request": {"model": "eco", "messages": [{"role": "user", "content": "Hello"}]}, "operation": "code"}
        answer = await client.post(f"{ACME}/routing/explain", json=body)
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert (found["explained"]["chosen"], found["decision"]["attempt_id"]) == ("openai/gpt-5-nano", None)
        assert found["explained"]["steps"][0]["text"] == "asked for eco at the level eco for code"
        assert found["explained"]["steps"][-1]["kind"] == "chosen"

        limited = await client.post(f"{ACME}/routing/explain", json=body | {"client_token": TOKEN_ID})
        assert limited.json()["explained"]["chosen"] == "openai/gpt-5-mini", "the token may use nothing else"
        assert limited.json()["decision"]["team"] == "blue"

        nothing = await client.post(f"{ACME}/routing/explain", json={"model": "no-such-model", "input_tokens": 1})
        assert (nothing.status_code, nothing.json()["explained"]["chosen"]) == (200, None)
        assert nothing.json()["explained"]["steps"][-1]["kind"] == "refused"
        unknown = f"tok_{'1' * 26}"
        missing = await client.post(f"{ACME}/routing/explain", json=body | {"client_token": unknown})
        assert missing.status_code == 404


async def some(command: ListDecisions) -> PastDecisions:
    """Answer the newest of the spans with three requests of two operations."""
    assert command.until is not None
    if datetime.now(UTC) - command.until > timedelta(minutes=1):
        return PastDecisions(decisions=[])
    asked = [("gpt-5-mini", "code"), ("gpt-5-mini", "code"), ("claude-haiku-4-5", "sum")]
    past = [PAST.model_copy(update={"model_asked": model, "operation": operation}) for model, operation in asked]
    return PastDecisions(decisions=past)


async def test_preferences_say_what_they_would_change_before_they_are_saved(servers: RouterServers) -> None:
    keys = (*KEYS, platform_key("anthropic", "key_anthropic"))
    fallback = {"fallback_models": ["claude-haiku-4-5"]}
    async with (
        servers.router([TENANT], keys) as routing,
        owner(servers.bus, Role.USAGE_LEDGER, DECISION_LIST, some),
        owner(servers.bus, Role.TENANT_DIRECTORY, TOKEN_LIST, tokens),
        management(servers) as client,
    ):
        await routing.wait_for_models("eco")
        saved = await client.put(f"{ACME}/preferences", json=fallback | {"revision": 0})
        assert saved.status_code == 200, saved.text

        async def callable_models() -> int:
            return int((await client.post(f"{ACME}/preferences/preview", json=fallback)).json()["models_before"])

        models = await callable_models()
        assert models > 5

        same = (await client.post(f"{ACME}/preferences/preview", json=fallback)).json()
        assert (same["models_after"], same["lost_models"], same["sampled"]) == (models, [], 3)
        assert [(each["operation"], each["requests"]) for each in same["operations"]] == [("code", 2), ("sum", 1)]
        assert {
            each["refused"] + each["fallback_lost"] + each["first_choice_changed"] for each in same["operations"]
        } == {0}

        alone = (await client.post(f"{ACME}/preferences/preview", json={})).json()
        code, summing = alone["operations"]
        assert (code["fallback_lost"], code["refused"], code["after"]) == (2, 0, "openai/gpt-5-mini")
        assert summing["fallback_lost"] == 0, "it had nothing else to go on to"

        eu = (await client.post(f"{ACME}/preferences/preview", json=fallback | {"eu_only": True})).json()
        assert eu["models_after"] < models
        assert len(eu["lost_models"]) == models - eu["models_after"]
        assert {each["refused"] for each in eu["operations"]} <= {1, 2}
        assert all("European Union" in each["reason"] for each in eu["operations"])

        team = (await client.post(f"{ACME}/preferences/preview?team=blue", json={"eu_only": True})).json()
        assert {each["refused"] for each in team["operations"]} == {0}, "the past requests are of no team"
        assert team["models_after"] == eu["models_after"]
        assert (await client.get(f"{ACME}/preferences")).json()["revision"] == 1, "nothing was saved"


async def test_without_the_ledger_the_models_are_previewed_alone(servers: RouterServers) -> None:
    async with servers.router([TENANT], KEYS) as routing, management(servers) as client:
        await routing.wait_for_models("eco")
        found = (await client.post(f"{ACME}/preferences/preview", json={"eu_only": True})).json()
        assert (found["sampled"], found["operations"]) == (0, [])
        assert found["models_after"] < found["models_before"]
        away = await client.get(f"{ACME}/power-level/comparison")
        assert (away.status_code, away.json()["error"]["code"]) == (503, "unavailable")
