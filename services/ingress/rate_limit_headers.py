"""The `x-ratelimit-*` headers of an answer, in OpenAI's form. Pure."""

from keyferry.contracts.limits import LimitStatus, RateLimits

_MS_PER_MINUTE = 60_000


def rate_limit_headers(rate_limits: RateLimits | None) -> dict[str, str]:
    """Return the headers for the limits that apply; none for a caller without limits."""
    if rate_limits is None:
        return {}
    return _headers("requests", rate_limits.requests) | _headers("tokens", rate_limits.tokens)


def _headers(what: str, status: LimitStatus | None) -> dict[str, str]:
    if status is None:
        return {}
    return {
        f"x-ratelimit-limit-{what}": str(status.limit),
        f"x-ratelimit-remaining-{what}": str(status.remaining),
        f"x-ratelimit-reset-{what}": format_duration(status.reset_ms),
    }


def format_duration(ms: int) -> str:
    """Return milliseconds as OpenAI writes durations, which Go's `time.ParseDuration` reads: `12ms`, `1.5s`, `6m0s`."""
    if ms < 1000:
        return f"{ms}ms"
    minutes, rest_ms = divmod(ms, _MS_PER_MINUTE)
    seconds = f"{rest_ms / 1000:.3f}".rstrip("0").rstrip(".")
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"
