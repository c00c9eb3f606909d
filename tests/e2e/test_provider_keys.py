"""Provider keys through the whole running system: added by a person at the command line, paying for a tenant's requests.

The provider's own log is the oracle: which key came, how often, and that none came anywhere else.
"""

import json
from datetime import UTC, datetime, timedelta

import httpx
import psycopg
import pytest

from tests.support.providers.openai_double import (
    ANSWER,
    CHAT_MODEL,
    EMBEDDING_MODEL,
    VECTOR,
    Denial,
    crashed,
    fresh_key,
    key_of,
    out_of_money,
    over_rate,
    running_provider,
    unknown_key,
)
from tests.support.providers.upstream import Reply, pieces_of
from tests.support.vault.keyed_system import KeyedSystem, TenantAccount, vault_url
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(180)

STEPS = ("reachable", "accepted", "has credit", "model or region")


@pytest.fixture(scope="module")
def platform(keyed_system: KeyedSystem) -> tuple[str, str]:
    """Store a key of the platform. Return it and its id."""
    key = keyed_system.provider.issue()
    return key, keyed_system.add("platform", key, "--priority", "500")["key_id"]


# --- the life of a key


def test_the_life_of_a_key_from_the_command_line(keyed_system: KeyedSystem) -> None:
    tenant, provider = "living", keyed_system.provider
    account = keyed_system.new_tenant(tenant, keys="own")
    detail = keyed_system.expect_refusal(tenant, fresh_key())
    assert "does not accept" in detail
    assert all(step in detail for step in ("reachable", "accepted", "has credit", "model")), detail
    assert keyed_system.keys(tenant) == [], "nothing is stored"

    first = provider.issue()
    added = keyed_system.add(tenant, first, "--label", "main")
    key_id = added["key_id"]
    assert (added["status"], added["version"]) == ("valid", 1)
    assert [step["step"] for step in added["last_test"]["steps"]] == ["reachable", "accepted", "credit", "model"]
    assert all(step["duration_ms"] is not None for step in added["last_test"]["steps"] if step["passed"])
    assert "this key" in keyed_system.expect_refusal(tenant, first)

    listed = keyed_system.system.cli("keys", "list", "--tenant", tenant)
    assert key_id in listed
    assert "A9f2" in listed
    assert first not in listed
    shown = keyed_system.system.cli("keys", "test", key_id, "--tenant", tenant)
    assert all(step in shown for step in STEPS), shown
    account.wait_until_paid_with(first)

    second = provider.issue()
    keyed_system.system.cli(
        "keys", "rotate", key_id, "--tenant", tenant, "--key-file", "-", stdin=f"{fresh_key()}\n", status=1
    )
    account.wait_until_paid_with(first)
    rotated = keyed_system.do("rotate", key_id, tenant, "--key-file", "-", stdin=f"{second}\n")
    assert rotated["version"] == 2
    assert rotated["revert_until"] is not None
    account.wait_until_paid_with(second)
    assert keyed_system.do("revert", key_id, tenant)["version"] == 3
    account.wait_until_paid_with(first)

    assert keyed_system.do("disable", key_id, tenant)["status"] == "disabled"
    assert "keyferry keys enable" in account.wait_for_status(403).json()["error"]["message"]
    assert keyed_system.do("enable", key_id, tenant)["status"] == "valid"
    account.wait_until_paid_with(first)
    assert "refused from now on" in keyed_system.remove(key_id, tenant)
    account.wait_for_status(403)
    assert keyed_system.keys(tenant) == []

    actions = ["add", "add", "add", "test", "rotate", "rotate", "revert", "edit", "edit", "remove"]
    done = keyed_system.changes_of_keys(tenant, actions)
    assert [event["outcome"] for event in done].count("refused") == 3
    assert "the audit log is complete and unchanged" in keyed_system.system.cli("audit", "verify")
    everything = keyed_system.system.cli("audit", "list", "--tenant", tenant, "--json")
    assert not any(key in everything for key in (first, second))


@pytest.mark.parametrize("denial", [crashed, over_rate], ids=["crashed", "over-rate"])
def test_an_inconclusive_test_stores_the_key_only_on_request(keyed_system: KeyedSystem, denial: Denial) -> None:
    tenant = f"patient-{denial.__name__.replace('_', '-')}"
    keyed_system.new_tenant(tenant)
    key = keyed_system.provider.issue(denial)
    assert "--save-untested" in keyed_system.expect_refusal(tenant, key)
    assert keyed_system.keys(tenant) == []
    stored = keyed_system.add(tenant, key, "--save-untested")
    assert stored["status"] == "untested"
    keyed_system.provider.deny(key, None)
    assert keyed_system.do("test", stored["key_id"], tenant)["status"] == "valid"


