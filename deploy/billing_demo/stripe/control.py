"""The control interface of the double: what happens at banks, at Stripe and in time, asked for by tests and by people.

It has no counterpart at Stripe, so its paths begin with `/demo/`. It listens on loopback only and needs no key.
"""

from collections.abc import Awaitable, Callable

from aiohttp import web

from deploy.billing_demo.faults import FailureKind, PlannedFailure
from deploy.billing_demo.stripe.api import StripeApi
from deploy.billing_demo.stripe.disputes import close_dispute, open_dispute
from deploy.billing_demo.stripe.events import new_endpoint, roll_secret
from deploy.billing_demo.stripe.problem import JsonObject, StripeApiError
from deploy.billing_demo.stripe.refunds import fail_refund, refund_charge
from deploy.billing_demo.stripe.state import StripeState
from deploy.billing_demo.stripe.subscriptions import renew_due, retry_payment
from deploy.billing_demo.stripe.webhooks import StripeWebhookFaults, StripeWebhookSender

_Action = Callable[[JsonObject], JsonObject]


class StripeControl:
    """The actions of the control interface; each takes and returns JSON."""

    def __init__(self, state: StripeState, api: StripeApi, webhooks: StripeWebhookSender) -> None:
        self._state = state
        self._api = api
        self._webhooks = webhooks
        self.actions: dict[str, _Action] = {
            "disputes": self.dispute,
            "disputes/close": self.close_dispute,
            "endpoints": self.add_endpoint,
            "endpoints/roll": self.roll_secret,
            "events/resend": self.resend,
            "failures": self.fail,
            "invoices/retry": self.retry,
            "refunds": self.refund,
            "refunds/fail": self.fail_refund,
            "time": self.forward,
            "webhooks": self.set_faults,
        }

    def dispute(self, given: JsonObject) -> JsonObject:
        """Let a bank dispute a charge: `{charge or payment_intent, reason?, amount?}`."""
        charge = self._charge(given)
        return open_dispute(self._state, charge, given.get("reason", "fraudulent"), given.get("amount"))

    def _charge(self, given: JsonObject) -> JsonObject:
        if "payment_intent" in given:
            return self._state.get(
                "charge", self._state.get("payment_intent", given["payment_intent"])["latest_charge"]
            )
        return self._state.get("charge", given["charge"])

    def close_dispute(self, given: JsonObject) -> JsonObject:
        """Let a bank decide: `{dispute, won}`."""
        dispute = self._state.get("dispute", given["dispute"])
        close_dispute(self._state, dispute, won=bool(given["won"]))
        return dispute

    def refund(self, given: JsonObject) -> JsonObject:
        """Refund a charge as somebody at Stripe's dashboard does: `{charge or payment_intent, amount?}`."""
        charge = self._charge(given)
        return refund_charge(self._state, charge, given.get("amount"), reason="requested_by_customer", metadata={})

    def fail_refund(self, given: JsonObject) -> JsonObject:
        """Let a bank return a refund: `{refund}`."""
        refund = self._state.get("refund", given["refund"])
        fail_refund(self._state, refund)
        return refund

    def add_endpoint(self, given: JsonObject) -> JsonObject:
        """Add a webhook endpoint with a known secret: `{url, secret, enabled_events?}`."""
        return new_endpoint(self._state, given["url"], given.get("enabled_events", ["*"]), given["secret"])

    def roll_secret(self, given: JsonObject) -> JsonObject:
        """Give an endpoint a new secret: `{endpoint, overlap_seconds, secret?}`."""
        made = roll_secret(self._state, given["endpoint"], int(given.get("overlap_seconds", 0)), given.get("secret"))
        return {"secret": made}

    def resend(self, given: JsonObject) -> JsonObject:
        """Send an event again: `{event}`."""
        self._webhooks.send_again(given["event"])
        return {}

    def fail(self, given: JsonObject) -> JsonObject:
        """Plan a failure: `{kind, path?, method?, times?, seconds?}`."""
        self._api.failures.add(PlannedFailure(**{**given, "kind": FailureKind(given["kind"])}))
        return {}

    def retry(self, given: JsonObject) -> JsonObject:
        """Try to collect an open invoice again: `{invoice}`."""
        invoice = self._state.get("invoice", given["invoice"])
        retry_payment(self._state, invoice)
        return invoice

    def forward(self, given: JsonObject) -> JsonObject:
        """Put the clock forward, which renews subscriptions: `{seconds}`."""
        self._state.forward_seconds += int(given["seconds"])
        renew_due(self._state)
        return {"now": self._state.now}

    def set_faults(self, given: JsonObject) -> JsonObject:
        """Set how webhooks are sent: `{copies?: [least, most], shuffled?, held?}`."""
        low, high = given.get("copies", (1, 1))
        self._webhooks.faults = StripeWebhookFaults((low, high), bool(given.get("shuffled")))
        self._webhooks.hold() if given.get("held") else self._webhooks.release()
        return {}


def add_control_routes(
    application: web.Application, state: StripeState, api: StripeApi, webhooks: StripeWebhookSender
) -> None:
    """Serve the control interface below `/demo/`."""
    control = StripeControl(state, api, webhooks)
    for name, action in control.actions.items():
        application.router.add_post(f"/demo/{name}", _handler(action))

    async def show(_: web.Request) -> web.StreamResponse:
        sent = [{"event": row.event_id, "type": row.event_type, "status": row.status} for row in webhooks.log]
        return web.json_response({"account": state.account_id, "now": state.now, "idle": webhooks.idle, "sent": sent})

    application.router.add_get("/demo/state", show)


def _handler(action: _Action) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return web.json_response(action(await request.json()))
        except StripeApiError as problem:
            return web.json_response(problem.to_json(), status=problem.status)
        except (KeyError, TypeError, ValueError) as error:
            return web.json_response(
                {"error": {"message": f"the body lacks or has a wrong field: {error}"}}, status=400
            )

    return handle
