"""What providers say was used, read from doubles of their usage APIs."""

import time
from collections.abc import AsyncIterator, Mapping
from datetime import date, timedelta
from decimal import Decimal
from ipaddress import ip_network

import openai
import pytest
from anthropic.types.beta import BetaCacheCreation
from openai.types.admin.organization import UsageCompletionsResponse, UsageCostsResponse, UsageEmbeddingsResponse

from keyferry.contracts.secret import Secret
from keyferry.runtime.upstream.client import UpstreamClient
from services.billing.provider_usage import fetcher as fetching
from services.billing.provider_usage.fetcher import USAGE_APIS, CannotFetch, UsageFetcher
from services.billing.provider_usage.stated_usage import StatedUsage
from services.billing.provider_usage.usage_api import UsageSpan
from tests.support.billing.provider_usage_double import ProvidedUsage, ProviderUsageDouble, running_provider_usage

FIRST = date(2026, 10, 1)
SPAN = UsageSpan(FIRST, FIRST + timedelta(days=59))
LOOPBACK = (ip_network("127.0.0.0/8"),)
COSTS = Decimal("0.123456789012")


@pytest.fixture
async def double() -> AsyncIterator[ProviderUsageDouble]:
    usage = [
        ProvidedUsage(FIRST + timedelta(days=number), model, 100 + number, 20, COSTS * 2, cached_tokens=30)
        for number in (0, 1, 30, 59, 60)
        for model in ("model-a", "model-b")
    ]
    async with running_provider_usage(usage=usage) as found:
        yield found


@pytest.fixture
async def client() -> AsyncIterator[UpstreamClient]:
    found = UpstreamClient(LOOPBACK)
    yield found
    await found.close()


async def fetch(
    client: UpstreamClient, double: ProviderUsageDouble, provider: str, span: UsageSpan = SPAN, key: str | None = None
) -> Mapping[tuple[date | None, str | None], StatedUsage]:
    fetcher = UsageFetcher(client, double.base_urls)
    found = await fetcher.fetch(USAGE_APIS[provider], Secret(key or double.admin_key), span)
    return {(each.day, each.model): each for each in found}


@pytest.mark.parametrize("provider", sorted(USAGE_APIS))
async def test_each_day_and_model_of_the_span_is_read_exactly(
    client: UpstreamClient, double: ProviderUsageDouble, provider: str
) -> None:
    found = await fetch(client, double, provider)
    days = [FIRST + timedelta(days=number) for number in (0, 1, 30, 59)]
    assert set(found) == {(day, model) for day in days for model in ("model-a", "model-b")}
    last = found[days[-1], "model-a"]
    assert (last.prompt_tokens, last.completion_tokens, last.cost_usd) == (159, 20, COSTS * 2)


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_pages_of_any_size_say_the_same(
    client: UpstreamClient, double: ProviderUsageDouble, provider: str
) -> None:
    whole = await fetch(client, double, provider)
    for size in (1, 7, 29):
        double.buckets_per_page = size
        assert await fetch(client, double, provider) == whole


async def test_embeddings_are_part_of_openais_usage(client: UpstreamClient, double: ProviderUsageDouble) -> None:
    double.usage = [ProvidedUsage(FIRST, "text-embedding-3-small", 500, embeddings=True)]
    found = (await fetch(client, double, "openai"))[FIRST, "text-embedding-3-small"]
    assert (found.prompt_tokens, found.completion_tokens, found.requests) == (500, 0, 1)


@pytest.mark.parametrize("provider", sorted(USAGE_APIS))
async def test_usage_of_one_key_alone_is_read(
    client: UpstreamClient, double: ProviderUsageDouble, provider: str
) -> None:
    double.usage = [ProvidedUsage(FIRST, "m", 5, key="key_one"), ProvidedUsage(FIRST, "m", 7, key="key_two")]
    span = UsageSpan(FIRST, FIRST, "key_two")
    assert (await fetch(client, double, provider, span))[FIRST, "m"].prompt_tokens == 7


@pytest.mark.parametrize("provider", sorted(USAGE_APIS))
async def test_a_refused_key_is_explained(client: UpstreamClient, double: ProviderUsageDouble, provider: str) -> None:
    with pytest.raises(CannotFetch, match="does not accept the key") as caught:
        await fetch(client, double, provider, key="sk-wrong-key")
    assert "sk-wrong-key" not in str(caught.value)


async def test_rate_limits_and_outages_are_waited_out(client: UpstreamClient, double: ProviderUsageDouble) -> None:
    double.failures = [(429, {"retry-after": "0"}), (429, {"retry-after": "0"})]
    assert await fetch(client, double, "openai")
    double.failures = [(429, {"retry-after": "3600"})]
    with pytest.raises(CannotFetch, match="try again in 3600 s"):
        await fetch(client, double, "openai")


async def test_an_outage_ends_in_an_explanation(
    client: UpstreamClient, double: ProviderUsageDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "_MOST_RETRIES", 0)
    for status, text in ((500, "answers 500"), (404, "does this account have a usage API")):
        double.failures = [(status, {})]
        with pytest.raises(CannotFetch, match=text):
            await fetch(client, double, "anthropic")


async def test_no_private_address_is_called_that_the_operator_did_not_allow(double: ProviderUsageDouble) -> None:
    client = UpstreamClient()
    began = time.monotonic()
    fetching_once = UsageFetcher(client, double.base_urls, within_seconds=2)
    with pytest.raises(CannotFetch):
        await fetching_once.fetch(USAGE_APIS["openai"], Secret(double.admin_key), SPAN)
    await client.close()
    assert not double.requests
    assert time.monotonic() - began < 10


async def test_the_official_client_accepts_the_double_of_openai(double: ProviderUsageDouble) -> None:
    async with openai.AsyncOpenAI(admin_api_key=double.admin_key, base_url=double.base_urls["openai"]) as official:
        usage = official.admin.organization.usage
        start, end = 1790812800, 1790812800 + 7 * 86400
        options = {"start_time": start, "end_time": end, "bucket_width": "1d"}
        completions = await usage.completions(**options, group_by=["model"])  # type: ignore[arg-type]
        embeddings = await usage.embeddings(**options, group_by=["model"])  # type: ignore[arg-type]
        costs = await usage.costs(**options, group_by=["line_item"])  # type: ignore[arg-type]
    for model, answer in (
        (UsageCompletionsResponse, completions),
        (UsageEmbeddingsResponse, embeddings),
        (UsageCostsResponse, costs),
    ):
        model.model_validate(answer.model_dump(by_alias=True), strict=True)
    assert completions.data[0].results[0].model_dump()["input_tokens"] == 100


async def test_cache_writes_have_the_form_of_the_official_package(double: ProviderUsageDouble) -> None:
    form = {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": 0}
    assert BetaCacheCreation.model_validate(form, strict=True).model_dump() == form