def test_a_key_that_looks_like_another_providers_is_named_and_its_test_decides(keyed_system: KeyedSystem) -> None:
    mark, stored = keyed_system.provider.mark(), keyed_system.keys("demo")
    detail = keyed_system.expect_refusal("demo", f"sk-ant-api03-{fresh_key()}")
    assert "This looks like a key of Anthropic, not of OpenAI" in detail
    assert keyed_system.provider.mark() > mark, "the provider was asked"
    assert keyed_system.keys("demo") == stored


# --- who pays


def test_a_tenants_own_key_pays_for_what_the_official_sdk_asks(keyed_system: KeyedSystem) -> None:
    account, key = keyed_system.new_tenant("acme"), keyed_system.provider.issue()
    key_id = keyed_system.add("acme", key)["key_id"]
    account.wait_until_paid_with(key)
    mark = keyed_system.provider.mark()
    completions = account.openai().chat.completions
    whole = completions.with_raw_response.create(model=CHAT_MODEL, messages=[{"role": "user", "content": "hi"}])
    assert whole.parse().choices[0].message.content == ANSWER
    streamed = completions.create(model=CHAT_MODEL, messages=[{"role": "user", "content": "hi"}], stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed if chunk.choices) == ANSWER
    embedded = account.openai().embeddings.create(model=EMBEDDING_MODEL, input=["one", "two"])
    assert [row.embedding for row in embedded.data] == [VECTOR, VECTOR]
    calls = keyed_system.provider.calls[mark:]
    assert [key_of(call.request) for call in calls] == [key, key, key]
    assert all(account.token not in str(call.request.headers) for call in calls)
    assert whole.headers["x-keyferry-credential"] == "byok"
    (row,) = account.attempts(whole.headers["x-request-id"])
    assert (row["key_source"], row["key_id"], row["provider"]) == ("byok", key_id, "openai")


def test_a_key_goes_to_its_own_origin_alone(keyed_system: KeyedSystem) -> None:
    account, key = keyed_system.new_tenant("homely", keys="own"), keyed_system.provider.issue()
    keyed_system.add("homely", key)
    account.wait_until_paid_with(key)
    with running_provider() as elsewhere:
        moved = {"location": f"{elsewhere.base_url}/chat/completions"}
        for status in (301, 302, 307, 308):
            keyed_system.provider.deny(key, lambda status=status: Reply(status, moved, pieces_of(b"moved")))  # type: ignore[misc]
            assert account.ask().status_code >= 500
        assert elsewhere.calls == [], "no redirect is followed"
        keyed_system.cli(
            *("endpoints", "add", "other", "--tenant", "homely", "--base-url", elsewhere.base_url, "--model", "m"),
            "--no-probe",  # it answers 401 to requests without a key, and an endpoint has none
        )
        until("the other server is asked", lambda: account.ask(model="other/m").status_code and elsewhere.calls)
        assert all(key_of(call.request) == "" for call in elsewhere.calls)
        assert all(key not in str(call.request) for call in elsewhere.calls)


def test_without_its_own_key_a_tenant_of_its_own_policy_is_refused(
    keyed_system: KeyedSystem, platform: tuple[str, str]
) -> None:
    account, key = keyed_system.new_tenant("proud", keys="own"), keyed_system.provider.issue()
    key_id = keyed_system.add("proud", key)["key_id"]
    account.wait_until_paid_with(key)
    assert "refused from now on: its policy allows its own keys only" in keyed_system.remove(key_id, "proud")
    refused = account.wait_for_status(403)
    assert "keyferry keys add" in refused.json()["error"]["message"]
    mark = keyed_system.provider.mark()
    assert account.ask().status_code == 403
    assert keyed_system.provider.mark() == mark, "nobody else's key pays"


def test_without_its_own_key_the_platform_pays_where_the_tenant_allows_it_and_says_so(
    keyed_system: KeyedSystem, platform: tuple[str, str]
) -> None:
    account, key = keyed_system.new_tenant("thrifty", keys="own-then-platform"), keyed_system.provider.issue()
    keyed_system.cli("credits", "grant", "thrifty", "10000", "--reason", "test")
    key_id = keyed_system.add("thrifty", key)["key_id"]
    assert account.wait_until_paid_with(key).headers["x-keyferry-credential"] == "byok"
    assert "paid for by the platform's key" in keyed_system.remove(key_id, "thrifty")
    paid = account.wait_until_paid_with(platform[0])
    assert paid.headers["x-keyferry-credential"] == "platform"
    (row,) = account.attempts(paid.headers["x-request-id"])
    assert (row["key_source"], row["key_id"]) == ("platform", platform[1])


