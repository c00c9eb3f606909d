"""Which provider keys are near the rate limits that their providers report, or at them, as the health monitor knows it."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import click

from keyferry.cli.connection import Connection
from keyferry.contracts.health import CircuitState, Health, HealthList, ListHealth
from keyferry.contracts.key import ProviderKey
from keyferry.contracts.topology import HEALTH_LIST
from keyferry.runtime.bus.requests import BusError, Refused

Pauses = Sequence[Health]
"""The health of single keys' uses of models."""
_STATES = {CircuitState.COOLING: "gets no requests", CircuitState.PACING: "gives way to other keys"}
_MAX_SHOWN = 20
_ASK_SECONDS = 2.0


async def list_pauses(me: Connection) -> Pauses:
    """Return the health of such keys, by model. A monitor that does not answer hides no key."""
    try:
        found = await me.ask(HEALTH_LIST, ListHealth(), timeout_seconds=_ASK_SECONDS)
    except (Refused, BusError) as error:
        click.echo(f"which keys are near their rate limits is unknown: {error}", err=True)
        return []
    return select_pauses(found, datetime.now(UTC))


def select_pauses(found: HealthList, now: datetime) -> Pauses:
    """Return what holds now of single keys; those that get no requests come first."""
    holding = [
        health
        for health in found.targets
        if health.target.key_id is not None and health.state in _STATES and health.until and health.until > now
    ]
    return sorted(holding, key=lambda health: health.state is CircuitState.PACING)


def name_pause(key: ProviderKey, pauses: Pauses) -> str:
    """Return what to add to the status of a key: its first pause, or nothing."""
    return next((f", {health.state}" for health in pauses if health.target.key_id == key.key_id), "")


def describe_pauses(keys: Sequence[ProviderKey], pauses: Pauses) -> Iterator[str]:
    """Yield a line for each pause of these keys."""
    shown = {key.key_id for key in keys}
    found = [health for health in pauses if health.target.key_id in shown]
    for health in found[:_MAX_SHOWN]:
        yield f"{health.target.key_id} {_STATES[health.state]} for {health.target.model}: {health.reason}"
    if len(found) > _MAX_SHOWN:
        yield f"{len(found) - _MAX_SHOWN} more are left out"
