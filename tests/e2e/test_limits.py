"""Limits over HTTP: the headers of an answer, a refusal that OpenAI's SDK understands, and changes that act at once."""

import asyncio
import json

import httpx
import openai

from keyferry.client import connect
from keyferry.client.errors import LimitReached
from tests.support.system.keyferry_system import KeyferrySystem
from tests.support.waiting import until

MESSAGES = [{"role": "user", "content": "hi"}]
TENANT = "limited"


def new_token(system: KeyferrySystem, *arguments: str) -> dict[str, str]:
    made: dict[str, str] = json.loads(system.cli("tokens", "create", "--tenant", TENANT, "--json", *arguments))
    return made


def ask(system: KeyferrySystem, token: str, **more: object) -> httpx.Response:
    body = {"model": "echo", "messages": MESSAGES, **more}
    headers = {"authorization": f"Bearer {token}"}
    return httpx.post(f"{system.http_url}/v1/chat/completions", json=body, headers=headers, timeout=30)


def test_limits_of_a_tenant_and_a_token_are_reported_and_enforced(system: KeyferrySystem) -> None:
    system.cli("tenants", "create", TENANT, "--tier", "free", "--rpm", "1000", "--concurrency", "unlimited")
    token = new_token(system)
    first = until("the token is known", lambda: answer if (answer := ask(system, token["token"])).is_success else None)
    assert first.headers["x-ratelimit-limit-requests"] == "1000"
    assert first.headers["x-ratelimit-limit-tokens"] == "10000"
    before = int(first.headers["x-ratelimit-remaining-requests"])
    assert before < 1000
    assert first.headers["x-ratelimit-reset-requests"].endswith("s")

    too_large = ask(system, token["token"], max_tokens=20_000)
    assert (too_large.status_code, too_large.json()["error"]["param"]) == (400, "max_tokens")
    assert "upgrade to starter (`keyferry tenants update limited --tier starter`)" in too_large.text

    system.cli("tokens", "limit", token["token_id"], "--tenant", TENANT, "--rpm", "1")
    refused = until(
        "its limit acts", lambda: answer if not (answer := ask(system, token["token"])).is_success else None
    )
    assert refused.status_code == 429
    error = refused.json()["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert "the client token's own limit of 1 requests per minute is reached" in error["message"]
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    with openai.OpenAI(base_url=f"{system.http_url}/v1", api_key=token["token"], max_retries=0) as client:

        def is_refused() -> bool:
            try:
                client.chat.completions.create(model="echo", messages=[{"role": "user", "content": "hi"}])
            except openai.RateLimitError as error:
                return "retry-after" in error.response.headers
            return False

        until("OpenAI's SDK sees a rate limit", is_refused)

    system.cli("tokens", "limit", token["token_id"], "--tenant", TENANT, "--rpm", "default")
    until("its limit is gone", lambda: ask(system, token["token"]).is_success)


async def refuse_on_the_bus(state: dict[str, str]) -> LimitReached:
    """Send chats over the bus until one is refused."""
    async with (
        connect(state["nats_url"], tenant="demo", nkey_file=state["client_nkey_file"], max_retries=0) as client,
        asyncio.timeout(30),
    ):
        while True:
            try:
                answer = await client.chat(model="echo", messages=MESSAGES)
            except LimitReached as refused:
                return refused
            limits = answer.route.rate_limits
            assert limits is None or limits.requests is None or limits.requests.limit == 1


def test_a_program_on_the_bus_gets_the_same_figures(system: KeyferrySystem) -> None:
    state = json.loads((system.home / "run" / "state.json").read_text())
    system.cli("tenants", "update", "demo", "--rpm", "1")
    try:
        refused = asyncio.run(refuse_on_the_bus(state))
    finally:
        system.cli("tenants", "update", "demo", "--rpm", "unlimited")
    assert refused.rate_limits is not None
    assert refused.rate_limits.requests is not None
    assert refused.rate_limits.requests.remaining == 0
    assert refused.retry_after_seconds is not None


def test_the_table_of_tiers_is_shown(system: KeyferrySystem) -> None:
    lines = system.cli("tiers").splitlines()
    assert lines[0].split() == ["TIER", "RPM", "TPM", "CONCURRENCY", "KEYS", "PER", "PROVIDER", "FEATURES"]
    assert [line.split()[0] for line in lines[1:-1]] == ["free", "starter", "professional", "enterprise"]
    assert lines[-1].startswith("The gateway does not enforce key_management_api, support:")
