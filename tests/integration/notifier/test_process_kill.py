"""A notifier that is killed after a receiver has taken an event and before it is marked: at least once, in order, same id."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import orjson
from aiohttp import web
from standardwebhooks import Webhook

from keyferry.runtime.database.service_database import ServiceDatabase
from tests.integration.notifier.log import all_finished
from tests.integration.notifier.processes import NotifierServers
from tests.integration.notifier.receiver import HookReceiver, ReceivedHook
from tests.integration.notifier.system import SECRET, NotifierUnderTest, alert
from tests.support.servers.migrated_database import MigratedDatabase
from tests.support.servers.provisioned_bus import provisioned_bus
from tests.support.waiting import eventually, eventually_async

RULES = [f"alr_{number}" for number in range(5)]
PATHS = ("/a", "/b", "/c")
KILLS = 3
"""Of each kind."""


@dataclass
class Taken:
    """What the receivers took, by path, in order; and the next process to kill when one of them has taken an event."""

    hooks: dict[str, list[ReceivedHook]] = field(default_factory=lambda: defaultdict(list))
    victim: asyncio.subprocess.Process | None = None

    async def answer(self, hook: ReceivedHook) -> web.StreamResponse:
        """Take an event, and kill its sender before it hears of it."""
        self.hooks[hook.path].append(hook)
        victim, self.victim = self.victim, None
        if victim is not None:
            victim.kill()
        return web.Response(text="taken")

    @property
    def count(self) -> int:
        return sum(map(len, self.hooks.values()))


@asynccontextmanager
async def installation(
    directory: Path, database: ServiceDatabase, migrated: MigratedDatabase, receiver: HookReceiver
) -> AsyncIterator[tuple[NotifierServers, NotifierUnderTest, Taken]]:
    """Run all but the notifier, with three endpoints."""
    taken = Taken()
    stores = NotifierUnderTest(database, migrated.url_files["notifier"])
    stores.clock.now = datetime.now(UTC)
    for path in PATHS:
        receiver.answers[path] = taken.answer
        await stores.add_endpoint(f"{receiver.url}{path}")
    async with provisioned_bus(directory) as bus:
        servers = NotifierServers(bus, migrated, directory)
        await servers.redeliver_soon()
        async with servers.peers():
            yield servers, stores, taken
    await stores.close()


async def kill_before_it_hears(servers: NotifierServers, taken: Taken) -> None:
    """Kill a notifier when a receiver has taken an event of it."""
    async with servers.process() as process:
        taken.victim = process
        await asyncio.wait_for(process.wait(), 30)
    await servers.end_claims()


async def kill_before_it_marks(servers: NotifierServers, taken: Taken) -> None:
    """Kill a notifier that has the receivers' answers, while a lock keeps it from recording any."""
    async with (
        await servers.connect() as blocking,
        await servers.connect() as watching,
        servers.process() as process,
        blocking.transaction(),
    ):
        so_far = taken.count
        await eventually("it sends", lambda: taken.count > so_far)
        await blocking.execute("LOCK TABLE notifier.targets IN EXCLUSIVE MODE")

        async def waits() -> bool:
            cursor = await watching.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
                " AND query LIKE '%UPDATE notifier.targets SET failures = 0%'"
            )
            row = await cursor.fetchone()
            return row is not None and row[0] > 0

        await eventually_async("it has an answer that it cannot record", waits)
        process.kill()
        await process.wait()
    await servers.end_claims()


async def test_events_survive_kills_between_the_receivers_answer_and_the_mark(
    tmp_path: Path, database: ServiceDatabase, migrated: MigratedDatabase, receiver: HookReceiver
) -> None:
    async with installation(tmp_path, database, migrated, receiver) as (servers, stores, taken):
        over = asyncio.Event()
        feeding = asyncio.create_task(feed(servers, over))
        for _ in range(KILLS):
            await kill_before_it_hears(servers, taken)
            await kill_before_it_marks(servers, taken)
        over.set()
        changes = await feeding
        async with servers.process():

            async def everywhere() -> bool:
                ids = {hook.headers["webhook-id"] for hooks in taken.hooks.values() for hook in hooks}
                return len(ids) == len(RULES) * changes and await all_finished(stores)

            await eventually_async("everything is delivered", everywhere)
    for path in PATHS:
        check(taken.hooks[path], changes)
    repeated = taken.count - len(PATHS) * len(RULES) * changes
    assert repeated >= 2 * KILLS, "each kill left a delivery that was made again"
    print(f"{taken.count} deliveries of {len(RULES) * changes} events to {len(PATHS)} endpoints, {repeated} repeated")


async def feed(servers: NotifierServers, over: asyncio.Event) -> int:
    """Publish changes of all rules, also while no notifier runs, until it is `over`. Return how many there are of each."""
    number = 0
    while not over.is_set():
        number += 1
        await servers.publish([alert(number, rule_id=rule) for rule in RULES])
        await asyncio.sleep(0.2)
    return number


def check(hooks: list[ReceivedHook], changes: int) -> None:
    """Check that each change arrived, in order in its rule, and is the same each time."""
    bodies: dict[str, bytes] = {}
    order: dict[str, list[int]] = defaultdict(list)
    for hook in hooks:
        event_id = hook.headers["webhook-id"]
        data = orjson.loads(hook.body)["data"]
        assert event_id == f"acme.{data['rule_id']}.{data['sequence']}"
        assert bodies.setdefault(event_id, hook.body) == hook.body
        order[data["rule_id"]].append(data["sequence"])
        Webhook(SECRET).verify(hook.body, hook.headers)
    for rule in RULES:
        assert order[rule] == sorted(order[rule]), "no change arrives after a later one"
        assert set(order[rule]) == set(range(1, changes + 1))
