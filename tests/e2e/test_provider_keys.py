"""Provider keys through the whole running system: added by a person at the command line, paying for a tenant's requests.

The provider's own log is the oracle: which key came, how often, and that none came anywhere else.
"""

import json
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.support.key_journeys import Buyer, KeyDesk, vault_url
from tests.support.provider_double import (
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
from tests.support.upstream import Reply, pieces_of
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(180)

STEPS = ("reachable", "accepted", "has credit", "model or region")


@pytest.fixture(scope="module")
def platform(desk: KeyDesk) -> tuple[str, str]:
    """The platform's key, and its id."""
    key = desk.provider.issue()
    return key, desk.add("platform", key, "--priority", "500")["key_id"]


# --- the life of a key


def test_the_life_of_a_key_from_the_command_line(desk: KeyDesk) -> None:
    tenant, provider = "living", desk.provider
    buyer = desk.buyer(tenant, keys="own")
    detail = desk.refused(tenant, fresh_key())
    assert "does not accept" in detail
    assert all(step in detail for step in ("reachable", "accepted", "has credit", "model")), detail
    assert desk.keys(tenant) == [], "nothing is stored"

    first = provider.issue()
    added = desk.add(tenant, first, "--label", "main")
    key_id = added["key_id"]
    assert (added["status"], added["version"]) == ("valid", 1)
    assert [step["step"] for step in added["last_test"]["steps"]] == ["reachable", "accepted", "credit", "model"]
    assert all(step["duration_ms"] is not None for step in added["last_test"]["steps"] if step["passed"])
    assert "this key" in desk.refused(tenant, first)

    listed = desk.system.cli("keys", "list", "--tenant", tenant)
    assert key_id in listed
    assert "A9f2" in listed
    assert first not in listed
    shown = desk.system.cli("keys", "test", key_id, "--tenant", tenant)
    assert all(step in shown for step in STEPS), shown
    buyer.until_paid_with(first)

    second = provider.issue()
    desk.system.cli("keys", "rotate", key_id, "--tenant", tenant, "--key-file", "-", stdin=f"{fresh_key()}\n", status=1)
    buyer.until_paid_with(first)
    rotated = desk.do("rotate", key_id, tenant, "--key-file", "-", stdin=f"{second}\n")
    assert rotated["version"] == 2
    assert rotated["revert_until"] is not None
    buyer.until_paid_with(second)
    assert desk.do("revert", key_id, tenant)["version"] == 3
    buyer.until_paid_with(first)

    assert desk.do("disable", key_id, tenant)["status"] == "disabled"
    assert "keyferry keys enable" in buyer.until_asked(403).json()["error"]["message"]
    assert desk.do("enable", key_id, tenant)["status"] == "valid"
    buyer.until_paid_with(first)
    assert "refused from now on" in desk.remove(key_id, tenant)
    buyer.until_asked(403)
    assert desk.keys(tenant) == []

    done = [(event["action"], event["outcome"]) for event in desk.audit(tenant) if event["action"] != "key.lease"]
    told = ["add", "add", "add", "test", "rotate", "rotate", "revert", "edit", "edit", "remove"]
    assert [action for action, _ in done] == [f"key.{action}" for action in told]
    assert [outcome for _, outcome in done].count("refused") == 3
    assert "the audit is whole and unchanged" in desk.system.cli("audit", "verify")
    everything = desk.system.cli("audit", "list", "--tenant", tenant, "--json")
    assert not any(key in everything for key in (first, second))


@pytest.mark.parametrize("denial", [crashed, over_rate], ids=["crashed", "over-rate"])
def test_what_says_nothing_of_a_key_stores_it_only_on_request(desk: KeyDesk, denial: Denial) -> None:
    tenant = f"patient-{denial.__name__.replace('_', '-')}"
    desk.buyer(tenant)
    key = desk.provider.issue(denial)
    assert "--save-untested" in desk.refused(tenant, key)
    assert desk.keys(tenant) == []
    stored = desk.add(tenant, key, "--save-untested")
    assert stored["status"] == "untested"
    desk.provider.deny(key, None)
    assert desk.do("test", stored["key_id"], tenant)["status"] == "valid"


def test_a_key_of_another_provider_is_named_before_anything_is_sent(desk: KeyDesk) -> None:
    mark = desk.provider.mark()
    detail = desk.refused("demo", f"sk-ant-api03-{fresh_key()}")
    assert "Anthropic" in detail
    assert desk.provider.mark() == mark


# --- who pays


def test_a_tenants_own_key_pays_for_what_the_official_sdk_asks(desk: KeyDesk) -> None:
    buyer, key = desk.buyer("acme"), desk.provider.issue()
    key_id = desk.add("acme", key)["key_id"]
    buyer.until_paid_with(key)
    mark = desk.provider.mark()
    completions = buyer.openai().chat.completions
    whole = completions.with_raw_response.create(model=CHAT_MODEL, messages=[{"role": "user", "content": "hi"}])
    assert whole.parse().choices[0].message.content == ANSWER
    streamed = completions.create(model=CHAT_MODEL, messages=[{"role": "user", "content": "hi"}], stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed if chunk.choices) == ANSWER
    embedded = buyer.openai().embeddings.create(model=EMBEDDING_MODEL, input=["one", "two"])
    assert [row.embedding for row in embedded.data] == [VECTOR, VECTOR]
    calls = desk.provider.calls[mark:]
    assert [key_of(call.asked) for call in calls] == [key, key, key]
    assert all(buyer.token not in str(call.asked.headers) for call in calls)
    assert whole.headers["x-keyferry-credential"] == "byok"
    (row,) = buyer.attempts(whole.headers["x-request-id"])
    assert (row["key_source"], row["key_id"], row["provider"]) == ("byok", key_id, "openai")


def test_a_key_goes_to_its_own_origin_alone(desk: KeyDesk) -> None:
    buyer, key = desk.buyer("homely", keys="own"), desk.provider.issue()
    desk.add("homely", key)
    buyer.until_paid_with(key)
    with running_provider() as elsewhere:
        moved = {"location": f"{elsewhere.base_url}/chat/completions"}
        for status in (301, 302, 307, 308):
            desk.provider.deny(key, lambda status=status: Reply(status, moved, pieces_of(b"moved")))  # type: ignore[misc]
            assert buyer.ask().status_code >= 500
        assert elsewhere.calls == [], "no redirect is followed"
        desk.cli(*("endpoints", "add", "other", "--tenant", "homely", "--base-url", elsewhere.base_url, "--model", "m"))
        until("the other server is asked", lambda: buyer.ask(model="other/m").status_code and elsewhere.calls)
        assert all(key_of(call.asked) == "" for call in elsewhere.calls)
        assert all(key not in str(call.asked) for call in elsewhere.calls)


def test_without_its_own_key_a_tenant_of_its_own_policy_is_refused(desk: KeyDesk, platform: tuple[str, str]) -> None:
    buyer, key = desk.buyer("proud", keys="own"), desk.provider.issue()
    key_id = desk.add("proud", key)["key_id"]
    buyer.until_paid_with(key)
    assert "refused from now on: its policy allows its own keys only" in desk.remove(key_id, "proud")
    refused = buyer.until_asked(403)
    assert "keyferry keys add" in refused.json()["error"]["message"]
    mark = desk.provider.mark()
    assert buyer.ask().status_code == 403
    assert desk.provider.mark() == mark, "nobody else's key pays"


def test_without_its_own_key_the_platform_pays_where_the_tenant_allows_it_and_says_so(
    desk: KeyDesk, platform: tuple[str, str]
) -> None:
    buyer, key = desk.buyer("thrifty", keys="own-then-platform"), desk.provider.issue()
    key_id = desk.add("thrifty", key)["key_id"]
    assert buyer.until_paid_with(key).headers["x-keyferry-credential"] == "byok"
    assert "paid for by the platform's key" in desk.remove(key_id, "thrifty")
    paid = buyer.until_paid_with(platform[0])
    assert paid.headers["x-keyferry-credential"] == "platform"
    (row,) = buyer.attempts(paid.headers["x-request-id"])
    assert (row["key_source"], row["key_id"]) == ("platform", platform[1])


def test_no_tenant_pays_with_anothers_key(desk: KeyDesk) -> None:
    owner, key = desk.buyer("owner", keys="own"), desk.provider.issue()
    stranger = desk.buyer("stranger", keys="own")
    key_id = desk.add("owner", key)["key_id"]
    owner.until_paid_with(key)
    mark = desk.provider.mark()
    assert stranger.ask().status_code == 403
    assert desk.provider.mark() == mark
    assert "no key" in desk.cli("keys", "test", key_id, "--tenant", "stranger", status=1)


# --- many keys


@pytest.fixture(scope="module")
def twofold(desk: KeyDesk) -> Buyer:
    return desk.buyer("twofold", keys="own")


@pytest.mark.parametrize("denial", [over_rate, out_of_money, unknown_key], ids=["429", "no-credit", "401"])
def test_the_second_key_pays_where_the_first_is_refused(desk: KeyDesk, twofold: Buyer, denial: Denial) -> None:
    first, second = desk.provider.issue(), desk.provider.issue()
    first_id = desk.add(twofold.tenant, first, "--priority", "10")["key_id"]
    second_id = desk.add(twofold.tenant, second, "--priority", "20")["key_id"]
    twofold.until_paid_with(first)
    until("both keys are known", lambda: len(desk.keys(twofold.tenant)) == 2)
    desk.provider.deny(first, denial)

    def fell_back() -> bool:
        answer = twofold.ask()
        return answer.status_code == 200 and answer.headers["x-keyferry-attempts"] == "2"

    until("the second key pays", fell_back)
    answer = twofold.ask()
    assert answer.status_code == 200
    failed_attempts = twofold.attempts(answer.headers["x-request-id"], 2)
    assert [(row["key_id"], row["outcome"]) for row in failed_attempts] == [
        (first_id, "failed"),
        (second_id, "completed"),
    ]
    for key_id in (first_id, second_id):
        desk.remove(key_id, twofold.tenant)


def test_keys_of_one_priority_share_by_their_weights(desk: KeyDesk) -> None:
    buyer = desk.buyer("shared", keys="own")
    heavy, light = desk.provider.issue(), desk.provider.issue()
    desk.add("shared", light, "--weight", "1")
    heavy_id = desk.add("shared", heavy, "--weight", "1000")["key_id"]
    buyer.until_paid_with(heavy)
    mark = desk.provider.mark()
    for _ in range(20):
        assert buyer.ask().status_code == 200
    used = desk.provider.keys_since(mark)
    assert used[heavy] > 15, "a light key takes a thousandth of the calls"
    desk.do("edit", heavy_id, "shared", "--weight", "1")
    buyer.until_paid_with(light)


def test_a_key_that_its_provider_withdrew_is_tested_by_itself_and_used_no_more(desk: KeyDesk) -> None:
    buyer = desk.buyer("betrayed", keys="own")
    first, second = desk.provider.issue(), desk.provider.issue()
    first_id = desk.add("betrayed", first, "--priority", "10")["key_id"]
    desk.add("betrayed", second, "--priority", "20")
    buyer.until_paid_with(first)
    _let_ten_minutes_pass(desk, first_id)
    desk.provider.withdraw(first)
    buyer.until_asked(200)
    until("the vault knows", lambda: desk.key("betrayed", first_id)["status"] == "invalid")
    assert buyer.until_paid_with(second).headers["x-keyferry-attempts"] == "1"
    tests = [event for event in desk.audit("betrayed") if event["action"] == "key.test"]
    assert [(event["actor"], event["details"]["status"]) for event in tests] == [("vault", "invalid")]


def _let_ten_minutes_pass(desk: KeyDesk, key_id: str) -> None:
    """Since the key's last test, after which refusals are no news for a while."""
    earlier = (datetime.now(UTC) - timedelta(minutes=10)).isoformat()
    with psycopg.connect(vault_url(desk.system.home)) as connection:
        connection.execute(
            "UPDATE key_vault.provider_keys SET last_test = jsonb_set(last_test, '{tested_at}', to_jsonb(%s::text))"
            " WHERE key_id = %s",
            (earlier, key_id),
        )


def test_a_key_rests_once_its_monthly_limit_is_spent(desk: KeyDesk) -> None:
    buyer, key = desk.buyer("frugal", keys="own"), desk.provider.issue()
    key_id = desk.add("frugal", key, "--monthly-limit", "0.000001")["key_id"]
    refused = buyer.until_asked(403)
    assert "monthly limit" in refused.json()["error"]["message"]
    shown = desk.key("frugal", key_id)
    assert shown["over_limit"]
    assert shown["status"] == "valid"
    mark = desk.provider.mark()
    assert buyer.ask().status_code == 403
    assert desk.provider.mark() == mark
    desk.do("edit", key_id, "frugal", "--clear", "monthly_limit_usd")
    buyer.until_paid_with(key)


# --- the platform's keys out of the environment


def test_an_import_brings_each_key_once_and_no_removed_one_back(desk: KeyDesk) -> None:
    key = desk.provider.issue().removeprefix("sk-proj-")
    desk.provider.deny(key, None)
    variable = {"MISTRAL_API_KEY": key}
    (taken,) = json.loads(desk.cli("keys", "import", "--json", settings=variable))
    assert taken["key"]["tenant"] == "platform"
    assert taken["key"]["status"] == "valid"
    again = desk.cli("keys", "import", settings=variable, status=1)
    assert "not imported" in again
    desk.remove(taken["key"]["key_id"], "platform")
    assert "it is not imported again" in desk.cli("keys", "import", settings=variable, status=1)
    assert [key["provider"] for key in desk.keys("platform") if key["provider"] == "mistral"] == []
