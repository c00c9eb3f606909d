"""The metrics of every process of a running system: they count what the ledger has, and show neither secrets nor ids."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.providers.upstream import (
    ProviderRequest,
    Reply,
    Upstream,
    completion,
    failing,
    running_upstream,
    stream_of,
)
from tests.support.system.keyferry_system import KeyferrySystem
from tests.support.waiting import until

SERVED, REFUSED, RECOVERED = "metrics-served", "metrics-refused", "metrics-recovered"
CONTENT = "a-sentence-that-no-metric-repeats"
HOSTILE = ("metrics\nkeyferry_forged 1", 'metrics"} 1', "metrics\x00", "metrics-é", "m" * 200, "../../etc/passwd")
_ID = re.compile(r"\b(?:req|att|dec|tok|key|ten|inst|spl|kf)_[0-9a-z]{10,}")

Samples = Counter[tuple[str, tuple[tuple[str, str], ...]]]


def scripted(request: ProviderRequest) -> Reply:
    if request.method == "GET":
        return failing(404, {"message": "no list"})
    sick = request.path.startswith("/sick/")
    match request.body["model"]:
        case "metrics-refused":
            return failing(400, {"message": f"no: {CONTENT}", "type": "invalid_request_error"})
        case "metrics-recovered" if sick:
            return failing(500, {"message": "broken"})
    return stream_of(["well", " done"]) if request.body.get("stream") else completion("well done")


@dataclass(frozen=True)
class Metered:
    """A running system with its operations ports."""

    system: KeyferrySystem
    upstream: Upstream

    @property
    def targets(self) -> dict[str, str]:
        """The address of each process, from the file that is written for Prometheus."""
        listed = json.loads((self.system.home / "run" / "prometheus-targets.json").read_text())
        return {one["labels"]["instance"]: one["targets"][0] for one in listed}

    def scrape(self) -> dict[str, str]:
        """Return what every process shows."""
        return {name: httpx.get(f"http://{target}/metrics", timeout=30).text for name, target in self.targets.items()}

    def counts(self) -> Samples:
        """Return every sample of all processes, added up."""
        found: Samples = Counter()
        for text in self.scrape().values():
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    found[sample.name, tuple(sorted(sample.labels.items()))] += sample.value  # type: ignore[assignment]
        return found

    def recorded(self) -> Counter[tuple[str, str, str]]:
        """Return the ledger's attempts by provider, outcome and failure class."""
        url = (self.system.home / "secrets" / "database" / "usage_ledger.url").read_text().strip()
        query = (
            "SELECT provider, outcome, coalesce(failure->>'failure_class', ''), count(*) FROM usage_ledger.attempts"
            " GROUP BY 1, 2, 3"
        )
        with psycopg.connect(url.replace("postgresql+psycopg://", "postgresql://"), connect_timeout=5) as connection:
            return Counter({(row[0], row[1], row[2]): row[3] for row in connection.execute(query)})

    def ask(self, model: str, **more: object) -> int:
        """Send a chat and return the status of its answer."""
        body = {"model": model, "messages": [{"role": "user", "content": CONTENT}], **more}
        headers = {"authorization": f"Bearer {self.system.token}"}
        return httpx.post(
            f"{self.system.http_url}/v1/chat/completions", json=body, headers=headers, timeout=60
        ).status_code


@pytest.fixture(scope="module")
def metered(system: KeyferrySystem) -> Iterator[Metered]:
    with running_upstream(scripted) as upstream:
        root = upstream.base_url.removesuffix("/v1")
        system.add_endpoint("metrics-a", f"{root}/sick/v1", SERVED, REFUSED, RECOVERED)
        system.add_endpoint("metrics-b", f"{root}/well/v1", RECOVERED)
        yield Metered(system, upstream)
        system.cli("endpoints", "rm", "metrics-a", "--tenant", "demo")
        system.cli("endpoints", "rm", "metrics-b", "--tenant", "demo")


def of(counts: Samples, name: str, **labels: str) -> float:
    """Return the sum of the samples of a metric that have these labels."""
    wanted = set(labels.items())
    return sum(count for (sample, has), count in counts.items() if sample == name and wanted <= set(has))


def test_every_process_is_listed_and_says_that_it_is_ready(metered: Metered) -> None:
    processes = set(metered.system.state["processes"]) - {"nats", "postgres", "billing-demo", "billing_demo"}
    assert {name.replace("-", "_") for name in metered.targets} == {name.replace("-", "_") for name in processes}
    for name, target in metered.targets.items():
        assert httpx.get(f"http://{target}/healthz", timeout=30).json() == {"status": "ok"}, name
        assert httpx.get(f"http://{target}/readyz", timeout=30).status_code == 200, name
    counts = metered.counts()
    assert of(counts, "keyferry_process_ready") == len(metered.targets)
    assert of(counts, "keyferry_bus_connected") == len(metered.targets)


