"""Preferences about the body: added where the caller set nothing, as far as the provider takes them, and reported."""

import json
from typing import Any

import orjson
import pytest

from keyferry.contracts.chat import AttemptRun, BodyDefaults
from keyferry.contracts.failure import FailureClass, Where
from keyferry.contracts.residency import Residency
from keyferry.contracts.usage import RequestKind
from services.provider_worker.adapters.adapter import RefusedByAdapter, UpstreamRequest, bad_request
from services.provider_worker.adapters.registry import ADAPTERS
from services.provider_worker.body_defaults import adapt_with_defaults
from services.provider_worker.echo_call import EchoProvider
from services.provider_worker.residency_check import check_residency
from tests.support.providers.attempt_runs import attempt_run

MESSAGES = [{"role": "user", "content": "hello"}]


def run_with(defaults: BodyDefaults | None, **changes: Any) -> AttemptRun:
    return attempt_run(**changes).model_copy(update={"body_defaults": defaults})


def body_of(**parameters: Any) -> bytes:
    return orjson.dumps({"model": "some-model", "messages": MESSAGES, **parameters})


def adapted(defaults: BodyDefaults, body: bytes, **changes: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    found = adapt_with_defaults(run_with(defaults, **changes), body, lambda document: document)
    return orjson.loads(found.result), found.added


def test_what_the_caller_does_not_set_is_added() -> None:
    document, added = adapted(BodyDefaults(temperature=0.5, max_tokens=700), body_of())
    assert (document["temperature"], document["max_tokens"], added) == (0.5, 700, ("temperature", "max_tokens"))
    assert document["messages"] == MESSAGES


@pytest.mark.parametrize("parameters", [{"max_tokens": 50}, {"max_completion_tokens": 50}])
def test_a_callers_own_values_stay_however_small(parameters: dict[str, int]) -> None:
    defaults = BodyDefaults(temperature=0.5, max_tokens=700, most_tokens=700)
    document, added = adapted(defaults, body_of(temperature=0, **parameters))
    assert (document["temperature"], added) == (0, ())
    assert {name: document[name] for name in parameters} == parameters


def test_null_is_not_set() -> None:
    document, added = adapted(BodyDefaults(temperature=0.5, max_tokens=700), body_of(temperature=None, max_tokens=None))
    assert (document["temperature"], document["max_tokens"], added) == (0.5, 700, ("temperature", "max_tokens"))


def test_the_callers_bytes_stay_as_they_are() -> None:
    body = b' {"messages": [],  "seed": 123456789012345678901234567890}'
    found = adapt_with_defaults(run_with(BodyDefaults(temperature=1.0)), body, bytes)
    assert found.result == b' {"temperature":1.0,"messages": [],  "seed": 123456789012345678901234567890}'
    repaired = b'{"messages": [], "text": "\\ud800"}'
    again = adapt_with_defaults(run_with(BodyDefaults(temperature=1.0)), repaired, bytes)
    assert json.loads(again.result)["temperature"] == 1.0
    assert adapt_with_defaults(run_with(None), body, bytes).result is body


def test_embeddings_and_what_is_no_object_get_nothing() -> None:
    defaults = BodyDefaults(temperature=0.5, max_tokens=700)
    assert adapt_with_defaults(run_with(defaults, kind=RequestKind.EMBEDDING), b"{}", bytes).added == ()
    assert adapt_with_defaults(run_with(defaults), b"[]", bytes).result == b"[]"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_more_than_a_request_may_have_is_refused_with_the_name_of_the_preference(name: str) -> None:
    defaults = BodyDefaults(max_tokens=1000, most_tokens=1000)
    with pytest.raises(RefusedByAdapter, match="the preference max_tokens_per_request allows 1000") as refused:
        adapted(defaults, body_of(**{name: 1001}))
    assert refused.value.failure.failure_class is FailureClass.BAD_REQUEST
    assert refused.value.failure.param == name
    assert adapted(defaults, body_of(**{name: 1000}))[1] == ()


def test_the_answers_of_a_request_share_what_it_may_have() -> None:
    defaults = BodyDefaults(max_tokens=900, most_tokens=1000)
    with pytest.raises(RefusedByAdapter, match="`max_tokens` is 500 for each of 3 answers, and the preference"):
        adapted(defaults, body_of(n=3, max_tokens=500))
    with pytest.raises(RefusedByAdapter, match="`n` is 1001, and the preference max_tokens_per_request allows 1000"):
        adapted(defaults, body_of(n=1001))
    with pytest.raises(RefusedByAdapter, match="`n` must be an integer"):
        adapted(defaults, body_of(n=3.0))
    assert adapted(defaults, body_of(n=2, max_tokens=500))[1] == ()
    assert adapted(defaults, body_of(n=3))[0]["max_tokens"] == 333
    assert adapted(defaults, body_of(n=None))[0]["max_tokens"] == 900
    assert adapted(BodyDefaults(max_tokens=900), body_of(n=3))[0]["max_tokens"] == 900, "only a limit is shared"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "n_predict"])
