"""Where a key stands in a request: in one header, and never in a URL, which proxies, logs and error texts repeat."""

from datetime import UTC, datetime

import pytest

from keyferry.contracts.secret import Secret
from keyferry.sealing.leased import LeasedKey
from services.provider_worker.adapters.registry import ADAPTERS
from services.provider_worker.key_test.tester import _run
from services.provider_worker.upstream.attach_key import NotAttached, attach_key, origin_of

KEY = "sk-canary-Zq8Xw2Lr6Tn0Vb4Kd"
FIELDS = {"region": "eu-central-1", "project": "example", "location": "europe-west4", "api_version": "2024-10-21"}
HELLO = b'{"model":"m","messages":[{"role":"user","content":"Hi"}]}'


def leased(origin: str, key: str = KEY) -> LeasedKey:
    return LeasedKey(
        owner="acme",
        provider="any",
        key_id="key_0001",
        version=1,
        origin=origin,
        not_after_unix_ms=2**50,
        key=Secret(key),
    )


@pytest.mark.parametrize("provider", ADAPTERS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_key_stands_in_one_header_and_not_in_the_url(provider: str, stream: bool) -> None:
    run = _run(provider, "m", "https://api.example/v1", FIELDS).model_copy(update={"stream": stream})
    request = ADAPTERS[provider].request(run, HELLO)
    assert "key=" not in request.url
    headers = attach_key(request, leased(origin_of(request.url)), datetime.now(UTC))
    assert [name for name, value in headers.items() if KEY in value] == [
        name for name in headers if name.lower() in ("authorization", "x-api-key", "api-key", "x-goog-api-key")
    ]
    assert sum(KEY in value for value in headers.values()) == 1
    assert KEY not in f"{request!r} {request.url} {request.content!r}"


@pytest.mark.parametrize("provider", ADAPTERS)
@pytest.mark.parametrize("tail", ["\r\nx-injected: 1", "\n", "\x00", "é", " ", "\u2028"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_repeated(provider: str, tail: str) -> None:
    run = _run(provider, "m", "https://api.example/v1", FIELDS)
    request = ADAPTERS[provider].request(run, HELLO)
    with pytest.raises(NotAttached) as refused:
        attach_key(request, leased(origin_of(request.url), f"{KEY}{tail}"), datetime.now(UTC))
    assert KEY not in f"{refused.value} {refused.value!r} {refused.value.failure}"
    assert refused.value.__cause__ is None