def test_no_tenant_pays_with_anothers_key(keyed_system: KeyedSystem) -> None:
    owner, key = keyed_system.new_tenant("owner", keys="own"), keyed_system.provider.issue()
    stranger = keyed_system.new_tenant("stranger", keys="own")
    key_id = keyed_system.add("owner", key)["key_id"]
    owner.wait_until_paid_with(key)
    mark = keyed_system.provider.mark()
    assert stranger.ask().status_code == 403
    assert keyed_system.provider.mark() == mark
    assert "no key" in keyed_system.cli("keys", "test", key_id, "--tenant", "stranger", status=1)


def test_two_own_servers_are_called_by_their_names(keyed_system: KeyedSystem) -> None:
    account = keyed_system.new_tenant("two-servers", keys="own")
    with running_provider() as lab, running_provider() as shop:
        for name, server in (("lab", lab), ("shop", shop)):
            custom = (
                "keys",
                "add",
                "--provider",
                "custom",
                "--tenant",
                "two-servers",
                "--key-file",
                "-",
                "--label",
                name,
            )
            keyed_system.cli(*custom, "--name", name, "--base-url", server.base_url, stdin=f"{server.issue()}\n")
        for name, called, other in (("lab", lab, shop), ("shop", shop, lab)):
            marks = called.mark(), other.mark()
            until("its views follow", lambda name=name: account.ask(model=f"{name}/{CHAT_MODEL}").status_code == 200)  # type: ignore[misc]
            assert called.mark() > marks[0]
            assert other.mark() == marks[1]
        answer = account.ask(model=f"lab/{CHAT_MODEL}")
        assert answer.headers["x-keyferry-provider"] == "lab"
        (row,) = account.attempts(answer.headers["x-request-id"])
        assert (row["provider"], row["endpoint"], row["key_source"]) == ("custom", "lab", "custom")
        refused = account.ask(model=f"custom/{CHAT_MODEL}")
        assert refused.status_code == 404
        assert f"ask for lab/{CHAT_MODEL}" in refused.json()["error"]["message"]
        listed = httpx.get(
            f"{keyed_system.system.http_url}/v1/models", headers={"authorization": f"Bearer {account.token}"}
        )
        assert f"shop/{CHAT_MODEL}" in {model["id"] for model in listed.json()["data"]}
        usage = json.loads(keyed_system.cli("usage", "--tenant", "two-servers", "--json"))
        assert {row["endpoint"] for row in usage["rows"]} == {"lab", "shop"}


# --- many keys


@pytest.fixture(scope="module")
def twofold(keyed_system: KeyedSystem) -> TenantAccount:
    return keyed_system.new_tenant("twofold", keys="own")


@pytest.mark.parametrize("denial", [over_rate, out_of_money, unknown_key], ids=["429", "no-credit", "401"])
def test_the_second_key_pays_where_the_first_is_refused(
    keyed_system: KeyedSystem, twofold: TenantAccount, denial: Denial
) -> None:
    first, second = keyed_system.provider.issue(), keyed_system.provider.issue()
    first_id = keyed_system.add(twofold.tenant, first, "--priority", "10")["key_id"]
    second_id = keyed_system.add(twofold.tenant, second, "--priority", "20")["key_id"]
    twofold.wait_until_paid_with(first)
    until("both keys are known", lambda: len(keyed_system.keys(twofold.tenant)) == 2)
    keyed_system.provider.deny(first, denial)

    def ask_until_fallback() -> httpx.Response | None:
        answer = twofold.ask()
        return answer if answer.status_code == 200 and answer.headers["x-keyferry-attempts"] == "2" else None

    answer = until("the second key pays", ask_until_fallback)
    failed_attempts = twofold.attempts(answer.headers["x-request-id"], 2)
    assert [(row["key_id"], row["outcome"]) for row in failed_attempts] == [
        (first_id, "failed"),
        (second_id, "completed"),
    ]
    for key_id in (first_id, second_id):
        keyed_system.remove(key_id, twofold.tenant)


def test_a_429_throttles_its_key_at_every_router_and_nobody_elses(keyed_system: KeyedSystem) -> None:
    account, other = keyed_system.new_tenant("throttled", keys="own"), keyed_system.new_tenant("calm", keys="own")
    first, second, others = (keyed_system.provider.issue() for _ in range(3))
    first_id = keyed_system.add("throttled", first, "--priority", "10")["key_id"]
    keyed_system.add("throttled", second, "--priority", "20")
    keyed_system.add("calm", others)
    account.wait_until_paid_with(first)
    until("both keys are known", lambda: len(keyed_system.keys("throttled")) == 2)
    keyed_system.provider.deny(first, over_rate)
    assert account.wait_until_paid_with(second).headers["x-keyferry-attempts"] == "1"
    mark = keyed_system.provider.mark()
    for _ in range(5):
        assert account.ask().status_code == 200
    assert first not in keyed_system.provider.keys_since(mark), "it is left alone until its time is over"
    other.wait_until_paid_with(others)

    def cooling(tenant: str) -> list[str]:
        rows = json.loads(keyed_system.cli("health", "list", "--tenant", tenant, "--json"))["targets"]
        return [row["target"]["key_id"] for row in rows if row["state"] == "cooling"]

    assert cooling("throttled") == [first_id]
    assert cooling("calm") == []


