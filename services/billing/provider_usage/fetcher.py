"""Asks providers for what was used, with a tenant's admin key, through the guarded client and at the provider's own origin."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from keyferry.contracts.providers import PROVIDERS
from keyferry.contracts.secret import Secret
from keyferry.contracts.text import parse_digits
from keyferry.runtime.backoff import Backoff
from keyferry.runtime.upstream.client import Timeouts, UpstreamClient
from keyferry.runtime.upstream.errors import IncompleteResponse, NoResponse, NotSent
from services.billing.provider_usage.anthropic import ANTHROPIC_USAGE
from services.billing.provider_usage.openai import OPENAI_USAGE
from services.billing.provider_usage.openrouter import OPENROUTER_USAGE
from services.billing.provider_usage.stated_usage import StatedUsage, UnreadableUsage, merge_stated, parse_answer
from services.billing.provider_usage.usage_api import UsageApi, UsageCall, UsageSpan, next_cursor

USAGE_APIS: Final[Mapping[str, UsageApi]] = {
    api.provider: api for api in (OPENAI_USAGE, ANTHROPIC_USAGE, OPENROUTER_USAGE)
}
FETCH_SECONDS: Final = 45.0
_TIMEOUTS = Timeouts(connect_seconds=5, first_byte_seconds=20, between_bytes_seconds=10)
_MOST_PAGES: Final = 200
_MOST_RETRIES: Final = 5
_BACKOFF = Backoff(first_seconds=1.0, longest_seconds=20.0)
_OK: Final = 200
_RATE_LIMITED: Final = 429


class CannotFetch(Exception):
    """The provider does not say what was used. The message says why and what to do, and may be shown."""


class UsageFetcher:
    """Reads usage APIs. `base_urls` replaces providers' addresses, for an installation's own proxy or a test."""

    def __init__(
        self,
        client: UpstreamClient,
        base_urls: Mapping[str, str] | None = None,
        *,
        within_seconds: float = FETCH_SECONDS,
    ) -> None:
        self._client = client
        self._base_urls = base_urls or {}
        self._within_seconds = within_seconds

    async def fetch(self, api: UsageApi, key: Secret, span: UsageSpan) -> list[StatedUsage]:
        """Return what a provider says of a span, one statement per day and model. Raises CannotFetch."""
        found: list[StatedUsage] = []
        try:
            async with asyncio.timeout(self._within_seconds):
                for call in api.list_calls(span):
                    found += await self._read_list(api, key, call)
        except TimeoutError:
            raise CannotFetch(
                f"{api.provider} did not answer completely within {self._within_seconds:g} s: compare fewer days at once"
            ) from None
        except UnreadableUsage as error:
            raise CannotFetch(f"{api.provider}: {error}") from None
        return merge_stated(each for each in found if each.day is None or span.since <= each.day <= span.until)

    async def _read_list(self, api: UsageApi, key: Secret, call: UsageCall) -> list[StatedUsage]:
        found: list[StatedUsage] = []
        path, cursors = call.path, set[str]()
        for _ in range(_MOST_PAGES):
            answer = await self._get(api, key, path)
            found += call.read(answer)
            cursor = next_cursor(answer) if call.page_parameter is not None else None
            if cursor is None:
                return found
            if cursor in cursors:
                raise CannotFetch(f"{api.provider} lists the same page again and again: try again later")
            cursors.add(cursor)
            path = f"{call.path}&{call.page_parameter}={quote(cursor, safe='')}"
        raise CannotFetch(f"{api.provider} lists more than {_MOST_PAGES} pages: compare fewer days at once")

    async def _get(self, api: UsageApi, key: Secret, path: str) -> dict[str, Any]:
        url = self._base_url(api) + path
        headers = {**api.headers, "accept": "application/json", api.key_header: f"{api.key_prefix}{key.reveal()}"}
        for failures in range(_MOST_RETRIES + 1):
            try:
                async with self._client.stream("GET", url, headers, b"", _TIMEOUTS) as response:
                    status, retry_after = response.status, response.headers.get("retry-after", "")
                    text = b"".join([piece async for piece in response.aiter_raw()])
            except (NotSent, NoResponse, IncompleteResponse) as error:
                problem = f"{api.provider} cannot be asked: {error}"
                if failures == _MOST_RETRIES:
                    raise CannotFetch(problem) from None
                await asyncio.sleep(_BACKOFF.delay_seconds(failures))
                continue
            if status == _OK:
                return parse_answer(text)
            if failures == _MOST_RETRIES or (status != _RATE_LIMITED and status < 500):
                raise CannotFetch(_describe(api, status))
            delay = parse_digits(retry_after) if status == _RATE_LIMITED else None
            if delay is not None and delay > self._within_seconds:
                raise CannotFetch(f"{api.provider} takes no more requests now: try again in {delay} s")
            await asyncio.sleep(delay if delay is not None else _BACKOFF.delay_seconds(failures))
        raise AssertionError("the last failure is raised")

    def _base_url(self, api: UsageApi) -> str:
        base_url = self._base_urls.get(api.provider) or PROVIDERS[api.provider].base_url
        if base_url is None:
            raise CannotFetch(f"{api.provider} has no address")
        return base_url.rstrip("/")


def _describe(api: UsageApi, status: int) -> str:
    if status in (401, 403):
        return (
            f"{api.provider} does not accept the key ({status}): it takes {api.permission}."
            " Replace it with `keyferry integrations rotate SECRET_ID --tenant TENANT`, or paste the usage instead"
        )
    if status == _RATE_LIMITED:
        return f"{api.provider} takes no more requests now: try again in some minutes"
    if status >= 500:
        return f"{api.provider} answers {status}: try again later"
    return f"{api.provider} answers {status} to a request for usage: does this account have a usage API?"
