"""Delivery of alerts: at least once, in order, by several processes, and no target delays another."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from aiohttp import web
from sqlalchemy import text
from standardwebhooks import Webhook

from keyferry.contracts.membership import Member
from keyferry.contracts.webhooks import (
    DeliveryState,
    ReplayDeliveries,
    SaveWebhookEndpoint,
)
from keyferry.runtime.database.service_database import ServiceDatabase
from services.notifier.delivery.log_store import DeliveryLog
from services.notifier.delivery.queue import CLAIM
from tests.integration.notifier.log import all_finished, log_of
from tests.integration.notifier.receiver import HookReceiver, MailReceiver, ReceivedHook, answering, waiting_for
from tests.integration.notifier.system import NOW, SECRET, NotifierUnderTest, alert
from tests.support.servers.migrated_database import MigratedDatabase
from tests.support.waiting import eventually, eventually_async


@pytest.fixture
async def notifier(
    database: ServiceDatabase, migrated: MigratedDatabase, mails: MailReceiver
) -> AsyncIterator[NotifierUnderTest]:
    found = NotifierUnderTest(database, migrated.url_files["notifier"], smtp_port=mails.port)
    yield found
    await found.close()


async def states_of(notifier: NotifierUnderTest, target_id: str) -> list[DeliveryState]:
    return [delivery.state for delivery in await log_of(notifier, target_id)]


def sequences(receiver: HookReceiver, path: str = "/hook") -> list[int]:
    return [orjson.loads(body)["data"]["sequence"] for body in receiver.bodies(path)]


async def test_a_webhook_is_signed_so_that_the_official_library_accepts_it(
    notifier: NotifierUnderTest, receiver: HookReceiver
) -> None:
    notifier.clock.now = datetime.now(UTC)
    await notifier.add_endpoint(f"{receiver.url}/hook")
    await notifier.intake.take([alert()])
    async with notifier.sending():
        await eventually("the webhook arrives", lambda: receiver.received)
    hook = receiver.received[0]
    verified = Webhook(SECRET).verify(hook.body, hook.headers)
    assert verified["type"] == "alert.changed"
    assert verified["data"]["title"] == "change 1"
    assert hook.headers["webhook-id"] == "acme.alr_0123.1"


async def test_changes_of_a_rule_arrive_once_and_in_order_although_they_came_repeated_and_shuffled(
    notifier: NotifierUnderTest, receiver: HookReceiver
) -> None:
    endpoint = await notifier.add_endpoint(f"{receiver.url}/hook")
    changes = [alert(number) for number in range(1, 41)] * 3
    random.Random(7).shuffle(changes)
    parts = [changes[start : start + 10] for start in range(0, len(changes), 10)]
    async with notifier.sending(3):
        await asyncio.gather(*(notifier.intake.take(part) for part in parts))
        await eventually_async("all are delivered", lambda: all_finished(notifier))
        await eventually("all arrive", lambda: len(receiver.received) >= 40)
    assert sequences(receiver) == list(range(1, 41))
    assert await states_of(notifier, endpoint.endpoint_id) == [DeliveryState.DELIVERED] * 40


async def test_a_failed_change_holds_up_its_rule_and_no_other(
    notifier: NotifierUnderTest, receiver: HookReceiver
) -> None:
    failing = True

    async def answer(hook: ReceivedHook) -> web.StreamResponse:
        first = orjson.loads(hook.body)["data"]["rule_id"] == "alr_0123"
        return web.Response(status=500 if first and failing else 200)

    receiver.answers["/hook"] = answer
    endpoint = await notifier.add_endpoint(f"{receiver.url}/hook")
    await notifier.intake.take([alert(1), alert(2), alert(1, rule_id="alr_other")])

    def arrived() -> list[tuple[str, int]]:
        data = [orjson.loads(body)["data"] for body in receiver.bodies("/hook")]
        return [(each["rule_id"], each["sequence"]) for each in data]

    async def failure_is_recorded() -> bool:
        return any(each.status == 500 for each in await log_of(notifier, endpoint.endpoint_id))

    async with notifier.sending():
        await eventually_async("the failure is recorded", failure_is_recorded)
        notifier.clock.pass_by(seconds=2)
        await eventually("the other rule is delivered", lambda: ("alr_other", 1) in arrived())
        assert ("alr_0123", 2) not in arrived()
        failing = False
        notifier.clock.pass_by(seconds=10)
        await eventually_async("all are delivered", lambda: all_finished(notifier))
    assert [number for rule, number in arrived() if rule == "alr_0123"][-1] == 2


async def test_a_slow_and_a_dead_target_delay_no_other(notifier: NotifierUnderTest, receiver: HookReceiver) -> None:
    never = asyncio.Event()
    receiver.answers["/slow"] = waiting_for(never)
    receiver.answers["/dead"] = answering(500)
    for path in ("slow", "dead"):
        await notifier.add_endpoint(f"{receiver.url}/{path}")
    await notifier.add_endpoint(f"{receiver.url}/good")
    rules = [f"alr_{number}" for number in range(50)]
    await notifier.intake.take([alert(1, rule_id=rule) for rule in rules])
    async with notifier.sending():
        async with asyncio.timeout(10):
            await eventually("the good one has all", lambda: len(receiver.bodies("/good")) == len(rules))
        assert len(receiver.bodies("/dead")) <= 8
        never.set()


async def test_a_process_that_is_killed_between_sending_and_recording_delivers_again_with_the_same_id(
    notifier: NotifierUnderTest, receiver: HookReceiver
) -> None:
    endpoint = await notifier.add_endpoint(f"{receiver.url}/hook")
    await notifier.intake.take([alert(1), alert(2)])
    claimed = await notifier.queue.claim(endpoint.endpoint_id, notifier.clock(), 10)
    assert [delivery.event_id for delivery in claimed] == ["acme.alr_0123.1"]
    target = await notifier.targets.find(endpoint.endpoint_id)
    assert target is not None
    await target.send(claimed[0], notifier.clock())  # and here it is killed
    assert await notifier.queue.claim(endpoint.endpoint_id, notifier.clock(), 10) == []
    notifier.clock.now += CLAIM
    async with notifier.sending(2):
        await eventually_async("all are delivered", lambda: all_finished(notifier))
    assert sequences(receiver) == [1, 1, 2]
    assert len({hook.headers["webhook-id"] for hook in receiver.received[:2]}) == 1


async def test_a_gap_is_waited_for_and_then_passed(notifier: NotifierUnderTest, receiver: HookReceiver) -> None:
    await notifier.add_endpoint(f"{receiver.url}/hook")
    await notifier.intake.take([alert(3), alert(4)])
    async with notifier.database.read() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM notifier.deliveries")) == 0
    notifier.clock.pass_by(seconds=31)
    await notifier.intake.release_overdue()
    async with notifier.sending():
        await eventually("both arrive", lambda: len(receiver.received) == 2)
    assert sequences(receiver) == [3, 4]


async def test_a_change_that_comes_after_its_gap_was_passed_is_sent_late_and_once(
    notifier: NotifierUnderTest, receiver: HookReceiver
) -> None:
    await notifier.add_endpoint(f"{receiver.url}/hook")
    await notifier.intake.take([alert(3)])
    notifier.clock.pass_by(seconds=31)
    await notifier.intake.release_overdue()
    async with notifier.sending():
        await eventually("the third arrives", lambda: len(receiver.received) == 1)
        await notifier.intake.take([alert(2), alert(3), alert(4)])
        await eventually("what is known arrives", lambda: len(receiver.received) == 3)
        await notifier.intake.take([alert(2), alert(3), alert(4), alert(1)])
        await eventually("the first arrives", lambda: len(receiver.received) == 4)
        await eventually_async("all are delivered", lambda: all_finished(notifier))
    assert sequences(receiver) == [3, 2, 4, 1]


async def test_an_endpoint_that_is_gone_is_switched_off_at_once_and_its_owners_are_notified(
    notifier: NotifierUnderTest, receiver: HookReceiver, mails: MailReceiver
) -> None:
    receiver.answers["/hook"] = answering(410, "gone")
    endpoint = await notifier.add_endpoint(f"{receiver.url}/hook")
    notifier.be_members("acme", owner())
    await notifier.intake.take([alert()])
    async with notifier.sending():
        await eventually("the owner is notified", lambda: mails.received)
    found = await notifier.endpoints.get("acme", endpoint.endpoint_id)
    assert (found.enabled, found.switched_off_at) == (False, notifier.clock())
    assert mails.received[0][0] == "owner@example.com"
    assert "was switched off" in str(mails.received[0][1]["Subject"])


async def test_a_target_that_fails_for_three_days_is_switched_off_and_goes_on_when_it_is_enabled(
    notifier: NotifierUnderTest, receiver: HookReceiver
) -> None:
    receiver.answers["/hook"] = answering(503, "down")
    endpoint = await notifier.add_endpoint(f"{receiver.url}/hook")
    await notifier.intake.take([alert()])

    async def is_off() -> bool:
        notifier.clock.pass_by(hours=4)
        return not (await notifier.endpoints.get("acme", endpoint.endpoint_id)).enabled

    async with notifier.sending():
        await eventually_async("it is switched off", is_off)
    off = await notifier.endpoints.get("acme", endpoint.endpoint_id)
    assert off.switched_off_at is not None
    assert off.switched_off_at - NOW >= timedelta(days=3)
    assert [each.state for each in await log_of(notifier, endpoint.endpoint_id)] == [DeliveryState.FAILED]

    del receiver.answers["/hook"]
    again = SaveWebhookEndpoint(
        tenant="acme", name="hook", url=off.url, event_types=off.event_types, endpoint_id=off.endpoint_id
    )
    await notifier.endpoints.change(again, off.endpoint_id, notifier.clock())
    log = DeliveryLog(notifier.database)
    failed = (await log_of(notifier, endpoint.endpoint_id))[0]
    command = ReplayDeliveries(tenant="acme", target_id=endpoint.endpoint_id, delivery_id=failed.delivery_id)
    assert await log.replay(command, notifier.clock()) == 1

    async def is_delivered() -> bool:
        # The notice to the owners goes on waiting: there is no mail server here.
        return (await log_of(notifier, endpoint.endpoint_id))[0].state is DeliveryState.DELIVERED

    async with notifier.sending():
        await eventually_async("it is delivered", is_delivered)
    newest, oldest = await log_of(notifier, endpoint.endpoint_id)
    assert (newest.state, newest.replay_of) == (DeliveryState.DELIVERED, oldest.delivery_id)
    assert newest.event_id == oldest.event_id


async def test_quiet_hours_hold_back_all_but_what_is_critical_and_end_with_one_digest(
    notifier: NotifierUnderTest, mails: MailReceiver
) -> None:
    notifier.be_members("acme", owner("ops@example.com"))
    quiet = {"begin": "11:00", "end": "13:00", "time_zone": "UTC"}
    channel = await notifier.add_channel(quiet_hours=quiet)
    await notifier.intake.take([alert(1), alert(2, state="resolved"), alert(1, rule_id="alr_bad", severity="critical")])

    async def held() -> bool:
        return (await notifier.channels.get("acme", channel.channel_id)).held == 2

    async with notifier.sending():
        await eventually_async("both are held back", held)
        await eventually("the critical one is sent", lambda: mails.received)
        assert len(mails.received) == 1
        notifier.clock.pass_by(hours=1)
        await eventually_async("all are delivered", lambda: all_finished(notifier))
    digest = mails.received[1][1]
    assert "2 notifications of the quiet hours" in str(digest["Subject"])
    body = digest.get_body(("plain",))
    assert body is not None
    text_of = body.get_content()
    assert text_of.index("change 1") < text_of.index("change 2")


async def test_a_tenant_without_channels_has_its_owners_notified(
    notifier: NotifierUnderTest, mails: MailReceiver
) -> None:
    notifier.be_members("acme", owner())
    await notifier.intake.take([alert()])
    async with notifier.sending():
        await eventually("the owner is notified", lambda: mails.received)
    assert mails.received[0][0] == "owner@example.com"


async def test_an_address_of_nobody_receives_nothing(notifier: NotifierUnderTest, mails: MailReceiver) -> None:
    notifier.be_members("acme", owner())
    channel = await notifier.add_channel(recipients=["stranger@example.org", "owner@example.com"])
    await notifier.intake.take([alert()])
    async with notifier.sending():
        await eventually_async("it is delivered", lambda: all_finished(notifier))
    assert [address for address, _ in mails.received] == ["owner@example.com"]
    notifier.be_members("acme")
    await notifier.intake.take([alert(2)])
    async with notifier.sending():

        async def failing() -> bool:
            return (await notifier.channels.get("acme", channel.channel_id)).failing_since is not None

        await eventually_async("nobody is left", failing)
    assert len(mails.received) == 1


def owner(address: str = "owner@example.com") -> Member:
    return Member.model_validate(
        {
            "tenant": "acme",
            "member_id": "mem_0123",
            "email": address,
            "role": "owner",
            "source": "invitation",
            "created_at": "2026-11-01T00:00:00Z",
        }
    )