def test_the_ports_of_clients_show_no_metrics(metered: Metered) -> None:
    for url in (metered.system.http_url, str(metered.system.state["console_url"])):
        assert "keyferry_" not in httpx.get(f"{url}/metrics", timeout=30).text


def test_counts_are_those_of_the_ledger_and_of_the_callers(metered: Metered) -> None:
    rows_before = metered.recorded()
    before = until("nothing is under way", lambda: _settled(metered))
    statuses = [
        *(metered.ask(SERVED) for _ in range(5)),
        *(metered.ask(SERVED, stream=True) for _ in range(4)),
        *(metered.ask(REFUSED) for _ in range(3)),
        metered.ask(RECOVERED),
        metered.ask("metrics-nobody-offers"),
        metered.ask(SERVED, messages="no list"),
    ]
    assert statuses == [200] * 9 + [400] * 3 + [200, 404, 400]
    assert httpx.post(f"{metered.system.http_url}/v1/chat/completions", json={}, timeout=30).status_code == 401

    def agreed() -> Samples | None:
        counts, rows = _settled(metered), metered.recorded() - rows_before
        if counts is None:
            return None
        counts.subtract(before)
        keys = set(rows_before + rows)
        made = {values: of(counts, "keyferry_attempts_total", **_labels(values)) for values in keys}
        return counts if made == {values: rows[values] for values in keys} else None

    changed = until("workers and ledger count the same attempts", agreed)
    rows_added = metered.recorded() - rows_before
    sick = [call.request for call in metered.upstream.calls if call.request.path.startswith("/sick/")]
    failed_over = [request for request in sick if request.body and request.body.get("model") == RECOVERED]
    assert of(changed, "keyferry_attempts_total") == rows_added.total()
    assert of(changed, "keyferry_ledger_records_total", kind="attempt", result="new") == rows_added.total()
    assert of(changed, "keyferry_ledger_delay_seconds_count") == rows_added.total()
    assert of(changed, "keyferry_ledger_records_total", kind="attempt", result="rejected") == 0
    assert of(changed, "keyferry_requests_total", outcome="completed") == 10
    assert of(changed, "keyferry_requests_total", outcome="refused") == 4
    assert of(changed, "keyferry_requests_total", outcome="invalid") == 1
    assert of(changed, "keyferry_requests_total") == 15
    assert of(changed, "keyferry_first_token_seconds_count") == 4
    assert of(changed, "keyferry_request_failures_total", cause="gateway") == 0
    chat = {"route": "/v1/chat/completions"}
    assert of(changed, "keyferry_http_requests_total", status="401", **chat) == 1
    assert of(changed, "keyferry_http_requests_total", status="200", **chat) == 10
    assert of(changed, "keyferry_fallbacks_total", result="served") == bool(failed_over)
    assert of(changed, "gen_ai_client_token_usage_count", gen_ai_token_type="output") >= 10
    assert of(changed, "keyferry_routing_decisions_total") == of(changed, "keyferry_routing_duration_seconds_count") > 0


def test_hostile_names_make_no_series_and_nothing_secret_is_shown(metered: Metered) -> None:
    before = {sample[:2] for sample in metered.counts()}
    for name in HOSTILE:
        metered.ask(name)
        address = f"{metered.system.http_url}/v1/{httpx.QueryParams({'p': name})}"
        httpx.request("GET", address, headers={"authorization": f"Bearer {name!a}"}, timeout=30)
        console = str(metered.system.state["console_url"])
        httpx.get(f"{console}/v1/tenants/{httpx.QueryParams({'p': name})}", timeout=30)
    shown = "\n".join(metered.scrape().values())
    secrets = [
        path.read_text(errors="replace").strip()
        for path in (metered.system.home / "secrets").rglob("*")
        if path.is_file()
    ]
    assert len(secrets) > 20
    assert not [secret for secret in secrets if len(secret) >= 16 and secret in shown]
    assert not _ID.search(shown)
    assert not [
        text for text in (CONTENT, "demo", SERVED, "forged", "passwd", "metrics-a", "metrics-é") if text in shown
    ]
    new = {sample for sample in metered.counts() if sample[:2] not in before}
    labels = {value for _, has in new for _, value in has}
    assert len(new) < 120, sorted(new)
    assert not [value for value in labels if value.startswith(("metrics", "mmm"))]


def _labels(values: tuple[str, str, str]) -> dict[str, str]:
    return dict(zip(("provider", "outcome", "failure_class"), values, strict=True))


def _settled(metered: Metered) -> Samples | None:
    """Return the counts once no attempt runs, or waits in a spool for the ledger."""
    counts = metered.counts()
    under_way = of(counts, "keyferry_attempts_running") + of(counts, "keyferry_spool_records")
    return counts if not under_way else None
