"""A key is attached to a request to its own origin, as its provider expects it, and to no other request."""

from datetime import UTC, datetime

import pytest

from keyferry.contracts.failure import FailureClass, Where
from keyferry.contracts.secret import Secret
from keyferry.sealing.leased import LeasedKey
from services.provider_worker.adapters.adapter import Auth, HeaderAuth, SigV4Auth, UpstreamRequest
from services.provider_worker.upstream.attach_key import NotAttached, attach_key, origin_of
from services.provider_worker.upstream.signing import AccessKey, sign_request

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
ORIGIN = "https://api.openai.com"
URL = f"{ORIGIN}/v1/chat/completions"
KEY = "sk-canary-0123456789"
PAIR = "AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMI/K7MDENG/bPxRfiCYCANARYKEY"
BEDROCK = "https://bedrock-runtime.eu-central-1.amazonaws.com"


def leased(key: str = KEY, origin: str = ORIGIN) -> LeasedKey:
    return LeasedKey(
        owner="acme",
        provider="openai",
        key_id="key_0001",
        version=1,
        origin=origin,
        not_after_unix_ms=0,
        key=Secret(key),
    )


def request(url: str = URL, auth: Auth | None = None, **headers: str) -> UpstreamRequest:
    unsigned = {"content-type": "application/json"} | headers
    return UpstreamRequest(url, unsigned, b"{}", HeaderAuth() if auth is None else auth)


def test_a_bearer_token() -> None:
    assert attach_key(request(), leased(), NOW) == {
        "content-type": "application/json",
        "authorization": f"Bearer {KEY}",
    }


def test_a_provider_specific_header() -> None:
    headers = attach_key(request(auth=HeaderAuth("x-api-key", "")), leased(), NOW)
    assert headers["x-api-key"] == KEY
    assert "authorization" not in headers


def test_a_header_of_the_same_name_is_replaced() -> None:
    unsigned = UpstreamRequest(URL, {"Authorization": "Bearer somebody-elses"}, b"{}")
    assert attach_key(unsigned, leased(), NOW) == {"authorization": f"Bearer {KEY}"}


def test_an_access_key_signs_and_is_not_sent() -> None:
    unsigned = request(f"{BEDROCK}/model/m%3A0/invoke", SigV4Auth("bedrock", "eu-central-1"))
    headers = attach_key(unsigned, leased(PAIR, BEDROCK), NOW)
    access_key = AccessKey("AKIAIOSFODNN7EXAMPLE", Secret(PAIR.partition(":")[2]))
    assert headers == sign_request(
        "POST",
        unsigned.url,
        unsigned.headers,
        b"{}",
        access_key=access_key,
        service="bedrock",
        region="eu-central-1",
        now=NOW,
    )
    assert "CANARY" not in str(headers)


def test_a_bedrock_key_that_is_not_a_pair_is_a_bearer_token() -> None:
    unsigned = request(f"{BEDROCK}/model/m/invoke", SigV4Auth("bedrock", "eu-central-1"))
    headers = attach_key(unsigned, leased("bedrock-api-key-YmVkcm9jaw", BEDROCK), NOW)
    assert headers["authorization"] == "Bearer bedrock-api-key-YmVkcm9jaw"
    assert "x-amz-date" not in headers


@pytest.mark.parametrize(
    "url",
    [
        "http://api.openai.com/v1/chat",
        "https://api.openai.com:8443/v1/chat",
        "https://api.openai.com.evil.example/v1/chat",
        "https://evil.example/https://api.openai.com/v1/chat",
        "https://api.openai.com@evil.example/v1/chat",
        "https://evil.example#@api.openai.com/v1",
        "https://evil.example\\@api.openai.com/v1",
        "https://api.openai.com\r\nhost: evil.example/",
        "//api.openai.com/v1",
        "",
    ],
)
def test_nothing_is_attached_to_any_other_request(url: str) -> None:
    with pytest.raises(NotAttached) as refused:
        attach_key(request(url), leased(), NOW)
    assert (refused.value.failure.failure_class, refused.value.failure.where) == (FailureClass.INTERNAL, Where.NOT_SENT)
    assert "canary" not in refused.value.failure.message
    assert refused.value.failure.message.startswith("nothing was sent: ")


@pytest.mark.parametrize(
    "key", ["sk-canary\r\nx-evil: 1", "sk-canary\n", "sk canary", "sk-canary\x00", "sk-canarÿ", "sk-canary\t", ""]
)
@pytest.mark.parametrize("auth", [HeaderAuth(), HeaderAuth("x-api-key", ""), SigV4Auth("bedrock", "eu-central-1")])
def test_a_key_with_a_line_break_is_not_sent(key: str, auth: Auth) -> None:
    with pytest.raises(NotAttached, match="characters that no header can carry") as refused:
        attach_key(request(auth=auth), leased(key), NOW)
    assert "canar" not in refused.value.failure.message


def test_half_an_access_key_is_not_sent_as_a_bearer_token() -> None:
    with pytest.raises(NotAttached, match="ACCESS_KEY_ID:SECRET_ACCESS_KEY") as refused:
        attach_key(request(auth=SigV4Auth("bedrock", "eu-central-1")), leased("AKIAIOSFODNN7EXAMPLE"), NOW)
    assert "EXAMPLE" not in refused.value.failure.message


def test_an_origin_is_spelled_as_it_is_where_keys_are_added() -> None:
    assert origin_of("HTTPS://API.OpenAI.com:443/v1?x=1") == ORIGIN
    assert origin_of("http://127.0.0.1:11434/v1") == "http://127.0.0.1:11434"
    assert origin_of("https://[2001:DB8::1]:8443/") == "https://[2001:db8::1]:8443"
