"""Converts Anthropic's usage objects to disjoint token counts and to OpenAI's usage.

Source: the Messages API reference and the documentation of prompt caching. `input_tokens` excludes what was read from
or written to a cache; `output_tokens` includes thinking, which newer models report separately. In a stream
`message_start` and `message_delta` both carry cumulative usage, none of which is ever added to another. Gateways that
speak this API send zeros in `message_delta` for what they reported before: a zero takes nothing away.
"""

from keyferry.contracts.usage import TokenUsage
from services.provider_worker.adapters.response.json_text import JsonObject, as_object
from services.provider_worker.adapters.response.usage_counts import CountReader
from services.provider_worker.adapters.usage_report import NO_REPORT, UsageReport, usage_note

_TIERS_WITH_PRICES = frozenset({"priority", "batch", "flex"})


class UsageTally:
    """The usage of one answer, from one report or several."""

    def __init__(self) -> None:
        self.report: UsageReport = NO_REPORT
        self._fields: JsonObject = {}

    def take(self, usage: object) -> None:
        """Merge `usage`; anything but an object is ignored."""
        if isinstance(usage, dict) and usage:
            _add_fields(self._fields, usage)
            self.report = self.report.merge(_read_report(self._fields))

    @property
    def service_tier(self) -> str | None:
        """The tier that was used, where prices depend on it."""
        tier = self._fields.get("service_tier")
        return tier if isinstance(tier, str) and tier in _TIERS_WITH_PRICES else None

    def openai(self) -> JsonObject | None:
        """Return OpenAI's usage object, or null if the prompt or the completion is unknown.

        Details that Anthropic did not report are left out of it.
        """
        if not (self.report.prompt_known and self.report.completion_known):
            return None
        token_usage, counts = self.report.token_usage, CountReader()
        usage: JsonObject = {
            "prompt_tokens": token_usage.prompt,
            "completion_tokens": token_usage.completion,
            "total_tokens": token_usage.total,
        }
        prompt: JsonObject = {}
        if counts.read(self._fields, "cache_read_input_tokens") is not None:
            prompt["cached_tokens"] = token_usage.cached_read
        written = token_usage.cache_write + token_usage.cache_write_1h
        if counts.read(self._fields, "cache_creation_input_tokens") is not None or written:
            prompt["cache_write_tokens"] = written
        if prompt:
            usage["prompt_tokens_details"] = prompt
        if counts.read(as_object(self._fields.get("output_tokens_details")), "thinking_tokens") is not None:
            usage["completion_tokens_details"] = {"reasoning_tokens": token_usage.reasoning}
        if as_object(self._fields.get("server_tool_use")):
            usage["server_tool_use"] = self._fields["server_tool_use"]
        return usage | usage_note(self.report)


def _add_fields(known: JsonObject, later: JsonObject) -> None:
    """Add the fields of `later` to `known`, also inside objects; null and zero replace nothing."""
    for name, value in later.items():
        before = known.get(name)
        if isinstance(value, dict):
            inner: JsonObject = dict(before) if isinstance(before, dict) else {}
            inner.update({field: count for field, count in value.items() if count or field not in inner})
            known[name] = inner
        elif value is not None and (value or before is None):
            known[name] = value


def _read_report(fields: JsonObject) -> UsageReport:
    """Read counts that add up to all tokens of the prompt and the completion."""
    counts = CountReader()
    fresh, output = counts.read(fields, "input_tokens"), counts.read(fields, "output_tokens")
    read, written = counts.read(fields, "cache_read_input_tokens"), counts.read(fields, "cache_creation_input_tokens")
    split = as_object(fields.get("cache_creation"))
    for_minutes = counts.read(split, "ephemeral_5m_input_tokens") or 0
    for_one_hour = counts.read(split, "ephemeral_1h_input_tokens") or 0
    written = for_minutes + for_one_hour if written is None else written
    for_one_hour = min(for_one_hour, written)
    reasoning = counts.read(as_object(fields.get("output_tokens_details")), "thinking_tokens") or 0
    reasoning = reasoning if output is None else min(reasoning, output)
    token_usage = TokenUsage(
        input=fresh or 0,
        cached_read=read or 0,
        cache_write=written - for_one_hour,
        cache_write_1h=for_one_hour,
        output=(output or 0) - reasoning if output is not None else 0,
        reasoning=reasoning,
    )
    return UsageReport(token_usage, fresh is not None, output is not None, counts.implausible)