@pytest.mark.parametrize("value", ["5000", 5000.0, True, [5000], 0, -1])
def test_a_limit_of_another_form_is_no_way_around_it(name: str, value: Any) -> None:
    with pytest.raises(RefusedByAdapter, match="must be an integer"):
        adapted(BodyDefaults(max_tokens=1000, most_tokens=1000), body_of(**{name: value}))


def test_a_servers_own_name_for_the_limit_is_no_way_around_it() -> None:
    with pytest.raises(RefusedByAdapter, match="`n_predict` is 1001, and the preference"):
        adapted(BodyDefaults(max_tokens=1000, most_tokens=1000), body_of(max_tokens=10, n_predict=1001))


def request(
    provider: str, defaults: BodyDefaults, model: str, **parameters: Any
) -> tuple[UpstreamRequest, tuple[str, ...]]:
    run = run_with(defaults, provider=provider, model=model, base_url=None)
    found = adapt_with_defaults(run, body_of(**parameters), lambda document: ADAPTERS[provider].request(run, document))
    return found.result, found.added


def test_a_default_that_a_model_does_not_take_is_left_out() -> None:
    defaults = BodyDefaults(temperature=0.5, max_tokens=700)
    sent, added = request("openai", defaults, "gpt-4o")
    assert added == ("temperature", "max_tokens")
    assert orjson.loads(sent.content)["temperature"] == 0.5
    sent, added = request("openai", defaults, "o3")
    assert added == ("max_tokens",)
    document = orjson.loads(sent.content)
    assert "temperature" not in document
    assert document["max_completion_tokens"] == 700


def test_a_default_reaches_a_provider_with_its_own_api() -> None:
    sent, added = request("anthropic", BodyDefaults(temperature=0.5, max_tokens=700), "claude-haiku-4-5")
    document = orjson.loads(sent.content)
    assert (document["max_tokens"], document["temperature"], added) == (700, 0.5, ("temperature", "max_tokens"))


def test_a_default_does_not_make_thinking_fail_and_the_limit_of_a_request_does() -> None:
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 2000}}
    _, added = request("anthropic", BodyDefaults(max_tokens=700), "claude-haiku-4-5", **thinking)
    assert added == ()
    with pytest.raises(RefusedByAdapter, match="budget_tokens"):
        request("anthropic", BodyDefaults(max_tokens=700, most_tokens=700), "claude-haiku-4-5", **thinking)


def test_a_request_that_fails_without_defaults_fails_as_it_would() -> None:
    def refuse(document: bytes) -> bytes:
        raise bad_request("`messages` is missing.", "messages")

    with pytest.raises(RefusedByAdapter, match="`messages` is missing"):
        adapt_with_defaults(run_with(BodyDefaults(temperature=0.5, max_tokens=700)), b'{"a":1}', refuse)


def test_the_echo_follows_them_too() -> None:
    call = EchoProvider().prepare(run_with(BodyDefaults(max_tokens=100), provider="echo", model="echo"), body_of())
    assert call.added == ("max_tokens",)


# --- residency


