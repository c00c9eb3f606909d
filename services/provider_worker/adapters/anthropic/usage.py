"""Converts Anthropic's usage objects to disjoint token counts and to OpenAI's usage.

Source: the Messages API reference and the documentation of prompt caching. `input_tokens` excludes what was read from
or written to a cache; `output_tokens` includes thinking, which newer models report separately. In a stream
`message_start` and `message_delta` both carry cumulative usage: the last value of each field counts, and none is ever
added to another.
"""

from keyferry.contracts.usage import TokenUsage, UsageSource
from services.provider_worker.adapters.response.json_text import JsonObject, as_object
from services.provider_worker.adapters.response.token_usage import token_count

_TIERS_WITH_PRICES = frozenset({"priority", "batch", "flex"})


class UsageTally:
    """The usage of one answer, from one report or several."""

    def __init__(self) -> None:
        self._fields: JsonObject = {}

    def take(self, usage: object) -> None:
        """Merge `usage`; anything but an object is ignored."""
        self._fields |= {name: value for name, value in as_object(usage).items() if value is not None}

    @property
    def reported(self) -> bool:
        """Whether any token count has arrived."""
        return self._count("input_tokens") is not None or self._count("output_tokens") is not None

    @property
    def usage_source(self) -> UsageSource:
        """Where the token usage comes from."""
        return UsageSource.REPORTED if self.reported else UsageSource.NONE

    @property
    def service_tier(self) -> str | None:
        """The tier that was used, where prices depend on it."""
        tier = self._fields.get("service_tier")
        return tier if isinstance(tier, str) and tier in _TIERS_WITH_PRICES else None

    @property
    def token_usage(self) -> TokenUsage:
        """The token usage; its counts add up to all tokens of the prompt and the completion."""
        written = self._written()
        for_one_hour = min(
            token_count(as_object(self._fields.get("cache_creation")).get("ephemeral_1h_input_tokens")) or 0, written
        )
        output = self._count("output_tokens") or 0
        reasoning = min(self._reasoning() or 0, output)
        return TokenUsage(
            input=self._count("input_tokens") or 0,
            cached_read=self._count("cache_read_input_tokens") or 0,
            cache_write=written - for_one_hour,
            cache_write_1h=for_one_hour,
            output=output - reasoning,
            reasoning=reasoning,
        )

    def openai(self) -> JsonObject:
        """Return OpenAI's usage object; details that Anthropic did not report are left out of it."""
        token_usage = self.token_usage
        usage: JsonObject = {
            "prompt_tokens": token_usage.prompt,
            "completion_tokens": token_usage.completion,
            "total_tokens": token_usage.total,
        }
        prompt: JsonObject = {}
        if self._count("cache_read_input_tokens") is not None:
            prompt["cached_tokens"] = token_usage.cached_read
        if (
            self._count("cache_creation_input_tokens") is not None
            or token_usage.cache_write
            or token_usage.cache_write_1h
        ):
            prompt["cache_write_tokens"] = token_usage.cache_write + token_usage.cache_write_1h
        if prompt:
            usage["prompt_tokens_details"] = prompt
        if self._reasoning() is not None:
            usage["completion_tokens_details"] = {"reasoning_tokens": token_usage.reasoning}
        if as_object(self._fields.get("server_tool_use")):
            usage["server_tool_use"] = self._fields["server_tool_use"]
        return usage

    def _written(self) -> int:
        split = as_object(self._fields.get("cache_creation"))
        parts = sum(token_count(split.get(f"ephemeral_{time}_input_tokens")) or 0 for time in ("5m", "1h"))
        total = self._count("cache_creation_input_tokens")
        return parts if total is None else total

    def _reasoning(self) -> int | None:
        return token_count(as_object(self._fields.get("output_tokens_details")).get("thinking_tokens"))

    def _count(self, name: str) -> int | None:
        return token_count(self._fields.get(name))