def test_keys_of_one_priority_share_by_their_weights(keyed_system: KeyedSystem) -> None:
    account = keyed_system.new_tenant("shared", keys="own")
    heavy, light = keyed_system.provider.issue(), keyed_system.provider.issue()
    keyed_system.add("shared", light, "--weight", "1")
    heavy_id = keyed_system.add("shared", heavy, "--weight", "1000")["key_id"]
    account.wait_until_paid_with(heavy)
    mark = keyed_system.provider.mark()
    for _ in range(20):
        assert account.ask().status_code == 200
    used = keyed_system.provider.keys_since(mark)
    assert used[heavy] > 15, "a light key takes a thousandth of the calls"
    keyed_system.do("edit", heavy_id, "shared", "--weight", "1")
    account.wait_until_paid_with(light)


def test_a_key_revoked_at_its_provider_is_retested_and_not_used_again(keyed_system: KeyedSystem) -> None:
    account = keyed_system.new_tenant("betrayed", keys="own")
    first, second = keyed_system.provider.issue(), keyed_system.provider.issue()
    first_id = keyed_system.add("betrayed", first, "--priority", "10")["key_id"]
    keyed_system.add("betrayed", second, "--priority", "20")
    account.wait_until_paid_with(first)
    _let_ten_minutes_pass(keyed_system, first_id)
    keyed_system.provider.withdraw(first)
    account.wait_for_status(200)
    until("the vault knows", lambda: keyed_system.key("betrayed", first_id)["status"] == "invalid")
    until(
        "the routers know, too",
        lambda: account.wait_until_paid_with(second).headers["x-keyferry-attempts"] == "1",
    )
    *_, test = keyed_system.changes_of_keys("betrayed", ["add", "add", "test"])
    assert (test["actor"], test["details"]["status"]) == ("vault", "invalid")


def _let_ten_minutes_pass(keyed_system: KeyedSystem, key_id: str) -> None:
    """Since the key's last test, after which refusals are no news for a while."""
    earlier = (datetime.now(UTC) - timedelta(minutes=10)).isoformat()
    with psycopg.connect(vault_url(keyed_system.system.home)) as connection:
        connection.execute(
            "UPDATE key_vault.provider_keys SET last_test = jsonb_set(last_test, '{tested_at}', to_jsonb(%s::text))"
            " WHERE key_id = %s",
            (earlier, key_id),
        )


def test_a_key_is_paused_once_its_monthly_limit_is_spent(keyed_system: KeyedSystem) -> None:
    account, key = keyed_system.new_tenant("frugal", keys="own"), keyed_system.provider.issue()
    key_id = keyed_system.add("frugal", key, "--monthly-limit", "0.000001")["key_id"]
    # Before the router knows the key it refuses as well, because there is none.
    until("its monthly limit is spent", lambda: "monthly limit" in account.ask().text)
    shown = keyed_system.key("frugal", key_id)
    assert shown["over_limit"]
    assert shown["status"] == "valid"
    mark = keyed_system.provider.mark()
    assert account.ask().status_code == 403
    assert keyed_system.provider.mark() == mark
    keyed_system.do("edit", key_id, "frugal", "--clear", "monthly_limit_usd")
    account.wait_until_paid_with(key)


# --- the platform's keys out of the environment


def test_an_import_adds_each_key_once_and_restores_no_removed_one(keyed_system: KeyedSystem) -> None:
    key = keyed_system.provider.issue().removeprefix("sk-proj-")
    keyed_system.provider.deny(key, None)
    variable = {"MISTRAL_API_KEY": key}
    (taken,) = json.loads(keyed_system.cli("keys", "import", "--json", settings=variable))
    assert taken["key"]["tenant"] == "platform"
    assert taken["key"]["status"] == "valid"
    again = keyed_system.cli("keys", "import", settings=variable, status=1)
    assert "not imported" in again
    keyed_system.remove(taken["key"]["key_id"], "platform")
    assert "it is not imported again" in keyed_system.cli("keys", "import", settings=variable, status=1)
    assert [key["provider"] for key in keyed_system.keys("platform") if key["provider"] == "mistral"] == []
