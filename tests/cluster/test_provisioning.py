"""Streams with replicas, in a real cluster of three servers without services."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from nats.aio.client import Client

from deploy.embedded.home import Home
from deploy.nats import provision as provisioning
from deploy.nats.provision import ProvisionError, parse_replicas, provision, stream_config
from keyferry.contracts.topology import STREAMS, SUBJECTS, Role, users
from tests.support.cluster.nats_cluster import RunningCluster, nats_cluster
from tests.support.cluster.system import STREAM_NAMES
from tests.support.cluster.tcp_links import tcp_links

ACKNOWLEDGED_FIRST = next(stream for stream in STREAMS if not stream.synced)
ACKNOWLEDGED_FIRST_SUBJECT = next(
    subject.pattern().replace("*", "acme") for subject in SUBJECTS if subject.stream == ACKNOWLEDGED_FIRST.name
)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RunningCluster]:
    home = Home(tmp_path)
    home.prepare()
    with tcp_links() as links, nats_cluster(home, {user: home.public_key(user) for user in users(1)}, links) as running:
        yield running


def provisioned(cluster: RunningCluster, replicas: int) -> None:
    asyncio.run(provision(cluster.urls, cluster.seeds.seed_file(Role.PROVISIONER), replicas=replicas))


def test_every_stream_gets_replicas_and_one_of_a_single_server_is_named(cluster: RunningCluster) -> None:
    async def make_for_one(client: Client) -> None:
        await provisioning.wait_for_leader(client)
        await provisioning._apply_stream(client, stream_config(ACKNOWLEDGED_FIRST))

    cluster.run(make_for_one)
    name = ACKNOWLEDGED_FIRST.name
    with pytest.raises(ProvisionError, match=rf"the stream {name} was made for a single server.*delete it, and run"):
        provisioned(cluster, 3)
    cluster.ask(f"STREAM.DELETE.{name}")
    provisioned(cluster, 3)
    provisioned(cluster, 3)  # again, which is harmless
    kept = {stream: cluster.ask(f"STREAM.INFO.{stream}")["config"]["num_replicas"] for stream in STREAM_NAMES}
    assert set(kept.values()) == {3}


def test_a_stream_that_a_former_build_compressed_is_compressed_no_longer(cluster: RunningCluster) -> None:
    """A compressed stream could lose a replica after a crash; what is stored in it stays readable."""
    name, message = ACKNOWLEDGED_FIRST.name, b"x" * 1000

    async def make_compressed(client: Client) -> None:
        await provisioning.wait_for_leader(client)
        await provisioning._apply_stream(client, stream_config(ACKNOWLEDGED_FIRST, 3) | {"compression": "s2"})
        await client.jetstream().publish(ACKNOWLEDGED_FIRST_SUBJECT, message)

    cluster.run(make_compressed)
    assert cluster.ask(f"STREAM.INFO.{name}")["config"]["compression"] == "s2"
    provisioned(cluster, 3)
    compressions = {
        cluster.ask(f"STREAM.INFO.{stream}")["config"].get("compression", "none") for stream in STREAM_NAMES
    }
    assert compressions == {"none"}

    async def read(client: Client) -> bytes:
        return (await client.jetstream().get_msg(name, 1)).data or b""

    assert cluster.run(read) == message


@pytest.mark.parametrize("text", ["0", "2", "4", "7", "-3", "3.0", "three", "\x00", "٣", "9" * 5000])
def test_other_numbers_of_replicas_are_refused(text: str) -> None:
    with pytest.raises(
        ProvisionError, match="is no number of replicas: use 1 for a single server, else 3 or 5"
    ) as refused:
        parse_replicas(text, "KEYFERRY_NATS_REPLICAS")
    assert str(refused.value).startswith("KEYFERRY_NATS_REPLICAS=")
    assert len(str(refused.value)) < 200
