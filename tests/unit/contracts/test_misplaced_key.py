"""A provider key or a client token in the place of a name is refused, and no name is."""

import json
import secrets

import pytest
from pydantic import ValidationError

from keyferry.contracts import client_token
from keyferry.contracts.chat import ChatRequest
from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.misplaced_key import SHORTEST, may_be_key
from keyferry.contracts.own_credentials import OPERATOR_PREFIX
from keyferry.contracts.providers import PROVIDERS
from keyferry.contracts.route import SaveEndpoint
from keyferry.contracts.tenancy import CreateClientToken, CreateTenant
from keyferry.runtime.http.openai_body import read_chat, read_embedding
from keyferry.runtime.http.problem import HttpProblem
from services.ingress.request_headers import parse_operation, parse_tags
from services.provider_worker.adapters.adapter import RefusedByAdapter
from services.provider_worker.adapters.registry import adapter_for
from tests.support.providers.attempt_runs import attempt_run
from tests.support.repository.files import ROOT

HEX = "0123456789abcdef0123456789abcdef"
KEYS = [
    client_token.mint().reveal(),
    OPERATOR_PREFIX + secrets.token_urlsafe(32),
    "sk-" + HEX,
    "sk-proj-" + secrets.token_hex(20) + "_" + secrets.token_urlsafe(90),
    "sk-ant-api03-" + HEX + "-" + secrets.token_urlsafe(60) + "AA",
    "AIzaSy" + HEX,
    "AKIA0123456789ABCDEF",
    "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9." + HEX,
    *(prefix + HEX for row in PROVIDERS.values() for prefix in row.prefixes),
]
NAMES = [
    "gpt-4o-mini-2024-07-18",
    "ft:gpt-4o-mini-2024-07-18:acme:support:9ZxYwVuT",
    "anthropic.claude-3-5-sonnet-20241022-v2:0",
    "accounts/fireworks/models/llama-v3p1-405b-instruct-long",
    "meta-llama/Llama-3.3-70B-Instruct-Turbo-Free",
    "sk-telecom/solar-10-7b-instruct-v1",
    "task-0123456789abcdef0123",
    "xai-grok-4-fast-reasoning-2025-09-19",
    "hf_hub-llama-3-70b",
    "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-3-haiku-20240307-v1:0",
    "01234567-89ab-cdef-0123-456789abcdef",
    "req_06h287p2ihrc3cgjhs83o8lpv8",
    "x" * 300,
]


@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
@pytest.mark.parametrize("around", ["{}", "custom/{}", "<{}>", "Bearer {}", "key={}"])
def test_a_key_is_recognised_in_any_text(key: str, around: str) -> None:
    assert may_be_key(around.format(key))
    assert len(key) >= SHORTEST


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_not_taken_for_a_key(name: str) -> None:
    assert not may_be_key(name)


def test_no_name_of_the_catalog_the_prices_and_the_documents_is_taken_for_a_key() -> None:
    files = [*(ROOT / "services/router/catalog/models").iterdir(), ROOT / "shared/keyferry/pricing/prices.toml"]
    words = [word for path in (*files, *(ROOT / "docs").rglob("*.md")) for word in path.read_text().split()]
    assert len(words) > 10_000
    assert not list(filter(may_be_key, words))


@pytest.mark.parametrize("read", [read_chat, read_embedding])
def test_a_request_for_a_model_that_is_a_key_is_refused_without_it(read) -> None:  # type: ignore[no-untyped-def]
    key = "sk-" + HEX
    body = f'{{"model": "custom/{key}", "input": "x", "messages": [{{"role": "user", "content": "{key}"}}]}}'
    with pytest.raises(HttpProblem) as refused:
        read(body.encode())
    assert (refused.value.status, refused.value.param) == (400, "model")
    assert "may be a provider key" in refused.value.message
    assert HEX not in refused.value.message


def test_headers_with_a_key_are_refused_without_it() -> None:
    for parse, text in ((parse_operation, "sk-" + HEX), (parse_tags, f"team=a,user=sk-{HEX}")):
        with pytest.raises(HttpProblem, match="may be a provider key") as refused:
            parse(text)
        assert HEX not in refused.value.message


def test_messages_refuse_names_that_may_be_keys() -> None:
    key = "sk-" + HEX
    for make in (
        lambda: ChatRequest(
            request_id="r", tenant="t", model=f"custom/{key}", stream=False, deadline_ms=1, start_by_unix_ms=1
        ),
        lambda: CreateTenant(tenant=key, name="n"),
        lambda: CreateTenant(tenant="t", name=key),
        lambda: SaveEndpoint(tenant="t", name=key, base_url="https://a.example/v1", models=["m"]),
        lambda: SaveEndpoint(tenant="t", name="n", base_url="https://a.example/v1", models=[key]),
        lambda: SaveEndpoint(tenant="t", name="n", base_url=f"https://a.example/{key}/v1", models=[]),
        lambda: CreateClientToken(tenant="t", label=key, digest="0" * 64, last4="abcd"),
    ):
        with pytest.raises(ValidationError, match="may be a provider key"):
            make()


@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
def test_reports_are_recorded_without_keys(key: str) -> None:
    failure = Failure(
        failure_class=FailureClass.BAD_REQUEST, message=f"no model 'x/{key}', or {key}.", param=key, provider_code=key
    )
    assert failure.message.count("[redacted]") == 2
    assert failure.message.startswith("no model 'x/[redacted]")
    assert not may_be_key(f"{failure.message} {failure.param} {failure.provider_code}")
    assert failure.message.endswith(".")


def test_a_refusal_quotes_the_request_only_in_part() -> None:
    request = json.dumps({"messages": [{"role": "x" * 100_000, "content": "hi"}]}).encode()
    with pytest.raises(RefusedByAdapter, match="knows no role 'xxx") as refused:
        adapter_for("anthropic").request(attempt_run(provider="anthropic"), request)
    assert len(refused.value.failure.message) == len(str(refused.value)) == 600
