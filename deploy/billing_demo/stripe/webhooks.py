"""Send events to the endpoints: signed, again after failures, and, on request, several times and in another order."""

import asyncio
import hashlib
import hmac
import json
import random
from collections import deque
from dataclasses import dataclass, field

import aiohttp

from deploy.billing_demo.stripe.events import signing_secrets, wants
from deploy.billing_demo.stripe.problem import JsonObject
from deploy.billing_demo.stripe.state import StripeState

RETRY_SECONDS = (1.0, 5.0, 30.0, 120.0, 600.0, 3600.0, 6 * 3600.0, 12 * 3600.0, 24 * 3600.0)
"""How long after each failure an event is sent again; Stripe goes on for three days."""
_TIMEOUT_SECONDS = 20.0
_MAX_LOG = 10_000


@dataclass(slots=True)
class StripeWebhookFaults:
    """How deliveries differ from one delivery of each event in order. `seed` makes the disorder repeatable."""

    copies: tuple[int, int] = (1, 1)
    """The least and the greatest number of times that each event is sent."""
    shuffled: bool = False
    """Whether events that wait at the same time are sent in another order."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class StripeDelivery:
    """One attempt: which event was sent where, and the answer's status; 0 is no answer."""

    event_id: str
    event_type: str
    endpoint_id: str
    status: int


def signature_header(body: bytes, secrets: list[str], timestamp: int) -> str:
    """Return the header `Stripe-Signature`: the time, and one signature for each secret."""
    signed = str(timestamp).encode() + b"." + body
    signatures = (hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets)
    return ",".join([f"t={timestamp}", *(f"v1={signature}" for signature in signatures)])


@dataclass
class StripeWebhookSender:
    """Sends the events of an account in the background, until it is closed."""

    state: StripeState
    retry_seconds: tuple[float, ...] = RETRY_SECONDS
    faults: StripeWebhookFaults = field(default_factory=StripeWebhookFaults)
    held: bool = False
    """Whether events wait until they are released."""
    log: deque[StripeDelivery] = field(default_factory=lambda: deque(maxlen=_MAX_LOG))

    def __post_init__(self) -> None:
        self._random = random.Random(self.faults.seed)
        self._waiting: list[JsonObject] = []
        self._sending = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None
        self._wake = asyncio.Event()

    async def start(self) -> None:
        """Begin to send events."""
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS))
        self.state.listeners.append(self._on_event)
        self._spawn_loop()

    async def close(self) -> None:
        """Stop; what was not delivered is lost."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def hold(self) -> None:
        """Let events wait until `release`."""
        self.held = True

    def release(self) -> None:
        """Send what waits, and from now on each event at once."""
        self.held = False
        self._wake.set()

    def send_again(self, event_id: str) -> None:
        """Send an event again, as `stripe events resend` does."""
        self._on_event(self.state.get("event", event_id))

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is on its way."""
        return not self._waiting and not self._sending and len(self._tasks) <= 1

    def _spawn_loop(self) -> None:
        task = asyncio.create_task(self._run(), name="send webhooks")
        self._tasks.add(task)

    def _on_event(self, event: JsonObject) -> None:
        targets = [row for row in self.state.table("webhook_endpoint").values() if wants(row, event["type"])]
        if targets:
            event["pending_webhooks"] = len(targets)
            self._waiting.append(event)
            self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self.held or not self._waiting:
                continue
            self._sending = True
            events, self._waiting = self._waiting, []
            sent = [event for event in events for _ in range(self._random.randint(*self.faults.copies))]
            if self.faults.shuffled:
                self._random.shuffle(sent)
            for event in sent:
                await asyncio.gather(*(self._begin(event, target["id"]) for target in self._targets(event)))
            self._sending = False

    def _targets(self, event: JsonObject) -> list[JsonObject]:
        return [row for row in self.state.table("webhook_endpoint").values() if wants(row, event["type"])]

    async def _begin(self, event: JsonObject, endpoint_id: str) -> None:
        """Send an event once; a failure is repeated in the background, so that it delays no other event."""
        if not await self._send(event, endpoint_id):
            task = asyncio.create_task(self._repeat(event, endpoint_id), name="send a webhook again")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _repeat(self, event: JsonObject, endpoint_id: str) -> None:
        for delay_seconds in self.retry_seconds:
            await asyncio.sleep(delay_seconds)
            if await self._send(event, endpoint_id):
                return

    async def _send(self, event: JsonObject, endpoint_id: str) -> bool:
        """Send an event once; return whether the endpoint took it, or is there no more."""
        endpoint = self.state.table("webhook_endpoint").get(endpoint_id)
        if endpoint is None:
            return True
        status = await self._post(endpoint, webhook_body(event))
        self.log.append(StripeDelivery(event["id"], event["type"], endpoint_id, status))
        succeeded = 200 <= status < 300
        if succeeded and event["pending_webhooks"]:
            event["pending_webhooks"] -= 1
        return succeeded

    async def _post(self, endpoint: JsonObject, body: bytes) -> int:
        assert self._session is not None, "the sender is started"
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            "Stripe-Signature": signature_header(body, signing_secrets(self.state, endpoint), self.state.now),
        }
        try:
            async with self._session.post(endpoint["url"], data=body, headers=headers, allow_redirects=False) as answer:
                await answer.read()
                return answer.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            return 0


def webhook_body(event: JsonObject) -> bytes:
    """Return the bytes that are sent for an event."""
    return json.dumps(event, indent=2, default=str).encode()
