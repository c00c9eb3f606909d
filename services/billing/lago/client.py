"""Calls of Lago's API: bounded in size and time, without redirects, proxies and retries of their own."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import httpx
import orjson

from keyferry.contracts.secret import Secret
from services.billing.lago.answers import BatchRefusal, read_refusal

MAX_ANSWER_BYTES: Final = 2 * 1024 * 1024
_TIMEOUT = httpx.Timeout(20.0, connect=5.0)
_ABOUT_CONTENT: Final = frozenset({400, 413, 422})
"""Statuses that say something about the events that were sent."""
_PAGE: Final = 100
_MOST_PAGES: Final = 100

ApiKey = Callable[[], Awaitable[Secret]]
"""Returns the API key of Lago. Raises LagoUnavailable while there is none."""


class LagoUnavailable(Exception):
    """Lago cannot be asked now, or does not accept the API key: what was to be sent waits. The message may be shown."""


class LagoRefused(Exception):
    """Lago does not take this one request: to repeat it unchanged would be of no use. The message may be shown."""


@dataclass(frozen=True, slots=True)
class LagoWallet:
    """A customer's wallet."""

    wallet_id: str
    name: str | None
    currency: str


class LagoClient:
    """A client of one Lago. Every method raises LagoUnavailable; those that say so raise LagoRefused."""

    def __init__(self, url: str, api_key: ApiKey, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._url = f"{url.rstrip('/')}/api/v1"
        self._api_key = api_key
        self._http = httpx.AsyncClient(
            follow_redirects=False, trust_env=False, timeout=_TIMEOUT, transport=transport, http2=False
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def send_events(self, events: Sequence[Mapping[str, Any]]) -> BatchRefusal | None:
        """Send at most a hundred events; return None if Lago has taken all, else why it has taken none."""
        status, answer = await self._call("POST", "/events/batch", {"events": list(events)})
        if status >= 300 and status not in _ABOUT_CONTENT:
            raise LagoUnavailable(f"Lago answers {status} to events: is KEYFERRY_LAGO_URL the address of its API?")
        return None if status < 300 else read_refusal(answer, len(events))

    async def save_customer(self, external_id: str, name: str) -> None:
        """Add a customer, or change nothing of one that is there but its name. Raises LagoRefused."""
        await self._take("POST", "/customers", {"customer": {"external_id": external_id, "name": name}})

    async def has_subscription(self, external_id: str) -> bool:
        """Return whether there is an active subscription with this id. Raises LagoRefused."""
        status, answer = await self._call("GET", f"/subscriptions/{quote(external_id, safe='')}", None)
        if status == 404:
            return False
        _refuse(status, answer)
        return True

    async def add_subscription(self, external_id: str, customer: str, plan: str, since: str) -> None:
        """Add a subscription from a day on. Raises LagoRefused, as for a plan that there is not."""
        wanted = {
            "external_id": external_id,
            "external_customer_id": customer,
            "plan_code": plan,
            "billing_time": "calendar",
            "subscription_at": since,
        }
        await self._take("POST", "/subscriptions", {"subscription": wanted})

    async def list_wallets(self, customer: str) -> list[LagoWallet]:
        """Return a customer's wallets. Raises LagoRefused."""
        found = await self._pages(f"/wallets?external_customer_id={quote(customer, safe='')}", "wallets")
        return [
            LagoWallet(str(each.get("lago_id")), each.get("name"), str(each.get("currency")))
            for each in found
            if each.get("status") != "terminated"
        ]

    async def add_wallet(self, customer: str, name: str) -> str:
        """Add an empty wallet in dollars; return its id. Raises LagoRefused."""
        wallet = {
            "external_customer_id": customer,
            "name": name,
            "currency": "USD",
            "rate_amount": "1",
            "granted_credits": "0",
        }
        answer = await self._take("POST", "/wallets", {"wallet": wallet})
        return str(_part(answer, "wallet").get("lago_id"))

    async def list_transactions(self, wallet_id: str) -> list[dict[str, Any]]:
        """Return what was added to a wallet, and taken out of it. Raises LagoRefused."""
        path = f"/wallets/{quote(wallet_id, safe='')}/wallet_transactions"
        return await self._pages(path, "wallet_transactions")

    async def add_transaction(self, transaction: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Add to a wallet, with which Lago makes an invoice; return what was added. Raises LagoRefused."""
        answer = await self._take("POST", "/wallet_transactions", {"wallet_transaction": dict(transaction)})
        found = answer.get("wallet_transactions")
        return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []

    async def mark_paid(self, invoice_id: str) -> None:
        """Say of an invoice that it is paid. Raises LagoRefused."""
        path = f"/invoices/{quote(invoice_id, safe='')}"
        await self._take("PUT", path, {"invoice": {"payment_status": "succeeded"}})

    async def _pages(self, path: str, name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        separator = "&" if "?" in path else "?"
        for page in range(1, _MOST_PAGES + 1):
            answer = await self._take("GET", f"{path}{separator}page={page}&per_page={_PAGE}", None)
            listed = answer.get(name)
            found += [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
            meta = answer.get("meta")
            if not isinstance(meta, dict) or not meta.get("next_page"):
                return found
        raise LagoRefused(f"Lago lists more than {_PAGE * _MOST_PAGES} {name}")

    async def _take(self, method: str, path: str, body: object) -> dict[str, Any]:
        status, answer = await self._call(method, path, body)
        _refuse(status, answer)
        return answer

    async def _call(self, method: str, path: str, body: object) -> tuple[int, dict[str, Any]]:
        key = await self._api_key()
        headers = {"authorization": f"Bearer {key.reveal()}", "accept": "application/json"}
        content = None if body is None else orjson.dumps(body)
        if content is not None:
            headers["content-type"] = "application/json"
        try:
            async with self._http.stream(method, self._url + path, content=content, headers=headers) as response:
                text = await _read(response)
        except httpx.HTTPError as error:
            raise LagoUnavailable(f"Lago does not answer ({type(error).__name__})") from None
        status = response.status_code
        if status in (401, 403):
            raise LagoUnavailable(
                f"Lago does not accept the API key ({status}): replace it with"
                " `keyferry integrations rotate SECRET_ID --tenant platform`"
            )
        if status == 429 or status >= 500 or 300 <= status < 400:
            raise LagoUnavailable(f"Lago answers {status}")
        try:
            answer = orjson.loads(text) if text else {}
        except orjson.JSONDecodeError:
            raise LagoUnavailable(
                f"Lago's answer ({status}) is not JSON: is KEYFERRY_LAGO_URL the address of its API?"
            ) from None
        return status, answer if isinstance(answer, dict) else {}


def _refuse(status: int, answer: Mapping[str, Any]) -> None:
    if status >= 300:
        raise LagoRefused(f"Lago answers {status}: {read_refusal(answer, 0).reason}")


def _part(answer: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = answer.get(name)
    return part if isinstance(part, dict) else {}


async def _read(response: httpx.Response) -> bytes:
    text = bytearray()
    async for piece in response.aiter_bytes():
        text += piece
        if len(text) > MAX_ANSWER_BYTES:
            raise LagoUnavailable(f"Lago's answer is larger than {MAX_ANSWER_BYTES} bytes")
    return bytes(text)
