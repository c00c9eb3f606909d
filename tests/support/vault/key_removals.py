"""Removes keys that are in use, one after the other, and reads from the provider's log when each was used last."""

import time
from dataclasses import dataclass
from pathlib import Path

from keyferry.cli.connection import Connection, run
from keyferry.cli.installation import Installation
from keyferry.contracts.key import RemoveKey
from keyferry.contracts.topology import KEY_REMOVE
from tests.support.vault.keyed_system import KeyedSystem, TenantAccount
from tests.support.waiting import until


@dataclass(frozen=True)
class KeyRemoval:
    """When a removal was requested, when the vault answered, and when the last call with the key arrived at the provider.

    Seconds by the monotonic clock. The last call may have arrived before the answer.
    """

    asked_at: float
    answered_at: float
    last_used_at: float


@dataclass(frozen=True)
class _Removed:
    asked_at: float
    answered_at: float


def remove_keys(keyed_system: KeyedSystem, account: TenantAccount, count: int, used: int) -> list[KeyRemoval]:
    """Remove `count` keys of a tenant under load, each after `used` uses; its successor is stored before.

    At the end the last of them, which is not removed, was used so often as well.
    """
    key = keyed_system.provider.issue()
    key_id = keyed_system.add(account.tenant, key, "--priority", "1")["key_id"]
    removed: dict[str, _Removed] = {}
    for number in range(count):
        successor = keyed_system.provider.issue()
        next_id = keyed_system.add(account.tenant, successor, "--priority", str(number + 2))["key_id"]
        _wait_until_used(keyed_system, key, used)
        removed[key] = _remove(keyed_system, account.tenant, key_id)
        key, key_id = successor, next_id
    _wait_until_used(keyed_system, key, used)
    return [
        KeyRemoval(at.asked_at, at.answered_at, keyed_system.provider.last_used(key)) for key, at in removed.items()
    ]


def _wait_until_used(keyed_system: KeyedSystem, key: str, times: int) -> None:
    mark = keyed_system.provider.mark()
    until("the key is in use", lambda: keyed_system.provider.keys_since(mark)[key] >= times)


def _remove(keyed_system: KeyedSystem, tenant: str, key_id: str) -> _Removed:
    async def remove(me: Connection) -> _Removed:
        asked_at = time.monotonic()
        await me.ask(KEY_REMOVE, RemoveKey(tenant=tenant, key_id=key_id))
        return _Removed(asked_at, time.monotonic())

    home = keyed_system.system.home
    seed: Path = home / "secrets" / "nkeys" / "operator.seed"
    return run(remove, Installation(str(keyed_system.system.state["nats_url"]), seed))
