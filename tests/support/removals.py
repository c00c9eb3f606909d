"""Removes keys that are in use, one after the other, and tells from the provider's log when each was used last."""

import time
from dataclasses import dataclass
from pathlib import Path

from keyferry.cli.connection import OperatorConnection, run
from keyferry.cli.installation import Installation
from keyferry.contracts.key import RemoveKey
from keyferry.contracts.topology import KEY_REMOVE
from tests.support.key_journeys import Buyer, KeyDesk
from tests.support.waiting import until


@dataclass(frozen=True)
class Removal:
    """When a removal was asked for, when the vault answered, and when the last call with the key arrived at the provider.

    Seconds by the monotonic clock. The last call may have arrived before the answer.
    """

    asked_at: float
    answered_at: float
    last_used_at: float


@dataclass(frozen=True)
class _Removed:
    asked_at: float
    answered_at: float


def removals(desk: KeyDesk, buyer: Buyer, count: int, used: int) -> list[Removal]:
    """Remove `count` keys of a tenant under load, each after it was used so often; the next one is there before.

    At the end the last of them, which is not removed, was used so often as well.
    """
    key = desk.provider.issue()
    key_id = desk.add(buyer.tenant, key, "--priority", "1")["key_id"]
    removed: dict[str, _Removed] = {}
    for number in range(count):
        successor = desk.provider.issue()
        next_id = desk.add(buyer.tenant, successor, "--priority", str(number + 2))["key_id"]
        _until_used(desk, key, used)
        removed[key] = _remove(desk, buyer.tenant, key_id)
        key, key_id = successor, next_id
    _until_used(desk, key, used)
    return [Removal(at.asked_at, at.answered_at, desk.provider.last_used(key)) for key, at in removed.items()]


def _until_used(desk: KeyDesk, key: str, times: int) -> None:
    mark = desk.provider.mark()
    until("the key is in use", lambda: desk.provider.keys_since(mark)[key] >= times)


def _remove(desk: KeyDesk, tenant: str, key_id: str) -> _Removed:
    async def remove(me: OperatorConnection) -> _Removed:
        asked_at = time.monotonic()
        await me.ask(KEY_REMOVE, RemoveKey(tenant=tenant, key_id=key_id))
        return _Removed(asked_at, time.monotonic())

    home = desk.system.home
    seed: Path = home / "secrets" / "nkeys" / "operator.seed"
    return run(remove, Installation(str(desk.system.state["nats_url"]), seed))
