"""Our Signature Version 4 equals the one of AWS's own library, to the last byte of the header."""

import random
import string
from datetime import UTC, datetime
from unittest.mock import patch
from urllib.parse import quote

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from keyferry.contracts.secret import Secret
from services.provider_worker.upstream.signing import AccessKey, BadAccessKey, parse_access_key, sign_request

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
ACCESS_KEY_ID = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
ROUNDS = 500

PATHS = [
    "",
    "/",
    "/model/anthropic.claude-3-5-sonnet-20241022-v2%3A0/converse-stream",
    "/model/arn%3Aaws%3Abedrock%3Aeu-central-1%3A123456789012%3Ainference-profile%2Feu.x/invoke",
    "/a//b/./c/../d/",
    "/a/..",
    "/a/.",
    "/../x",
    "/~tilde/%20space/%E2%82%AC",
    "/a+b/c=d;e,f(g)!*'@&$",
]


def theirs(url: str, headers: dict[str, str], content: bytes, token: str | None) -> str:
    request = AWSRequest(method="POST", url=url, headers=headers, data=content)
    with patch("botocore.auth.get_current_datetime", return_value=NOW):
        SigV4Auth(Credentials(ACCESS_KEY_ID, SECRET, token), "bedrock", "eu-central-1").add_auth(request)
    return str(request.headers["Authorization"])


def ours(url: str, headers: dict[str, str], content: bytes, token: str | None) -> str:
    access_key = AccessKey(ACCESS_KEY_ID, Secret(SECRET), None if token is None else Secret(token))
    sent = sign_request(
        "POST", url, headers, content, access_key=access_key, service="bedrock", region="eu-central-1", now=NOW
    )
    assert sent["x-amz-date"] == "20260304T050607Z"
    assert sent.get("x-amz-security-token") == token
    assert headers.items() <= sent.items()
    return sent["authorization"]


def agree(url: str, headers: dict[str, str] | None = None, content: bytes = b"{}", token: str | None = None) -> None:
    unsigned_headers = {"content-type": "application/json"} if headers is None else headers
    assert ours(url, unsigned_headers, content, token) == theirs(url, unsigned_headers, content, token), url


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("token", [None, "IQoJb3JpZ2luX2VjEJr//////////wEaDGV1/+=="])
def test_paths_are_encoded_alike(path: str, token: str | None) -> None:
    agree(f"https://bedrock-runtime.eu-central-1.amazonaws.com{path}", token=token)


@pytest.mark.parametrize("query", ["a=1", "b=2&a=1", "a=2&a=1", "a", "a=&b", "x=%2F%20&X=1", "a=b=c"])
def test_queries_are_ordered_alike(query: str) -> None:
    agree(f"https://bedrock.eu-central-1.amazonaws.com/foundation-models?{query}")


@pytest.mark.parametrize("host", ["example.com:443", "example.com:8443", "EXAMPLE.com", "127.0.0.1:4566", "[::1]:8443"])
def test_the_host_is_signed_as_it_is_sent(host: str) -> None:
    agree(f"https://{host}/model/m/invoke")


def test_plain_http_has_its_own_port() -> None:
    agree("http://127.0.0.1:80/x")
    agree("http://127.0.0.1:4566/x")


@pytest.mark.parametrize("content", [b"", b"{}", '{"text":"€"}'.encode(), bytes(range(256))])
def test_the_body_is_signed(content: bytes) -> None:
    agree("https://example.com/x", content=content)


def test_header_values_are_trimmed_alike() -> None:
    agree("https://example.com/x", {"Content-Type": "application/json", "X-Two": "a  b", "accept": " c "})


def test_random_requests_agree() -> None:
    source = random.Random(20)
    for _ in range(ROUNDS):
        segments = [
            "".join(source.choices(string.printable, k=source.randrange(12))) for _ in range(source.randrange(5))
        ]
        path = "/" + "/".join(quote(segment, safe=source.choice(["", "/~", ":@!$&'()*+,;=~"])) for segment in segments)
        content = source.randbytes(source.randrange(50))
        agree(f"https://example.com{path}", content=content, token=source.choice([None, "token/+="]))


def test_a_changed_secret_or_moment_changes_the_signature() -> None:
    """Show that the agreement above is no accident."""
    right = ours("https://example.com/x", {}, b"{}", None)
    access_key = AccessKey(ACCESS_KEY_ID, Secret(SECRET + "x"))
    wrong = sign_request(
        "POST",
        "https://example.com/x",
        {},
        b"{}",
        access_key=access_key,
        service="bedrock",
        region="eu-central-1",
        now=NOW,
    )
    assert wrong["authorization"] != right


def test_an_access_key_pair_is_distinguished_from_a_bearer_key() -> None:
    pair = parse_access_key(Secret(f"{ACCESS_KEY_ID}:{SECRET}"))
    assert pair == AccessKey(ACCESS_KEY_ID, Secret(SECRET))
    with_token = parse_access_key(Secret(f"ASIAIOSFODNN7EXAMPLE:{SECRET}:token:with/colons=="))
    assert with_token == AccessKey("ASIAIOSFODNN7EXAMPLE", Secret(SECRET), Secret("token:with/colons=="))
    assert parse_access_key(Secret("bedrock-api-key-YmVkcm9jay5hbWF6b25hd3M")) is None
    assert parse_access_key(Secret("ABSKQmVkcm9ja0FQSUtleQ")) is None


@pytest.mark.parametrize(
    "text", [ACCESS_KEY_ID, f"{ACCESS_KEY_ID}:", f"{ACCESS_KEY_ID}:{SECRET}:", f"AKIAlower:{SECRET}"]
)
def test_half_a_pair_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(BadAccessKey) as refused:
        parse_access_key(Secret(text))
    assert "EXAMPLE" not in str(refused.value)
    assert SECRET not in str(refused.value)
