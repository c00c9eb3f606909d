"""Anthropic's usage and cost reports, by day and model.

Sources: `GET /v1/organizations/usage_report/messages` and `/v1/organizations/cost_report` of its Admin API reference. Tokens are
counted once each: uncached, written to a cache for five minutes or an hour, read from one. Amounts are decimal texts in cents.
The cost report knows no keys. Pure.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from services.billing.provider_usage.stated_usage import (
    StatedUsage,
    UnreadableUsage,
    amount_of,
    count_of,
    day_of_text,
    name_of,
    parts_of,
)
from services.billing.provider_usage.usage_api import UsageApi, UsageCall, UsageSpan

_MOST_BUCKETS = 31
_CENTS = 100


def list_calls(span: UsageSpan) -> list[UsageCall]:
    """Return the lists of a span: without the costs if only one key's usage is wanted."""
    usage = UsageCall(f"/v1/organizations/usage_report/messages?{_query(span, 'model')}", read_usage)
    if span.provider_key is not None:
        return [usage]
    costs = UsageCall(
        f"/v1/organizations/cost_report?{_query(UsageSpan(span.since, span.until), 'description')}", read_costs
    )
    return [usage, costs]


def _query(span: UsageSpan, group_by: str) -> str:
    parameters: list[tuple[str, str | int]] = [
        ("starting_at", f"{span.since.isoformat()}T00:00:00Z"),
        ("ending_at", f"{span.end.isoformat()}T00:00:00Z"),
        ("bucket_width", "1d"),
        ("limit", _MOST_BUCKETS),
        ("group_by[]", group_by),
    ]
    return urlencode(parameters + ([("api_key_ids[]", span.provider_key)] if span.provider_key else []))


def read_usage(answer: Mapping[str, Any]) -> list[StatedUsage]:
    """Return what a page of the usage report says. Raises UnreadableUsage."""
    return [
        StatedUsage(
            day=day_of_text(bucket.get("starting_at")),
            model=name_of(result.get("model")),
            prompt_tokens=_prompt_tokens(result),
            completion_tokens=count_of(result, "output_tokens"),
        )
        for bucket in parts_of(answer, "data")
        for result in parts_of(bucket, "results")
    ]


def _prompt_tokens(result: Mapping[str, Any]) -> int:
    written = result.get("cache_creation") or {}
    if not isinstance(written, dict):
        raise UnreadableUsage("the provider's answer has no object `cache_creation`")
    return (
        count_of(result, "uncached_input_tokens")
        + count_of(result, "cache_read_input_tokens")
        + count_of(written, "ephemeral_5m_input_tokens")
        + count_of(written, "ephemeral_1h_input_tokens")
    )


def read_costs(answer: Mapping[str, Any]) -> list[StatedUsage]:
    """Return what a page of the cost report says, in dollars. Raises UnreadableUsage."""
    return [
        StatedUsage(
            day=day_of_text(bucket.get("starting_at")),
            model=name_of(result.get("model")) or name_of(result.get("description")),
            cost_usd=amount_of(amount_of(result.get("amount")) / _CENTS),
        )
        for bucket in parts_of(answer, "data")
        for result in parts_of(bucket, "results")
        if result.get("currency") == "USD"
    ]


ANTHROPIC_USAGE = UsageApi(
    provider="anthropic",
    key_header="x-api-key",
    key_prefix="",
    headers={"anthropic-version": "2023-06-01"},
    list_calls=list_calls,
    permission="an admin key (`sk-ant-admin…`)",
)
