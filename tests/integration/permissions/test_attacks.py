"""Attacks with the credentials of one user on a bus in use."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import StreamInfo

from keyferry.contracts import topology
from keyferry.contracts.permissions import permissions
from keyferry.contracts.topology import BUCKETS, CONSUMERS, SERVICES, STREAMS, Role, inbox_prefix, role_of
from tests.integration.permissions.access import CLIENTS, USERS, Connection
from tests.integration.permissions.watcher import watching
from tests.support.servers.provisioned_bus import ProvisionedBus, provisioned_bus

RESTRICTED = [user for user in USERS if user != Role.PROVISIONER]
ALL_STREAMS = [*(stream.name for stream in STREAMS), *(bucket.stream for bucket in BUCKETS)]
CONTENT = b"written by the owner"


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bus(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ProvisionedBus]:
    """One bus with an entry in every bucket; each test leaves streams and consumers as they are."""
    async with provisioned_bus(tmp_path_factory.mktemp("bus"), internal_clients=CLIENTS) as found:
        for bucket in BUCKETS:
            async with found.client(bucket.owner) as owner:
                await owner.jetstream().publish(bucket.key_subject("acme"), CONTENT)
        yield found


async def streams(provisioner: Client) -> dict[str, StreamInfo]:
    found = await provisioner.jetstream().streams_info()
    return {str(info.config.name): info for info in found}


def push_consumer(stream: str, destination: str) -> bytes:
    """A consumer that would make the server publish all of `stream` on `destination`."""
    config = {"deliver_subject": destination, "deliver_policy": "all", "ack_policy": "none", "name": "mine"}
    return json.dumps({"stream_name": stream, "config": config}).encode()


@pytest.mark.parametrize("verb", ["CONSUMER.CREATE.{}.mine", "CONSUMER.CREATE.{}", "CONSUMER.DURABLE.CREATE.{}.mine"])
async def test_no_user_makes_the_server_deliver_to_another_subject(bus: ProvisionedBus, verb: str) -> None:
    destination = "kf.v1.attempt.run.stolen"
    async with bus.client(Role.PROVISIONER) as provisioner:
        stolen = await provisioner.subscribe(destination)  # the server delivers only where a subscriber exists
        for user in RESTRICTED:
            async with Connection(bus, user) as intruder:
                for stream in ALL_STREAMS:
                    subject = f"$JS.API.{verb.format(stream)}"
                    await intruder.client.publish(
                        subject, push_consumer(stream, destination), reply=f"{inbox_prefix(user)}.x"
                    )
                assert len(await intruder.refusals()) == len(ALL_STREAMS), user
        found = await streams(provisioner)
        assert sum(info.state.consumer_count for info in found.values()) == len(CONSUMERS)
        assert stolen.pending_msgs == 0

        subject = f"$JS.API.CONSUMER.CREATE.{BUCKETS[0].stream}.mine"
        made = await provisioner.request(subject, push_consumer(BUCKETS[0].stream, destination), timeout=30)
        assert b'"error"' not in made.data, made.data
        assert (await stolen.next_msg(timeout=30)).data == CONTENT, "with the right to create consumers it works"
        await provisioner.jetstream().delete_consumer(BUCKETS[0].stream, "mine")


async def test_no_user_creates_a_stream_that_copies_another(bus: ProvisionedBus) -> None:
    async with bus.client(Role.PROVISIONER) as provisioner:
        before = set(await streams(provisioner))
        for user in RESTRICTED:
            async with Connection(bus, user) as intruder:
                for stream in ALL_STREAMS:
                    config = {"name": "mine", "sources": [{"name": stream}]}
                    await intruder.client.publish("$JS.API.STREAM.CREATE.mine", json.dumps(config).encode())
                assert len(await intruder.refusals()) == len(ALL_STREAMS), user
        assert set(await streams(provisioner)) == before == set(ALL_STREAMS)


@pytest.mark.parametrize("user", RESTRICTED)
async def test_only_its_readers_read_a_bucket(bus: ProvisionedBus, user: str) -> None:
    role = role_of(user)
    async with Connection(bus, user) as connection:
        answers = await connection.client.subscribe(f"{inbox_prefix(user)}.read.*")
        for bucket in BUCKETS:
            question = json.dumps({"last_by_subj": bucket.key_subject("acme")}).encode()
            inbox = f"{inbox_prefix(user)}.read.{bucket.name}"
            await connection.client.publish(f"$JS.API.DIRECT.GET.{bucket.stream}", question, reply=inbox)
        readable = [bucket for bucket in BUCKETS if role in (bucket.owner, *bucket.readers)]
        refused = " ".join(await connection.refusals())
        assert all((bucket.stream.lower() in refused) != (bucket in readable) for bucket in BUCKETS)
        read = [await answers.next_msg(timeout=30) for _ in readable]
        assert {answer.subject.rpartition(".")[2] for answer in read} == {bucket.name for bucket in readable}
        assert all(answer.data == CONTENT for answer in read)


async def test_a_worker_reports_attempts_only_under_its_own_name(bus: ProvisionedBus) -> None:
    async with bus.client(Role.PROVISIONER) as provisioner, Connection(bus, "provider-worker-1") as worker:
        before = (await streams(provisioner))["ATTEMPTS"].state.messages
        for name in ("provider-worker-2", "provider-worker-10", "stranger", "provider-worker-1.more"):
            await worker.client.publish(f"kf.v1.attempt.finished.{name}", b"a forged record")
        assert len(await worker.refusals()) == 4
        assert (await streams(provisioner))["ATTEMPTS"].state.messages == before
        own = topology.ATTEMPT_FINISHED.format(worker="provider-worker-1")
        assert (await worker.client.jetstream().publish(own, b"its own")).seq == before + 1


@pytest.mark.parametrize("user", RESTRICTED)
async def test_no_user_reads_the_inbox_of_another(bus: ProvisionedBus, user: str) -> None:
    """Neither by its name nor by a pattern that covers it, with or without a queue."""
    others = [other for other in USERS if inbox_prefix(other) != inbox_prefix(user)]
    patterns = [f"{inbox_prefix(other)}.{rest}" for other in others for rest in (">", "*", "*.*", "token.1")]
    patterns += ["*.>", "*.*.*", "*.token.1", "_INBOX_c.>", "_INBOX_c.*.*.*.>", ">"]
    stolen: list[str] = []

    async def steal(message: Msg) -> None:
        stolen.append(message.subject)

    async with Connection(bus, user) as intruder, bus.client(Role.PROVISIONER) as anybody:
        for pattern in patterns:
            for queue in ("", "thieves"):
                await intruder.client.subscribe(pattern, queue, cb=steal)
        assert len(await intruder.refusals()) == 2 * len(patterns)
        own = await intruder.client.subscribe(f"{inbox_prefix(user)}.>")
        while intruder.client.pending_data_size:  # noqa: ASYNC110 - a flush overtakes what waits to be written
            await asyncio.sleep(0)
        await intruder.client.flush()
        for other in (*others, user):
            await anybody.publish(f"{inbox_prefix(other)}.token.1", b"an answer")
        assert (await own.next_msg(timeout=30)).subject == f"{inbox_prefix(user)}.token.1"
        assert stolen == []


async def test_the_right_to_reply_is_good_for_one_reply(bus: ProvisionedBus) -> None:
    async with (
        watching(bus) as watcher,
        Connection(bus, Role.TENANT_DIRECTORY) as owner,
        Connection(bus, Role.OPERATOR) as operator,
    ):
        asked = await owner.client.subscribe(topology.TENANT_LIST.format(), topology.TENANT_LIST.queue or "")
        await owner.client.flush()
        inbox = f"{inbox_prefix(Role.OPERATOR)}.token.1"
        await owner.client.publish(inbox, b"unasked")
        assert len(await owner.refusals()) == 1
        await operator.client.publish(topology.TENANT_LIST.format(), b"{}", reply=inbox)
        question = await asked.next_msg(timeout=30)
        for answer in (b"first", b"second"):
            await question.respond(answer)
        assert len(await owner.refusals()) == 2
        await watcher.client.flush()
        assert watcher.received[inbox] == [b"first"]


async def test_only_services_may_send_requests_to_jetstream(bus: ProvisionedBus) -> None:
    """The server sends JetStream's answers to any reply subject, streams and buckets included.

    So a user that may send requests to JetStream must be trusted with that: no tenant's program and no person is.
    """
    bucket = topology.CLIENT_TOKENS_VIEW
    stream_subject = topology.ATTEMPT_FINISHED.format(worker="provider-worker-1")
    async with watching(bus) as watcher, Connection(bus, Role.INGRESS) as ingress:
        question = json.dumps({"last_by_subj": bucket.key_subject("acme")}).encode()
        await ingress.client.publish(f"$JS.API.DIRECT.GET.{bucket.stream}", question, reply=stream_subject)
        assert await watcher.wait_for_message(stream_subject) == CONTENT, (
            "the server checks replies now: say so in the docs"
        )
    for user in RESTRICTED:
        asks = any(right.startswith("$JS.") for right in permissions(user).publish)
        assert not asks or role_of(user) in SERVICES, user
