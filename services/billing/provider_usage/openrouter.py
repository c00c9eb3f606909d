"""OpenRouter's activity, by day and model: only completed days (UTC), and only the last thirty.

Source: `GET /api/v1/activity` of its API reference, in the form of its clients' `analytics.getUserActivity`. `usage` is what was
charged in dollars; what other providers charged for keys that are stored at OpenRouter is not part of it. Pure.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from services.billing.provider_usage.stated_usage import (
    StatedUsage,
    amount_of,
    count_of,
    day_of_text,
    name_of,
    parts_of,
)
from services.billing.provider_usage.usage_api import UsageApi, UsageCall, UsageSpan


def list_calls(span: UsageSpan) -> list[UsageCall]:
    """Return the one list that there is: it has all days, of which those of the span are taken."""
    query = f"?{urlencode({'api_key_hash': span.provider_key})}" if span.provider_key else ""
    return [UsageCall(f"/activity{query}", lambda answer: read_activity(answer, span), page_parameter=None)]


def read_activity(answer: Mapping[str, Any], span: UsageSpan) -> list[StatedUsage]:
    """Return what the activity says of a span. Raises UnreadableUsage."""
    found = []
    for item in parts_of(answer, "data"):
        day = day_of_text(item.get("date"))
        if span.since <= day <= span.until:
            found.append(
                StatedUsage(
                    day=day,
                    model=name_of(item.get("model")),
                    requests=count_of(item, "requests"),
                    prompt_tokens=count_of(item, "prompt_tokens"),
                    completion_tokens=count_of(item, "completion_tokens"),
                    cost_usd=amount_of(item.get("usage") or 0),
                )
            )
    return found


OPENROUTER_USAGE = UsageApi(
    provider="openrouter",
    key_header="authorization",
    key_prefix="Bearer ",
    headers={},
    list_calls=list_calls,
    settle_days=0,
    most_days_back=30,
    permission="a management key",
)
