"""Recommendations through the management API: from the ledger's past requests to a rule in the draft."""

from datetime import UTC, datetime, timedelta

import pytest

from keyferry.contracts.analytics import ListSeries
from keyferry.contracts.analytics_answers import BucketSpan, DimensionValue, SeriesLine, UsageSeries
from keyferry.contracts.features import RequestFeatures
from keyferry.contracts.ledger_management import ANALYTICS_SERIES
from keyferry.contracts.past_decisions import ListDecisions, PastAttempt, PastDecision, PastDecisions
from keyferry.contracts.routing_management import DECISION_LIST
from keyferry.contracts.tenancy import Tenant, Tier
from keyferry.contracts.topology import TOKEN_LIST, Role
from keyferry.contracts.usage import KeySource, Outcome, TokenUsage
from tests.integration.cli.answering import owner
from tests.integration.router.processes import RouterServers
from tests.integration.router.test_previews_over_http import ACME, KEYS, TENANT, figures, tokens
from tests.integration.router.test_rules_over_http import management

TOKENS = TokenUsage(input=10_000, output=2_000)
PATH = f"{ACME}/recommendations"


async def series(query: ListSeries) -> UsageSeries:
    """Answer with 1000 requests for summaries."""
    assert query.since is not None
    assert query.until is not None
    line = SeriesLine(
        key=DimensionValue(dimension=query.by or "operation", value="summary"),
        total=figures(1000, 0),
        points=[figures(1000, 0)],
    )
    return UsageSeries(
        as_of=query.until, tz="UTC", bucket=query.bucket, since=query.since, until=query.until,
        buckets=[BucketSpan(start=query.since, end=query.until)], lines=[line],
    )  # fmt: skip


async def decisions(command: ListDecisions) -> PastDecisions:
    """Answer with twenty requests in each of the spans."""
    assert command.until is not None
    assert command.since is not None
    attempt = PastAttempt(
        provider="openai",
        model="gpt-5.5",
        key_source=KeySource.PLATFORM,
        outcome=Outcome.COMPLETED,
        token_usage=TOKENS,
        latency_ms=800,
    )
    start = int(command.since.timestamp())
    return PastDecisions(
        decisions=[
            PastDecision(
                decision_id=f"dec_{start}_{number}",
                request_id=f"req_{start}_{number}",
                tenant="acme",
                decided_at=command.until - timedelta(minutes=number + 1),
                model_asked="gpt-5.5",
                operation="summary",
                features=RequestFeatures(input_tokens=10_000),
                attempts=[attempt],
            )
            for number in range(20)
        ]
    )


async def nothing(_: ListDecisions) -> PastDecisions:
    return PastDecisions(decisions=[])


async def test_a_recommendation_becomes_a_rule_in_the_draft(servers: RouterServers) -> None:
    async with (
        servers.router([TENANT], KEYS) as routing,
        owner(servers.bus, Role.USAGE_LEDGER, DECISION_LIST, decisions),
        owner(servers.bus, Role.USAGE_LEDGER, ANALYTICS_SERIES, series),
        owner(servers.bus, Role.TENANT_DIRECTORY, TOKEN_LIST, tokens),
        management(servers) as client,
    ):
        await routing.wait_for_models("eco")
        answer = await client.get(PATH, params={"days": "7"})
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert (found["requests"], found["sampled"]) == (1000, 120)
        since, until = (datetime.fromisoformat(found[name]).astimezone(UTC) for name in ("since", "until"))
        assert until - since == timedelta(days=7)
        first = found["recommendations"][0]
        assert (first["kind"], first["model"], first["operation"]) == ("cheaper_model", "gpt-5.5", "summary")
        assert 0 < first["saved_micro_usd"] < first["spend_micro_usd"] == found["spend_micro_usd"]

        for _ in range(2):
            saved = await client.post(f"{PATH}/draft", json={"rule": first["rule"]})
            assert saved.status_code == 200, saved.text
        draft = (await client.get(f"{ACME}/routing/rules/draft")).json()
        assert [rule["name"] for rule in draft["rule_set"]["rules"]] == [first["rule"]["name"]], "twice is once"
        assert not [each for each in saved.json()["findings"] if each["fault"]]


async def test_without_requests_there_is_nothing_to_recommend(servers: RouterServers) -> None:
    async with (
        servers.router([TENANT], KEYS),
        owner(servers.bus, Role.USAGE_LEDGER, DECISION_LIST, nothing),
        owner(servers.bus, Role.USAGE_LEDGER, ANALYTICS_SERIES, series),
        management(servers) as client,
    ):
        found = (await client.get(PATH)).json()
        assert (found["recommendations"], found["sampled"]) == ([], 0)
        assert "no completed requests" in found["notes"][0]


async def test_a_tier_without_recommendations_says_what_to_upgrade_to(servers: RouterServers) -> None:
    starter = Tenant(tenant="acme", name="Acme", tier=Tier.STARTER)
    async with servers.router([starter], KEYS), management(servers) as client:
        answer = await client.get(PATH)
        assert answer.status_code == 409
        assert "upgrade to professional" in answer.json()["error"]["message"]


async def test_a_ledger_that_does_not_answer_is_reported(servers: RouterServers) -> None:
    async with servers.router([TENANT], KEYS), management(servers) as client:
        answer = await client.get(PATH)
        assert answer.status_code == 503
        assert "usage ledger" in answer.text


@pytest.mark.parametrize("days", ["0", "91", "x", "\u0663"])
async def test_days_out_of_range_are_refused(servers: RouterServers, days: str) -> None:
    async with management(servers) as client:
        assert (await client.get(PATH, params={"days": days})).status_code == 422
