"""Service levels of a running system: what its callers saw is what `keyferry slo` and the metrics show."""

import json
import os
import re
import signal
from typing import Any

import httpx
import openai
import pytest

from tests.support.system.keyferry_system import KeyferrySystem
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(240)
_SECONDS = 90.0
"""Processes report every ten seconds."""


def level(system: KeyferrySystem, name: str) -> tuple[int, int]:
    found: dict[str, Any] = json.loads(system.cli("slo", "--days", "1", "--json"))
    one = next(each for each in found["levels"] if each["name"] == name)
    return one["good"], one["bad"]


def metric(system: KeyferrySystem, service: str, name: str, result: str) -> int:
    targets = json.loads((system.home / "run" / "prometheus-targets.json").read_text())
    address = next(each["targets"][0] for each in targets if each["labels"]["service"] == service)
    text = httpx.get(f"http://{address}/metrics", timeout=30).text
    series = re.escape(f'keyferry_service_level_events_total{{level="{name}",result="{result}"}}')
    found = re.search(rf"^{series} ([0-9.]+)$", text, re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


def chat(system: KeyferrySystem, model: str = "echo") -> None:
    system.openai().chat.completions.create(model=model, messages=[{"role": "user", "content": "hello"}])


def test_requests_count_as_their_callers_saw_them(system: KeyferrySystem) -> None:
    counted = [metric(system, "ingress", "routing", result) for result in ("good", "bad")]
    chat(system)
    with pytest.raises(openai.NotFoundError):
        chat(system, "no-such-model")  # refused with a reason: routed
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{system.http_url}/v1", api_key="kf_live_unknown", max_retries=0).models.list()
    router = system.pid("router")
    os.kill(router, signal.SIGSTOP)
    try:
        with pytest.raises(openai.InternalServerError):
            chat(system)  # nobody takes it
    finally:
        os.kill(router, signal.SIGCONT)
    now = [metric(system, "ingress", "routing", result) for result in ("good", "bad")]
    assert (now[0] - counted[0], now[1] - counted[1]) == (2, 1)
    # Other tests of this system have ended: the ledger has what the process has counted, once it was reported.
    until("the ledger has all of it", lambda: level(system, "routing")[1] >= now[1], _SECONDS)
    assert level(system, "routing")[0] >= now[0]


def test_management_requests_count(system: KeyferrySystem) -> None:
    token = (system.home / "secrets" / "operator-token").read_text().strip()
    before = sum(metric(system, "console", "management", result) for result in ("good", "bad"))
    url = f"{system.state['console_url']}/api/v1/ops"
    for path in ("/tenants", "/providers", "/services", "/tenants/nobody-here", "/service-levels"):
        httpx.get(url + path, headers={"authorization": f"Bearer {token}"}, timeout=60)
    now = sum(metric(system, "console", "management", result) for result in ("good", "bad"))
    assert now - before == 4, "all but the one that asks every process"
    until("the ledger has them", lambda: sum(level(system, "management")) >= now, _SECONDS)
