"""A client token that is limited to some models reaches no other one, over chat and over embeddings."""

import json
from collections.abc import Iterator

import openai
import pytest

from tests.support.providers.upstream import ProviderRequest, Reply, Upstream, completion, pieces_of, running_upstream
from tests.support.system.keyferry_system import KeyferrySystem
from tests.support.waiting import until

ALLOWED, FORBIDDEN = "scope-a", "scope-b"


def reply(request: ProviderRequest) -> Reply:
    if request.path == "/v1/chat/completions":
        return completion("hello", request.body["model"])
    row = {"object": "embedding", "index": 0, "embedding": [0.5]}
    body = {"object": "list", "data": [row], "model": request.body["model"], "usage": {"prompt_tokens": 1}}
    return Reply(200, {"content-type": "application/json"}, pieces_of(json.dumps(body).encode()))


@pytest.fixture
def provider(system: KeyferrySystem) -> Iterator[Upstream]:
    with running_upstream(reply) as upstream:
        system.add_endpoint("scoped", upstream.base_url, ALLOWED, FORBIDDEN)
        yield upstream


def test_a_token_for_one_model_cannot_use_another(system: KeyferrySystem, provider: Upstream) -> None:
    made = json.loads(system.cli("tokens", "create", "--tenant", "demo", "--model", ALLOWED, "--json"))
    with openai.OpenAI(base_url=f"{system.http_url}/v1", api_key=made["token"], max_retries=0) as client:

        def listed() -> list[str] | None:
            try:
                return [model.id for model in client.models.list().data]
            except openai.AuthenticationError:
                return None

        assert until("the new token is known", listed) == [ALLOWED]
        client.chat.completions.create(model=ALLOWED, messages=[{"role": "user", "content": "hi"}])
        client.embeddings.create(model=ALLOWED, input="hi")
        allowed_calls = len(provider.calls)
        for model in (FORBIDDEN, f"scoped/{FORBIDDEN}", "echo"):
            with pytest.raises(openai.PermissionDeniedError, match="the client token may not use"):
                client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hi"}])
            with pytest.raises(openai.PermissionDeniedError, match="the client token may not use"):
                client.embeddings.create(model=model, input="hi")
        assert (allowed_calls, len(provider.calls)) == (2, 2)
