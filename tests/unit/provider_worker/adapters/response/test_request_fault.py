"""A 401 or 403 is about the key, and disables it, unless it says that it is about what was requested."""

import json

import pytest

from keyferry.contracts.failure import FailureClass
from services.provider_worker.adapters.registry import ADAPTERS
from tests.unit.provider_worker.adapters.test_request_rules import run_of

PROVIDERS = ("openai", "azure", "custom", "openrouter", "anthropic", "bedrock", "cohere", "gemini", "vertex")
ABOUT_THE_REQUEST = [
    "You invoked an unsupported model or your request did not allow prompt caching. See the documentation for more.",
    "You are not allowed to request logprobs from this model",
    "This model doesn't support tool use in streaming mode.",
    "Streaming is not supported for this model",
    "The parameter `reasoning_effort` is not supported with this model",
    "Image input is not enabled for this deployment",
    "Your organization must be verified to stream this model.",
    "Unsupported parameter: temperature",
    "You are not authorized to use structured outputs with this model",
    "response_format is not available for this model",
    "Your plan does not support prompt caching",
    "The content type `video` is not supported by this model",
]
ABOUT_THE_KEY = [
    "",
    "Forbidden",
    "The security token included in the request is invalid.",
    "The request signature we calculated does not match the signature you provided.",
    "User: arn:aws:iam::0:user/x is not authorized to perform: bedrock:InvokeModel on resource: arn:aws:bedrock:x",
    "OAuth authentication is currently not supported for this organization.",
    "OAuth token does not support streaming",
    "Incorrect API key provided: x. This key does not support tools.",
    "This organization has been disabled.",
    "API keys are not supported by this API. Expected OAuth2 access token.",
    "invalid api token",
    "Your authentication token is not valid",
    "This API key is not allowed to use embeddings",
    "Your plan does not support API access",
    "Your subscription does not allow access to the API.",
]


def class_of(provider: str, status: int, body: object) -> FailureClass:
    run = run_of(provider)
    content = json.dumps({"model": "x", "messages": [{"role": "user", "content": "a"}]}).encode()
    adapter = ADAPTERS[provider]
    reader = adapter.reader(run, adapter.request(run, content), status, {"content-type": "application/json"})
    reader.feed(json.dumps(body).encode())
    failure = reader.close().failure
    assert failure is not None
    return failure.failure_class


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("nested", [True, False])
def test_only_what_is_about_the_key_disables_it(provider: str, status: int, nested: bool) -> None:
    for texts, expected in (
        (ABOUT_THE_REQUEST, FailureClass.BAD_REQUEST),
        (ABOUT_THE_KEY, FailureClass.AUTH),
    ):
        for text in texts:
            body = {"error": {"message": text}} if nested and provider != "bedrock" else {"message": text}
            assert (text, class_of(provider, status, body)) == (text, expected)


@pytest.mark.parametrize(
    "code", ["unsupported_parameter", "unsupported_value", "invalid_value", "feature_not_supported"]
)
def test_a_code_can_say_that_it_is_the_request(code: str) -> None:
    body = {"error": {"code": code, "message": "No."}}
    assert class_of("openai", 403, body) is FailureClass.BAD_REQUEST
    assert class_of("openai", 401, {"error": {"code": "invalid_api_key", "message": "No."}}) is FailureClass.AUTH