def where(**facts: Any) -> AttemptRun:
    fields = facts.pop("key_fields", {})
    return attempt_run(key_fields=fields).model_copy(update={"residency": Residency(**facts)})


@pytest.mark.parametrize(
    "facts",
    [
        {"eu_only": True, "eu": False},
        {"eu_only": True, "eu": True, "region": "eu", "key_fields": {"region": "us-east-1"}},
        {"eu_only": True, "eu": True, "region": "eu-west-2", "key_fields": {"region": "eu-west-2"}},
        {"eu_only": True, "eu": True, "region": "europe-west6", "key_fields": {"location": "europe-west6"}},
        {"allowed_regions": [["eu"]], "eu": False},
        {"allowed_regions": [["eu"], ["us"]], "eu": True},
        {"allowed_regions": [["us"]], "region": "us-east-1", "key_fields": {"region": "eu-central-1"}},
    ],
)
def test_the_worker_refuses_what_would_be_processed_elsewhere(facts: dict[str, Any]) -> None:
    with pytest.raises(RefusedByAdapter) as refused:
        check_residency(where(**facts))
    failure = refused.value.failure
    assert (failure.failure_class, failure.where) == (FailureClass.POLICY, Where.NOT_SENT)


@pytest.mark.parametrize(
    "facts",
    [
        {"eu_only": True, "eu": True},
        {"eu_only": True, "eu": True, "region": "eu-central-1", "key_fields": {"region": "eu-central-1"}},
        {"allowed_regions": [["us"]], "region": "us-east-1", "key_fields": {"region": "us-east-1"}},
        {"allowed_regions": [["eu"], ["eu-central-1"]], "eu": True, "region": "eu-central-1"},
    ],
)
def test_the_worker_makes_what_is_processed_where_it_may_be(facts: dict[str, Any]) -> None:
    check_residency(where(**facts))


@pytest.mark.parametrize(
    ("provider", "base_url", "fields"),
    [
        ("mistral", "https://proxy.example/v1", {}),
        ("bedrock", "https://bedrock-runtime.us-east-1.amazonaws.com", {"region": "eu-central-1"}),
        ("vllm", "http://10.0.0.1/v1", {}),
        ("mistral", None, {}),
    ],
)
def test_the_worker_believes_a_provider_about_its_own_addresses_only(
    provider: str, base_url: str | None, fields: dict[str, str]
) -> None:
    for limits in ({"eu_only": True}, {"allowed_regions": [["eu", "eu-central-1"]]}):
        residency = Residency.model_validate({**limits, "eu": True, "region": fields.get("region")})
        run = attempt_run(provider=provider, base_url=base_url, key_fields=fields)
        with pytest.raises(RefusedByAdapter):
            check_residency(run.model_copy(update={"residency": residency, "key_id": "key_1"}))
    own = {"mistral": "https://api.mistral.ai/v1", "bedrock": "https://bedrock-runtime.eu-central-1.amazonaws.com"}
    if provider in own:
        run = attempt_run(provider=provider, base_url=own[provider], key_fields=fields)
        check_residency(run.model_copy(update={"residency": residency, "key_id": "key_1"}))


def test_the_worker_believes_the_owner_of_a_server_and_nobody_about_a_providers_proxy() -> None:
    stated = {"processed_in": "eu"}
    for limits in ({"eu_only": True}, {"allowed_regions": [["eu"]]}):
        planned, unplanned = (Residency.model_validate({**limits, "eu": eu}) for eu in (True, False))
        server = attempt_run(provider="vllm", base_url="http://10.0.0.1/v1", key_fields=stated)
        check_residency(server.model_copy(update={"residency": planned, "key_id": "key_1"}))
        proxy = attempt_run(provider="mistral", base_url="https://proxy.example/v1", key_fields=stated)
        for run, residency in ((server, unplanned), (proxy, planned)):
            with pytest.raises(RefusedByAdapter):
                check_residency(run.model_copy(update={"residency": residency, "key_id": "key_1"}))


def test_without_limits_everything_goes() -> None:
    check_residency(attempt_run(key_fields={"region": "us-east-1"}))
