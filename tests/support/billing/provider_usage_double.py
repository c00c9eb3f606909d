"""The usage APIs of OpenAI, Anthropic and OpenRouter on loopback, with the forms, pages and errors that they document."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from aiohttp import web

LOOPBACK = "127.0.0.1"
_MOST_USAGE_BUCKETS = 31
_MOST_COST_BUCKETS = 180


@dataclass(frozen=True, slots=True)
class ProvidedUsage:
    """What a provider has of a model on a day."""

    day: date
    model: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    cached_tokens: int = 0
    """Of the prompt's."""
    requests: int = 1
    key: str = "key_one"
    embeddings: bool = False


@dataclass
class ProviderUsageDouble:
    """The three APIs. Page sizes are the providers' own, or `buckets_per_page`."""

    admin_key: str = "sk-admin-double"
    usage: list[ProvidedUsage] = field(default_factory=list)
    failures: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """Statuses and headers of the next answers."""
    buckets_per_page: int | None = None
    url: str = ""
    requests: list[web.Request] = field(default_factory=list)

    @property
    def base_urls(self) -> dict[str, str]:
        """The providers' base URLs."""
        return {"openai": f"{self.url}/v1", "anthropic": self.url, "openrouter": f"{self.url}/api/v1"}

    # --- OpenAI

    async def openai_usage(self, request: web.Request) -> web.Response:
        embeddings = request.path.endswith("embeddings")
        found = [each for each in self._of_key(request, "api_key_ids") if each.embeddings is embeddings]
        assert _list(request, "group_by") == ["model"]
        name = "embeddings" if embeddings else "completions"

        def results(day: date) -> list[dict[str, Any]]:
            return [
                {
                    "object": f"organization.usage.{name}.result",
                    "input_tokens": each.prompt_tokens,
                    "num_model_requests": each.requests,
                    "project_id": None,
                    "user_id": None,
                    "api_key_id": None,
                    "model": each.model,
                }
                | (
                    {}
                    if embeddings
                    else {
                        "output_tokens": each.completion_tokens,
                        "input_cached_tokens": each.cached_tokens,
                        "batch": None,
                    }
                )
                for each in found
                if each.day == day
            ]

        return self._openai_page(request, results, _MOST_USAGE_BUCKETS)

    async def openai_costs(self, request: web.Request) -> web.Response:
        assert _list(request, "group_by") == ["line_item"]
        found = self._of_key(request, "api_key_ids")

        def results(day: date) -> list[dict[str, Any]]:
            return [
                {
                    "object": "organization.costs.result",
                    "amount": {"value": float(each.cost_usd) / 2, "currency": "usd"},
                    "line_item": f"{each.model}, {part}",
                    "project_id": None,
                }
                for each in found
                if each.day == day
                for part in ("input", "output")
            ]

        return self._openai_page(request, results, _MOST_COST_BUCKETS)

    def _openai_page(
        self, request: web.Request, results: Callable[[date], list[dict[str, Any]]], most: int
    ) -> web.Response:
        assert request.query["bucket_width"] == "1d"
        since = datetime.fromtimestamp(int(request.query["start_time"]), UTC).date()
        until = datetime.fromtimestamp(int(request.query["end_time"]), UTC).date()
        days, following = self._page_of_days(request, since, until, most)
        data = [
            {
                "object": "bucket",
                "start_time": _unix(day),
                "end_time": _unix(day + timedelta(days=1)),
                "results": results(day),
            }
            for day in days
        ]
        return web.json_response(
            {"object": "page", "data": data, "has_more": following is not None, "next_page": following}
        )

    # --- Anthropic

    async def anthropic_usage(self, request: web.Request) -> web.Response:
        assert _list(request, "group_by") == ["model"]
        found = self._of_key(request, "api_key_ids")

        def results(day: date) -> list[dict[str, Any]]:
            return [
                {
                    "uncached_input_tokens": each.prompt_tokens - each.cached_tokens,
                    "cache_creation": {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": 0},
                    "cache_read_input_tokens": each.cached_tokens,
                    "output_tokens": each.completion_tokens,
                    "server_tool_use": {"web_search_requests": 0},
                    "api_key_id": None,
                    "workspace_id": None,
                    "model": each.model,
                    "service_tier": None,
                    "context_window": None,
                }
                for each in found
                if each.day == day
            ]

        return self._anthropic_page(request, results)

    async def anthropic_costs(self, request: web.Request) -> web.Response:
        assert _list(request, "group_by") == ["description"]

        def results(day: date) -> list[dict[str, Any]]:
            return [
                {
                    "currency": "USD",
                    "amount": str(each.cost_usd * 50),
                    "workspace_id": None,
                    "description": f"{each.model} Usage - {part}",
                    "cost_type": "tokens",
                    "context_window": "0-200k",
                    "model": each.model,
                    "service_tier": "standard",
                    "token_type": part,
                }
                for each in self.usage
                if each.day == day
                for part in ("uncached_input_tokens", "output_tokens")
            ]

        return self._anthropic_page(request, results)

    def _anthropic_page(self, request: web.Request, results: Callable[[date], list[dict[str, Any]]]) -> web.Response:
        assert request.query["bucket_width"] == "1d"
        since = datetime.fromisoformat(request.query["starting_at"]).date()
        until = datetime.fromisoformat(request.query["ending_at"]).date()
        days, following = self._page_of_days(request, since, until, _MOST_USAGE_BUCKETS)
        data = [
            {
                "starting_at": f"{day.isoformat()}T00:00:00Z",
                "ending_at": f"{(day + timedelta(days=1)).isoformat()}T00:00:00Z",
                "results": results(day),
            }
            for day in days
        ]
        return web.json_response({"data": data, "has_more": following is not None, "next_page": following})

    # --- OpenRouter

    async def openrouter_activity(self, request: web.Request) -> web.Response:
        data = [
            {
                "date": each.day.isoformat(),
                "model": each.model,
                "model_permaslug": f"{each.model}-2024-08-06",
                "endpoint_id": "550e8400-e29b-41d4-a716-446655440000",
                "provider_name": "OpenAI",
                "usage": float(each.cost_usd),
                "byok_usage_inference": 0,
                "requests": each.requests,
                "prompt_tokens": each.prompt_tokens,
                "completion_tokens": each.completion_tokens,
                "reasoning_tokens": 0,
            }
            for each in self.usage
            if request.query.get("api_key_hash", each.key) == each.key
        ]
        return web.json_response({"data": data})

    # --- all of them

    def _of_key(self, request: web.Request, name: str) -> list[ProvidedUsage]:
        keys = _list(request, name)
        return [each for each in self.usage if not keys or each.key in keys]

    def _page_of_days(self, request: web.Request, since: date, until: date, most: int) -> tuple[list[date], str | None]:
        limit = int(request.query.get("limit", 7))
        assert limit <= most
        first = date.fromisoformat(request.query["page"]) if "page" in request.query else since
        days = [first + timedelta(days=number) for number in range((until - first).days)]
        size = min(limit, self.buckets_per_page or most)
        return days[:size], days[size].isoformat() if len(days) > size else None

    @web.middleware
    async def check(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.requests.append(request)
        if self.failures:
            status, headers = self.failures.pop(0)
            return web.json_response({"error": {"message": "no"}}, status=status, headers=headers)
        key = request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
        if key != self.admin_key:
            return web.json_response({"error": {"message": "invalid key"}}, status=401)
        response: web.StreamResponse = await handler(request)
        return response


def _list(request: web.Request, name: str) -> list[str]:
    return [*request.query.getall(f"{name}[]", []), *request.query.getall(name, [])]


def _unix(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp())


@asynccontextmanager
async def running_provider_usage(**settings: Any) -> AsyncIterator[ProviderUsageDouble]:
    """Run the double in this loop."""
    double = ProviderUsageDouble(**settings)
    application = web.Application(middlewares=[double.check])
    application.router.add_get("/v1/organization/usage/completions", double.openai_usage)
    application.router.add_get("/v1/organization/usage/embeddings", double.openai_usage)
    application.router.add_get("/v1/organization/costs", double.openai_costs)
    application.router.add_get("/v1/organizations/usage_report/messages", double.anthropic_usage)
    application.router.add_get("/v1/organizations/cost_report", double.anthropic_costs)
    application.router.add_get("/api/v1/activity", double.openrouter_activity)
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, 0).start()
    double.url = f"http://{LOOPBACK}:{runner.addresses[0][1]}"
    try:
        yield double
    finally:
        await runner.cleanup()
