"""Providers that an operator added: called like OpenAI, in their own implementation of its API, without others' parameters."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.provider_edits import AddedProvider, ProviderEntry, install_providers
from keyferry.contracts.providers import PROVIDERS, CompatibleApi, ImplausibleKey, check_format, owners_of
from keyferry.contracts.usage import KeySource
from keyferry.runtime.upstream.client import Timeouts, UpstreamClient
from services.provider_worker.adapters.adapter import RefusedByAdapter
from services.provider_worker.adapters.registry import ADAPTERS, adapter_for, find_adapter
from services.provider_worker.http_call import HttpProvider, HttpProviders
from services.provider_worker.key_test.plans import PLANS, plan_for


def added(name: str, api: CompatibleApi = CompatibleApi.GENERIC) -> ProviderEntry:
    provider = AddedProvider(title="The Lab", base_url="https://lab.example/v1", api=api, prefixes=["labkey-"])
    return ProviderEntry(
        name=name, added=provider, revision=1, changed_at=datetime(2026, 11, 29, tzinfo=UTC), changed_by="operator"
    )


@pytest.fixture
def lab() -> Iterator[None]:
    install_providers(PROVIDERS, [added("lab"), added("own-vllm", CompatibleApi.VLLM)])
    yield
    install_providers(PROVIDERS, ())


def attempt(provider: str) -> AttemptRun:
    return AttemptRun(
        request_id="req_1",
        tenant="acme",
        model="lab-one",
        model_asked="lab/lab-one",
        stream=False,
        deadline_ms=1000,
        start_by_unix_ms=4_000_000_000_000,
        attempt_id="att_1",
        attempt_number=1,
        decision_id="dec_1",
        provider=provider,
        key_source=KeySource.PLATFORM,
    )


@pytest.mark.usefixtures("lab")
def test_it_is_called_at_its_address_without_the_parameters_of_other_providers() -> None:
    body = {"model": "lab/lab-one", "messages": [{"role": "user", "content": "Hi"}], "top_k": 3}
    foreign = {"provider": {"only": ["x"]}, "transforms": []}
    with pytest.raises(RefusedByAdapter, match="The Lab does not support `provider`"):
        adapter_for("lab").request(attempt("lab"), json.dumps(body | foreign).encode())
    dropping = attempt("lab").model_copy(update={"drop_unsupported": True})
    request = adapter_for("lab").request(dropping, json.dumps(body | foreign).encode())
    assert request.url == "https://lab.example/v1/chat/completions"
    sent = json.loads(request.content)
    assert sent["model"] == "lab-one"
    assert not foreign.keys() & sent.keys()


@pytest.mark.usefixtures("lab")
def test_one_that_runs_vllm_is_called_as_vllm_is() -> None:
    body = {"model": "m", "messages": [{"role": "developer", "content": "Be brief"}, {"role": "user", "content": "Hi"}]}
    sent = json.loads(adapter_for("own-vllm").request(attempt("own-vllm"), json.dumps(body).encode()).content)
    plain = json.loads(adapter_for("vllm").request(_at_base(attempt("vllm")), json.dumps(body).encode()).content)
    assert sent["messages"] == plain["messages"]
    assert sent["messages"][0]["role"] == "system"


def _at_base(run: AttemptRun) -> AttemptRun:
    return run.model_copy(update={"base_url": "http://localhost:8000/v1"})


@pytest.mark.parametrize("api", CompatibleApi)
def test_every_api_has_an_adapter(api: CompatibleApi) -> None:
    install_providers(PROVIDERS, [added("each", api)])
    try:
        assert find_adapter("each") is not None
    finally:
        install_providers(PROVIDERS, ())


@pytest.mark.usefixtures("lab")
def test_a_worker_learns_of_a_provider_while_it_runs() -> None:
    client = UpstreamClient(allow=())
    providers = HttpProviders(
        ADAPTERS, lambda adapter: HttpProvider(adapter, client, Timeouts(1, 1, 1)), beside={}, find_added=find_adapter
    )
    assert "lab" in providers
    assert "nosuch" not in providers
    assert plan_for("lab", "https://lab.example/v1") == PLANS["custom"]
    install_providers(PROVIDERS, ())
    assert "lab" not in providers
    with pytest.raises(RefusedByAdapter):
        adapter_for("lab")


@pytest.mark.usefixtures("lab")
def test_its_keys_are_recognised_by_their_prefix() -> None:
    assert owners_of("labkey-0123456789") == ("lab", "own-vllm")
    assert check_format("lab", "labkey-0123456789") is None
    assert check_format("openai", "labkey-0123456789") == "This looks like a key of The Lab or The Lab, not of OpenAI."
    with pytest.raises(ImplausibleKey):
        check_format("lab", "two words")


def test_a_provider_of_this_build_cannot_be_replaced_by_an_entry() -> None:
    install_providers(PROVIDERS, [added("openai")])
    try:
        assert PROVIDERS["openai"].title == "OpenAI"
        assert list(PROVIDERS) == list(PROVIDERS.bundled)
    finally:
        install_providers(PROVIDERS, ())
