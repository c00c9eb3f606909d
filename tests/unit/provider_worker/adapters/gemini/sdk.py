"""The requests of Google's own SDK, captured by a server on loopback."""

import json
import ssl
from collections.abc import Callable

from google import genai
from google.auth.credentials import AnonymousCredentials

from tests.support.providers.upstream import Pieces, ProviderRequest, Reply, pieces_of, running_upstream

VECTOR = {"values": [1.0]}
ANSWERS: dict[str, object] = {
    "generateContent": {
        "candidates": [{"content": {"parts": [{"text": "ok"}], "role": "model"}, "finishReason": "STOP"}]
    },
    "batchEmbedContents": {"embeddings": [VECTOR]},
    "embedContent": {"embedding": VECTOR},
    "predict": {"predictions": [{"embeddings": VECTOR}]},
}
ANSWERS["streamGenerateContent"] = ANSWERS["generateContent"]
_WITHOUT_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""The SDK would read the trusted ones three times for each client, which has no use for them here."""


def sdk_request(
    use: Callable[[genai.Client], object], *, vertex: bool = False, stream: bool = False
) -> ProviderRequest:
    """Return the request that `use` makes with a client; raises what the SDK raises."""

    def answer(received: ProviderRequest) -> Reply:
        body = json.dumps(ANSWERS[received.path.rpartition(":")[2]]).encode()
        pieces: Pieces = pieces_of(b"data: " + body + b"\r\n\r\n" if stream else body)
        return Reply(200, {"content-type": "text/event-stream" if stream else "application/json"}, pieces)

    with running_upstream(answer) as upstream:
        tls = _WITHOUT_CERTIFICATES
        options = genai.types.HttpOptions(
            base_url=f"http://127.0.0.1:{upstream.port}",
            timeout=10_000,
            client_args={"verify": tls},
            async_client_args={"verify": tls, "ssl": tls},
        )
        if vertex:
            credentials = AnonymousCredentials()  # type: ignore[no-untyped-call]
            credentials.token = "ya29.test"
            client = genai.Client(
                vertexai=True, project="acme-1", location="europe-west4", credentials=credentials, http_options=options
            )
        else:
            client = genai.Client(api_key="AIza-test", http_options=options)
        with client:
            use(client)
        assert len(upstream.calls) == 1
        return upstream.calls[0].request
