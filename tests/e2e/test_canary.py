"""No secret leaves the place where it belongs: a system is used in every way, and then every byte it emitted is searched.

Each channel first proves that it is looked into: decoys travel through the product itself, as model names, ids and paths do,
and must be found wherever they come out.
"""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nats
import pytest

from deploy.embedded.home import Home
from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.topology import ATTEMPT_RUN, Role, inbox_prefix
from keyferry.contracts.usage import KeySource
from tests.support.canary.channels import (
    BUS,
    CLI,
    DATABASE,
    DATABASE_FILES,
    HTTP,
    JETSTREAM_FILES,
    LAUNCHER,
    LOGS,
    OTLP,
    PROCESSES,
    PROVIDER,
    RUN_FILES,
    SPOOL_FILES,
    BusTap,
    database_dump,
    home_files,
    processes,
    tapped_bus,
)
from tests.support.canary.integration_journeys import IntegrationJourneys
from tests.support.canary.journeys import REVOKED, USED, Journeys
from tests.support.canary.key_journeys import (
    KEY_ECHO_PATH,
    KEYS_AT_THEIR_PROVIDER,
    KeyEchoingProvider,
    KeyJourneys,
    core_dumps_allowed,
    vault_secrets,
)
from tests.support.canary.planted_secrets import (
    SHARED,
    SPARE,
    LeakyReply,
    installation_secrets,
    leaky_provider,
    leaky_replies,
    random_text,
)
from tests.support.canary.searcher import Allowed, Canary, CapturedOutput, Searcher, Sighting, unallowed
from tests.support.providers.upstream import Upstream, running_upstream
from tests.support.servers.otlp_collector import OtlpCollector, running_collector
from tests.support.servers.ports import find_free_port
from tests.support.system.keyferry_system import KeyferrySystem, running_system
from tests.support.system.process_tree import descendants
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(600)

DECOY_PATH = Canary("decoy path", random_text())
DECOY_MODEL = Canary("decoy model", random_text())
DECOY_ID = Canary("decoy id", random_text())

DECOYS = {
    LOGS: DECOY_ID,
    LAUNCHER: DECOY_PATH,
    PROCESSES: DECOY_PATH,
    RUN_FILES: DECOY_PATH,
    OTLP: DECOY_MODEL,
    BUS: DECOY_MODEL,
    DATABASE: DECOY_MODEL,
    DATABASE_FILES: DECOY_MODEL,
    JETSTREAM_FILES: DECOY_MODEL,
    SPOOL_FILES: DECOY_MODEL,
    HTTP: DECOY_MODEL,
    CLI: DECOY_MODEL,
    PROVIDER: DECOY_MODEL,
}
"""Every channel, and what is certain to come out of it."""

_SHOWN_ONCE = "a new token is shown once to the person who makes it"
ALLOWED = (
    Allowed("demo token", LAUNCHER, r"up\.log", "the launcher shows it to the person who starts the system"),
    *KEYS_AT_THEIR_PROVIDER,
    *(
        Allowed(name, CLI, r"tokens create", _SHOWN_ONCE)
        for name in (USED, REVOKED, "token to mistype", "token given as an id")
    ),
)


@dataclass(frozen=True)
class Evidence:
    """What was planted and what was seen."""

    canaries: list[str]
    sightings: list[Sighting]
    gaps: list[str]


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    directory = tmp_path_factory.mktemp("canary")
    home = Home(directory / DECOY_PATH.text)
    home.prepare()
    port = find_free_port()
    (home.run / "nats.port").write_text(f"{port}\n")
    seed = home.seed_file(Role.PROVISIONER.value).read_text()
    rows = leaky_replies()
    echoing, leaky = KeyEchoingProvider(set()), leaky_provider(rows)
    with (
        core_dumps_allowed(),
        running_collector() as collector,
        running_upstream(lambda a: echoing.answer(a) if a.path.startswith(KEY_ECHO_PATH) else leaky(a)) as upstream,
        tapped_bus(f"nats://127.0.0.1:{port}", seed) as tap,
    ):
        echo_url = upstream.base_url.replace("/v1", f"{KEY_ECHO_PATH}/v1")
        every_trace = {"KEYFERRY_TRACE_SAMPLE_RATIO": "1", "KEYFERRY_TRACE_MAX_PER_SECOND": "1000"}
        settings = collector.environment() | every_trace | {"KEYFERRY_PROVIDER_URLS": f"openai={echo_url}"}
        with running_system(home.path, settings) as system:
            journeys = Journeys(system)
            keys = KeyJourneys(journeys, echoing, echo_url, directory)
            emissions = list(_run_journeys(journeys, keys, rows, directory, upstream))
            journeys.canaries += [*installation_secrets(home.path), *vault_secrets(home.path)]
            gaps = list(tap.gaps)
        emissions += [*home_files(home.path), *_captured_elsewhere(tap, collector, upstream), *journeys.captured]
    searcher = Searcher([*journeys.canaries, DECOY_PATH, DECOY_MODEL, DECOY_ID])
    return Evidence([canary.name for canary in journeys.canaries], searcher.sightings(emissions), gaps)


