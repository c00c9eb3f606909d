"""Requests to the identity provider: bounded in size and time, without redirects and proxies, over https but on this machine."""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import httpx

from keyferry.contracts.secret import Secret
from services.console.sign_in.provider_document import ProviderProblem, is_allowed_url, read_refusal
from services.console.sign_in.strict_json import NotStrictJson, parse_object

MAX_ANSWER_BYTES = 512 * 1024
TOTAL_SECONDS = 10.0
_HEADERS = {"accept": "application/json", "accept-encoding": "identity"}


class ProviderClient:
    """An HTTP client for one provider. Both requests raise ProviderProblem, whose text repeats nothing of the answer."""

    def __init__(self, client_id: str, client_secret: Secret | None, transport: httpx.AsyncBaseTransport | None = None):
        self._client_id = client_id
        self._secret = client_secret
        self._http = httpx.AsyncClient(
            follow_redirects=False, trust_env=False, timeout=TOTAL_SECONDS, headers=_HEADERS, transport=transport
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def get(self, url: str) -> Mapping[str, object]:
        """Return the JSON object at `url`."""
        status, answer = await self._send("GET", url, None)
        if status != 200:
            raise ProviderProblem(f"the identity provider answers {status} where its metadata should be")
        return answer

    async def post(self, url: str, form: Mapping[str, str]) -> Mapping[str, object]:
        """Return the JSON object that the provider answers to `form`, sent with the client's own credentials.

        Raises ProviderRefusal for an OAuth error.
        """
        fields = {**form, "client_id": self._client_id}
        if self._secret is not None:
            fields["client_secret"] = self._secret.reveal()
        status, answer = await self._send("POST", url, fields)
        if status == 200:
            return answer
        if 400 <= status < 500 and "error" in answer:
            raise read_refusal(answer)
        raise ProviderProblem(f"the identity provider answers {status}")

    async def _send(self, method: str, url: str, form: Mapping[str, str] | None) -> tuple[int, Mapping[str, object]]:
        if not is_allowed_url(url):
            raise ProviderProblem("the identity provider names an address that is not https")
        try:
            async with asyncio.timeout(TOTAL_SECONDS), self._http.stream(method, url, data=form) as response:
                if response.headers.get("content-encoding", "identity").lower() != "identity":
                    raise ProviderProblem("the identity provider compresses its answer, although it was asked not to")
                body = bytearray()
                async for chunk in response.aiter_raw(MAX_ANSWER_BYTES):
                    body += chunk
                    if len(body) > MAX_ANSWER_BYTES:
                        raise ProviderProblem(f"the identity provider's answer has more than {MAX_ANSWER_BYTES} bytes")
                return response.status_code, _parse(bytes(body), response.status_code)
        except TimeoutError:
            raise ProviderProblem(f"the identity provider has not answered within {TOTAL_SECONDS:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:  # its text may repeat the form, which has secrets
            raise ProviderProblem(f"the identity provider cannot be reached ({type(error).__name__})") from None


def _parse(body: bytes, status: int) -> Mapping[str, object]:
    try:
        return parse_object(body)
    except NotStrictJson as error:
        if status != 200:
            return {}
        raise ProviderProblem(f"the identity provider's answer cannot be read: {error}") from None
