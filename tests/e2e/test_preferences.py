"""Preferences saved over HTTP and on the command line, in the answers of the gateway; and a tenant that stays in the EU."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.support.providers.upstream import ProviderRequest, Reply, Upstream, completion, running_upstream
from tests.support.system.keyferry_system import KeyferrySystem
from tests.support.waiting import until

TENANT = "continental"
MESSAGES: Any = [{"role": "user", "content": "hi"}]


def reply(request: ProviderRequest) -> Reply:
    return completion("hello", request.body["model"])


@pytest.fixture(scope="module")
def abroad() -> Iterator[Upstream]:
    with running_upstream(reply) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def inside() -> Iterator[Upstream]:
    with running_upstream(reply) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def management(system: KeyferrySystem) -> Iterator[httpx.Client]:
    token = (system.home / "secrets" / "operator-token").read_text().strip()
    base = f"{system.state['console_url']}/api/v1/ops/tenants/{TENANT}"
    with httpx.Client(base_url=base, headers={"Authorization": f"Bearer {token}"}) as client:
        yield client


@pytest.fixture(scope="module")
def sdk(system: KeyferrySystem, abroad: Upstream, inside: Upstream) -> Iterator[openai.OpenAI]:
    system.cli("tenants", "create", TENANT)
    add = ("endpoints", "add", "--tenant", TENANT, "--no-probe", "--model", "house")
    system.cli(*add, "abroad", "--base-url", abroad.base_url, "--priority", "1", "--model", "only-abroad")
    system.cli(*add, "inside", "--base-url", inside.base_url, "--priority", "2", "--eu")
    scope = ("--team", "support", "--member", "alice")
    made = json.loads(system.cli("tokens", "create", "--tenant", TENANT, *scope, "--json"))
    with openai.OpenAI(base_url=f"{system.http_url}/v1", api_key=made["token"], max_retries=0) as client:

        def offers() -> bool:
            try:
                return {"inside/house", "abroad/house"} <= {model.id for model in client.models.list().data}
            except openai.AuthenticationError:
                return False

        until("the token is known, and the endpoints are offered", offers)
        yield client


def test_saved_preferences_are_in_the_next_answers(
    system: KeyferrySystem, management: httpx.Client, sdk: openai.OpenAI, abroad: Upstream
) -> None:
    saved = management.put("/preferences", json={"default_model": "house", "temperature": 0.25, "max_tokens": 500})
    assert saved.status_code == 200, saved.text
    system.cli("preferences", "set", "--tenant", TENANT, "--team", "support", "temperature=0")

    def answered() -> Any:
        try:
            raw = sdk.chat.completions.with_raw_response.create(model="default", messages=MESSAGES)
        except openai.APIStatusError:
            return None
        return raw if abroad.calls[-1].request.body["temperature"] == 0 else None

    raw = until("the team's temperature is sent", answered)
    sent = abroad.calls[-1].request.body
    assert (sent["model"], sent["temperature"], sent["max_tokens"]) == ("house", 0, 500)
    assert raw.headers["x-keyferry-added"] == "temperature,max_tokens"
    sdk.chat.completions.create(model="default", messages=MESSAGES, max_tokens=50, temperature=1)
    sent = abroad.calls[-1].request.body
    assert (sent["temperature"], sent["max_tokens"]) == (1, 50)

    def explained() -> str | None:
        shown = system.cli("explain", raw.headers["x-request-id"], "--tenant", TENANT)
        return shown if "chosen: " in shown else None

    shown = until("the decision is recorded", explained)
    assert "preference default_model house (tenant continental)" in shown
    assert "preference temperature 0.0 (team support)" in shown
    assert "it is the default model (a preference of the tenant continental)" in shown
    table = system.cli("preferences", "show", "--tenant", TENANT, "--team", "support", "temperature", "max_tokens")
    assert [line.split() for line in table.splitlines()[1:]] == [
        ["temperature", "0.0", "team", "support"],
        ["max_tokens", "500", "tenant", TENANT],
    ]


def test_a_tenant_that_stays_in_the_eu_is_served_there_or_not_at_all(
    system: KeyferrySystem, management: httpx.Client, sdk: openai.OpenAI, abroad: Upstream, inside: Upstream
) -> None:
    system.cli("preferences", "set", "--tenant", TENANT, "--member", "bob", "default_model=only-abroad")
    refused = management.put("/preferences", json={"eu_only": True})
    assert refused.status_code == 422
    assert "member bob, default_model: only-abroad has no offering inside the European Union" in refused.text
    system.cli("preferences", "unset", "--tenant", TENANT, "--member", "bob", "default_model")
    found = management.get("/preferences").json()
    saved = management.put(
        "/preferences", json={"default_model": "house", "eu_only": True, "revision": found["revision"]}
    )
    assert saved.status_code == 200, saved.text
    late = management.put("/preferences", json={"revision": found["revision"]})
    assert late.status_code == 409

    until("it is in force", lambda: "only-abroad" not in {model.id for model in sdk.models.list().data})
    calls = len(abroad.calls)
    for model in ("house", "inside/house", "default"):
        sdk.chat.completions.create(model=model, messages=MESSAGES)
    assert len(inside.calls) == 3
    for model in ("abroad/house", "only-abroad"):
        with pytest.raises(openai.PermissionDeniedError, match="the endpoint abroad is not known to process requests"):
            sdk.chat.completions.create(model=model, messages=MESSAGES)
    assert len(abroad.calls) == calls
    message = system.cli("preferences", "set", "--tenant", TENANT, "default_model=only-abroad", status=1)
    assert "these have one: " in message
    assert "house" in message.partition("these have one: ")[2]
