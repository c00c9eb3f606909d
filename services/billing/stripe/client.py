"""The connection to Stripe: its official client over httpx, with the installation's key as the vault has it.

The version of the API is pinned, so that answers keep their form when the account's own version changes. What fails is translated
here, once. Repetitions of a request are safe: the client gives whatever it creates an idempotency key, and callers that may
create something twice pass one that they have stored.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from keyferry.contracts.integration_secrets import IntegrationKind
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.contracts.text import clean
from keyferry.runtime.integration_secrets import NoSuchSecret, SecretVersions

if TYPE_CHECKING:
    from stripe import StripeClient, StripeError

API_VERSION = "2026-10-28.endive"
"""That of the installed package, whose types describe its answers."""
STRIPE_URL = "https://api.stripe.com"
TIMEOUT_SECONDS = 20.0
RETRIES = 2
"""Of the client itself, after outages and conflicts."""
PAGE_SIZE = 100
_MAX_DETAIL = 300
_LIVE_KEYS = ("sk_live_", "rk_live_")
_ADD_KEY = "`keyferry integrations add stripe_api_key --tenant platform` saves a key of Stripe"

StripeDict = dict[str, Any]
"""An object of Stripe as its API reference shows it."""


class SecretReader(Protocol):
    """Reads integration secrets: `IntegrationSecrets`."""

    async def get(self, tenant: str, kind: IntegrationKind, secret_id: str | None = None) -> SecretVersions:
        """Return a secret. Raises NoSuchSecret, and BusError while the vault does not answer."""
        ...


class StripeFailure(Exception):
    """Stripe did not do what was asked; the message says why, for people, and has no secret in it."""


class StripeNotConfigured(StripeFailure):
    """This installation has no key of Stripe."""


class StripeUnavailable(StripeFailure):
    """Stripe cannot be reached, or has too much to do: try again later."""


class StripeKeyRefused(StripeFailure):
    """Stripe does not accept the key, or it may not do this."""


class StripeObjectMissing(StripeFailure):
    """Stripe has no such object, or it is another account's or of the other mode."""


class StripeRequestRefused(StripeFailure):
    """Stripe understood the request and refuses it. `code` is Stripe's."""

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code


class StripeGateway:
    """Stripe for one process. `url` is the address of its API; every method raises StripeFailure and BusError."""

    def __init__(self, secrets: SecretReader, url: str = STRIPE_URL) -> None:
        self._secrets = secrets
        self._url = url
        self._key: str | None = None
        self._client: StripeClient | None = None
        self._http: Any = None

    async def client(self) -> StripeClient:
        """Return the client with the key that is valid now; a rotated one takes effect within seconds."""
        key = await self._read_key()
        if self._client is None or key != self._key:
            from stripe import HTTPXClient, StripeClient  # it takes most of a second, and most processes never need it

            if self._http is None:
                self._http = HTTPXClient(timeout=TIMEOUT_SECONDS)
            self._key = key
            self._client = StripeClient(
                key,
                stripe_version=API_VERSION,
                base_addresses={"api": self._url},
                http_client=self._http,
                max_network_retries=RETRIES,
            )
        return self._client

    async def is_live(self) -> bool:
        """Return whether the key is one of live mode, so that real money moves."""
        return (await self._read_key()).startswith(_LIVE_KEYS)

    async def read(self, call: Callable[[StripeClient], Awaitable[Any]]) -> StripeDict:
        """Return what a call answers, as a dictionary."""
        client = await self.client()
        with translated_errors():
            found: StripeDict = (await call(client)).to_dict()
            return found

    async def list_all(self, call: Callable[[StripeClient], Awaitable[Any]]) -> AsyncIterator[StripeDict]:
        """Yield the objects of a list, page after page."""
        client = await self.client()
        with translated_errors():
            page = await call(client)
            async for each in page.auto_paging_iter():
                yield each.to_dict()

    async def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.close_async()
        self._http = self._client = self._key = None

    async def _read_key(self) -> str:
        try:
            found = await self._secrets.get(PLATFORM_TENANT, IntegrationKind.STRIPE_API_KEY)
        except NoSuchSecret:
            raise StripeNotConfigured(f"this installation has no key of Stripe: {_ADD_KEY}") from None
        return found.current.reveal()


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise StripeFailure in place of the errors of Stripe's client."""
    import stripe

    try:
        yield
    except (stripe.AuthenticationError, stripe.PermissionError) as error:
        raise StripeKeyRefused(f"Stripe does not accept the key: {_describe(error)}; rotate it in the vault") from None
    except (stripe.APIConnectionError, stripe.RateLimitError) as error:
        raise StripeUnavailable(f"Stripe cannot be reached now: {_describe(error)}") from None
    except stripe.InvalidRequestError as error:
        if error.code == "resource_missing":
            raise StripeObjectMissing(f"Stripe does not know it: {_describe(error)}") from None
        raise StripeRequestRefused(f"Stripe refuses this: {_describe(error)}", error.code) from None
    except stripe.StripeError as error:
        if error.http_status is not None and error.http_status >= 500:
            raise StripeUnavailable(f"Stripe has failed: {_describe(error)}") from None
        raise StripeRequestRefused(f"Stripe refuses this: {_describe(error)}", error.code) from None


def _describe(error: StripeError) -> str:
    """Return what Stripe says, cleaned and cut, with the id by which its support finds the request."""
    said = clean(str(error.user_message or error.code or type(error).__name__), _MAX_DETAIL)
    return f"{said} (request {error.request_id})" if error.request_id else said
