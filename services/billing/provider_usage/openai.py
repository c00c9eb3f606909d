"""OpenAI's organization usage and costs, by day and model.

Sources: `GET /v1/organization/usage/completions`, `…/usage/embeddings` and `/v1/organization/costs` of its API reference, in the
form of the Python client's `admin.organization.usage`. Input tokens include cached ones. Costs name a line item, which is the
model and what was counted of it, as `gpt-4o-2024-08-06, input`. Pure.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Any
from urllib.parse import urlencode

from services.billing.provider_usage.stated_usage import (
    StatedUsage,
    amount_of,
    count_of,
    day_of_unix,
    name_of,
    parts_of,
)
from services.billing.provider_usage.usage_api import UsageApi, UsageCall, UsageSpan

_MOST_USAGE_BUCKETS = 31
_MOST_COST_BUCKETS = 180


def list_calls(span: UsageSpan) -> list[UsageCall]:
    """Return the lists of a span."""
    usage = _query(span, _MOST_USAGE_BUCKETS, "model")
    costs = _query(span, _MOST_COST_BUCKETS, "line_item")
    return [
        UsageCall(f"/organization/usage/completions?{usage}", read_usage),
        UsageCall(f"/organization/usage/embeddings?{usage}", read_usage),
        UsageCall(f"/organization/costs?{costs}", read_costs),
    ]


def _query(span: UsageSpan, limit: int, group_by: str) -> str:
    parameters: list[tuple[str, str | int]] = [
        ("start_time", _unix(span.since)),
        ("end_time", _unix(span.end)),
        ("bucket_width", "1d"),
        ("limit", limit),
        ("group_by[]", group_by),
    ]
    return urlencode(parameters + ([("api_key_ids[]", span.provider_key)] if span.provider_key else []))


def _unix(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp())


def read_usage(answer: Mapping[str, Any]) -> list[StatedUsage]:
    """Return what a page of completions or embeddings says. Raises UnreadableUsage."""
    return [
        StatedUsage(
            day=day_of_unix(bucket.get("start_time")),
            model=name_of(result.get("model")),
            requests=count_of(result, "num_model_requests"),
            prompt_tokens=count_of(result, "input_tokens"),
            completion_tokens=count_of(result, "output_tokens"),
        )
        for bucket in parts_of(answer, "data")
        for result in parts_of(bucket, "results")
    ]


def read_costs(answer: Mapping[str, Any]) -> list[StatedUsage]:
    """Return what a page of costs says, in dollars. Raises UnreadableUsage."""
    found = []
    for bucket in parts_of(answer, "data"):
        for result in parts_of(bucket, "results"):
            amount = result.get("amount")
            if not isinstance(amount, dict) or amount.get("currency") not in ("usd", "USD"):
                continue
            item = name_of(result.get("line_item"))
            found.append(
                StatedUsage(
                    day=day_of_unix(bucket.get("start_time")),
                    model=item if item is None else item.partition(",")[0].strip(),
                    cost_usd=amount_of(amount.get("value")),
                )
            )
    return found


OPENAI_USAGE = UsageApi(
    provider="openai",
    key_header="authorization",
    key_prefix="Bearer ",
    headers={},
    list_calls=list_calls,
    permission="an admin key (`sk-admin-…`) with the permission to read usage",
)