def _run_journeys(
    journeys: Journeys, keys: KeyJourneys, rows: list[LeakyReply], directory: Path, upstream: Upstream
) -> Iterator[CapturedOutput]:
    """Run all journeys; yield what is on disk and in the process table before the restarts, and after them."""
    models = ["--model", SHARED, "--model", "well"]
    journeys.cli("endpoints", "add", "lab", "--tenant", "demo", "--base-url", upstream.base_url, "--no-probe", *models)
    spare = upstream.base_url.replace("/v1", f"{SPARE}/v1")
    journeys.cli(
        "endpoints",
        "add",
        "spare",
        "--tenant",
        "demo",
        "--base-url",
        spare,
        "--no-probe",
        "--priority",
        "900",
        "--model",
        SHARED,
    )
    until("the endpoints are offered", lambda: '"spare/' in journeys.http("models", "/v1/models", method="GET").text)
    journeys.tokens(directory)
    journeys.wrong_credentials()
    journeys.misplaced_secrets()
    journeys.explain(journeys.streams(f"lab/{DECOY_MODEL.text}"))
    journeys.leaky_provider(rows)
    journeys.commands()
    journeys.broken_settings(directory)
    keys.run_all()
    IntegrationJourneys(keys, directory).run_all()
    asyncio.run(_log_the_decoy(journeys.system))
    yield from _snapshot(journeys.system)
    # The ledger first: for five seconds what it reads still goes to the old process, as the tap subscribes to its inbox too.
    journeys.restarts("usage_ledger", "ingress", "router", "provider_worker")
    keys.crash("key_vault", "provider_worker-1")
    journeys.explain(journeys.streams("lab/well"))
    keys.request_all()
    keys.explain_all()
    yield from _snapshot(journeys.system)


def _snapshot(system: KeyferrySystem) -> Iterator[CapturedOutput]:
    admin = (system.home / "secrets" / "database" / "admin.url").read_text().strip()
    yield from database_dump(admin.replace("postgresql+psycopg://", "postgresql://"))
    yield from home_files(system.home)
    yield from processes({system.launcher.pid, *descendants(system.launcher.pid)})


def _captured_elsewhere(tap: BusTap, collector: OtlpCollector, upstream: Upstream) -> Iterator[CapturedOutput]:
    yield from tap.messages
    for export in collector.exports:
        yield CapturedOutput(OTLP, "export", export)
    for call in upstream.calls:
        yield CapturedOutput(PROVIDER, call.request.path, f"{call.request.headers}\n{call.request.body}".encode())


async def _log_the_decoy(system: KeyferrySystem) -> None:
    """Send an attempt that is too late to start: the worker logs its request id, whatever it is."""
    run = AttemptRun(
        request_id=DECOY_ID.text,
        tenant="demo",
        model="x",
        model_asked="x",
        stream=False,
        deadline_ms=1,
        start_by_unix_ms=int(time.time() * 1000) - 10_000,
        attempt_id="att_decoy",
        attempt_number=1,
        decision_id="dec_decoy",
        provider="custom",
        key_source=KeySource.CUSTOM,
    )
    seed = Home(system.home).seed_file(Role.PROVISIONER.value).read_text()
    client = await nats.connect(str(system.state["nats_url"]), nkeys_seed_str=seed)
    inbox = f"{inbox_prefix(Role.INGRESS.value)}.decoy.decoy"
    await client.publish(ATTEMPT_RUN.format(provider=run.provider), run.with_body(b"{}"), reply=inbox)
    await client.flush()
    await client.close()
    logs = sorted((system.home / "log").glob("provider_worker*.log"))
    until("the worker has logged it", lambda: any(DECOY_ID.text in log.read_text() for log in logs))


def test_the_bus_was_captured_without_a_gap(evidence: Evidence) -> None:
    assert evidence.gaps == []


@pytest.mark.parametrize("channel", DECOYS)
def test_each_decoy_is_found_in_its_channel(evidence: Evidence, channel: str) -> None:
    assert (DECOYS[channel].name, channel) in {(seen.canary, seen.channel) for seen in evidence.sightings}


def test_every_allowed_place_is_needed(evidence: Evidence) -> None:
    for row in ALLOWED:
        assert any(row.covers(seen) for seen in evidence.sightings), f"{row} is not needed"


def test_enough_secrets_are_planted(evidence: Evidence) -> None:
    assert len(set(evidence.canaries)) == len(evidence.canaries), "two secrets share a name"
    assert len(evidence.canaries) >= 95


def test_no_secret_is_anywhere_else(evidence: Evidence) -> None:
    decoys = {canary.name for canary in DECOYS.values()}
    leaks = [seen for seen in unallowed(evidence.sightings, ALLOWED) if seen.canary not in decoys]
    assert not leaks, "\n".join(map(str, leaks))
