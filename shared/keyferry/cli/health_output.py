"""How `keyferry health` shows targets, changes and outages."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from keyferry.cli.terminal import format_table, format_time
from keyferry.contracts.health import Health, HealthList, KeyClass, Outage, Override, Rerouted, Selector, Target

_HEADS = ("TARGET", "KEYS", "ADDRESS", "STATE", "CALLS", "OK", "P50", "P95", "P99", "FIRST", "LAST CALL", "WHY")
_CLOSED = "closed"
_NOTHING = "-"


def format_health(found: HealthList, now: datetime) -> str:
    """Return a table of targets, and the overrides that hold."""
    rows = [_row(health, now) for health in found.targets]
    table = format_table(_HEADS, rows, empty="nothing was called or probed within the last day")
    more = [f"{found.left_out} more that were not used for longer are left out"] if found.left_out else []
    return "\n".join([table, *more, *(_override(override) for override in found.overrides)])


def describe_changes(before: HealthList, after: HealthList, now: datetime) -> Iterator[str]:
    """Yield a line for each target whose state has changed, or that is new."""
    known = {health.target.key: health for health in before.targets}
    for health in after.targets:
        old = known.get(health.target.key)
        if old is None or (old.state, old.forced, old.until) != (health.state, health.forced, health.until):
            was = "new" if old is None else old.state.value
            until = "" if health.until is None else f" until {format_time(health.until)}"
            yield f"{format_time(now)}  {_name(health.target)}: {was} -> {health.state}{until}: {health.reason}"


def describe_outage(outage: Outage, now: datetime) -> Iterator[str]:
    """Yield the lines about one outage."""
    owner = "/".join(part for part in (outage.tenant, outage.endpoint or outage.provider) if part)
    lasted = _span((outage.ended_at or now) - outage.began_at)
    end = f"lasted {lasted}, until {format_time(outage.ended_at)}" if outage.ended_at else f"lasts for {lasted}"
    forced = " (forced by an operator)" if outage.forced else ""
    yield f"{format_time(outage.began_at)}  {owner}: {', '.join(outage.models)}{forced}, {end}"
    where = f" at {outage.origin}" if outage.origin else ""
    yield f"  {_keys(outage.key_class)}{where}"
    yield f"  why: {outage.reasons[0] if outage.reasons else _NOTHING}"
    yield (
        f"  {outage.affected_requests} requests affected ({outage.failed_attempts} attempts failed):"
        f" {outage.served_elsewhere} served elsewhere, {outage.refused} refused"
    )
    if outage.rerouted_to:
        yield f"  served by: {', '.join(_rerouted(each) for each in outage.rerouted_to)}"


def _row(health: Health, now: datetime) -> tuple[str, ...]:
    success = f"{100 * (health.samples - health.failures) / health.samples:.0f} %" if health.samples else _NOTHING
    state = f"{health.state} (forced)" if health.forced else health.state.value
    called = health.last_attempt_at
    return (
        _name(health.target),
        _payer(health.target),
        (health.target.origin or _NOTHING).removeprefix("https://"),
        state,
        str(health.samples),
        success,
        *map(_ms, (health.p50_ms, health.p95_ms, health.p99_ms, health.first_token_p50_ms)),
        _NOTHING if called is None else f"{_span(now - called)} ago",
        _why(health),
    )


def _why(health: Health) -> str:
    if health.state != _CLOSED or health.forced:
        return health.reason
    if health.reachable is False:
        return f"unreachable when probed at {format_time(health.probed_at)}"
    return f"probed at {format_time(health.probed_at)}" if health.reachable else ""


def _name(target: Target) -> str:
    owner = (target.provider,) if target.endpoint is None else (target.tenant or "", target.endpoint)
    return "/".join((*owner, target.model))


def _payer(target: Target) -> str:
    """Return whose keys call a target: one key, or a class of keys, of one tenant's requests where only these are meant."""
    whose = f" for {target.tenant}" if target.is_of_one_tenant else ""
    return target.key_id or f"{target.key_class.value}{whose}"


def _override(override: Override) -> str:
    until = format_time(override.until)
    return (
        f"{Selector.__str__(override)} is forced {override.state} until {until} by {override.actor}: {override.reason}"
    )


def _keys(key_class: KeyClass) -> str:
    named = {KeyClass.PLATFORM: "with the platform's keys", KeyClass.OWN: "with tenants' own keys or servers"}
    return named.get(key_class, "without a key")


def _rerouted(rerouted: Rerouted) -> str:
    return f"{rerouted.endpoint or rerouted.provider}/{rerouted.model} ({rerouted.requests})"


def _ms(value: int | None) -> str:
    if value is None:
        return _NOTHING
    return f"{value} ms" if value < 10_000 else f"{value / 1000:.0f} s"


def _span(span: timedelta) -> str:
    seconds = max(0, int(span.total_seconds()))
    if seconds < 120:
        return f"{seconds} s"
    minutes = seconds // 60
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"
