"""The identity provider as the console knows it: its document, its keys, and whether a token is its own.

Keys are fetched anew as soon as a token names one that is not known, so that the first token of a rotated key is accepted; and
at most once a minute for that reason, so that invented names do not make the console ask the provider all the time.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from services.console.sign_in.provider_client import ProviderClient
from services.console.sign_in.provider_document import ProviderDocument, ProviderProblem, read_document
from services.console.sign_in.signing_keys import SigningKey, read_keys
from services.console.sign_in.token_verification import (
    InvalidToken,
    TokenPolicy,
    UnverifiedToken,
    find_keys,
    read_token,
    verify_signature,
)

KEYS_SECONDS = 600.0
"""How long keys are used without asking whether the provider has withdrawn one."""
DOCUMENT_SECONDS = 3600.0
UNKNOWN_KEY_SECONDS = 60.0
"""The shortest time between two fetches for the sake of a key that is not known."""
RETRY_SECONDS = 5.0
"""The shortest time between two attempts at a provider that does not answer."""
_WELL_KNOWN = "/.well-known/openid-configuration"


class IdentityProvider:
    """One issuer. `monotonic` and `now` return seconds: of a clock that never jumps, and since 1970."""

    def __init__(
        self,
        issuer: str,
        client: ProviderClient,
        *,
        monotonic: Callable[[], float],
        now: Callable[[], float],
    ) -> None:
        self.issuer = issuer
        self.client = client
        self._monotonic = monotonic
        self._now = now
        self._document: ProviderDocument | None = None
        self._document_until = 0.0
        self._keys: Sequence[SigningKey] = ()
        self._keys_until = 0.0
        self._no_unknown_before = float("-inf")
        self._failed: tuple[float, str] | None = None
        self._fetching = asyncio.Lock()

    async def document(self) -> ProviderDocument:
        """Return the provider's endpoints, asking once an hour. Raises ProviderProblem if they were never known."""
        if self._document is not None and self._monotonic() < self._document_until:
            return self._document
        async with self._fetching:
            return await self._current_document()

    async def verify(self, text: str, policy: TokenPolicy) -> Mapping[str, object]:
        """Return the claims of a token of this issuer. Raises InvalidToken, and ProviderProblem if no keys can be fetched."""
        token = read_token(text, replace(policy, issuer=self.issuer), self._now())
        keys = find_keys(token, self._keys)
        if not keys or self._monotonic() >= self._keys_until:
            keys = await self._fetch_for(token)
        if not keys:
            raise InvalidToken("the issuer has no such key")
        return verify_signature(token, keys)

    async def _fetch_for(self, token: UnverifiedToken) -> Sequence[SigningKey]:
        """Return the keys for a token after at most one fetch: those who wait for another's fetch use its result."""
        async with self._fetching:
            known = find_keys(token, self._keys)
            now = self._monotonic()
            expired = now >= self._keys_until
            if known and not expired:
                return known
            if not expired and now < self._no_unknown_before:
                return known
            try:
                await self._refresh_keys()
                if not expired:
                    self._no_unknown_before = now + UNKNOWN_KEY_SECONDS
            except ProviderProblem:
                if not known:
                    raise
                self._keys_until = now + RETRY_SECONDS
            return find_keys(token, self._keys)

    async def _refresh_keys(self) -> None:
        document = await self._current_document()
        answer = await self._attempt(document.jwks_uri)
        try:
            keys = read_keys(answer)
        except ValueError as error:
            raise ProviderProblem(str(error)) from None
        if not keys:
            raise ProviderProblem("the identity provider lists no key for signatures that is accepted")
        self._keys, self._keys_until = keys, self._monotonic() + KEYS_SECONDS

    async def _current_document(self) -> ProviderDocument:
        now = self._monotonic()
        if self._document is not None and now < self._document_until:
            return self._document
        try:
            answer = await self._attempt(self.issuer.rstrip("/") + _WELL_KNOWN)
            self._document = read_document(answer, self.issuer)
        except ProviderProblem:
            if self._document is None:
                raise
            self._document_until = now + RETRY_SECONDS
            return self._document
        self._document_until = now + DOCUMENT_SECONDS
        return self._document

    async def _attempt(self, url: str) -> Mapping[str, object]:
        """Fetch `url`, unless the last attempt failed just now: then the same problem is raised again."""
        now = self._monotonic()
        if self._failed is not None and now < self._failed[0]:
            raise ProviderProblem(self._failed[1])
        try:
            answer = await self.client.get(url)
        except ProviderProblem as error:
            self._failed = (self._monotonic() + RETRY_SECONDS, str(error))
            raise
        self._failed = None
        return answer
