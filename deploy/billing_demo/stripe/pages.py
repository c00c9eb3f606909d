"""The pages of the double: paying a checkout session, the customer portal, receipts and invoices."""

from html import escape

from aiohttp import web

from deploy.billing_demo.stripe.checkout import is_waiting, lines_of, pay_session, refresh
from deploy.billing_demo.stripe.currencies import format_amount
from deploy.billing_demo.stripe.page_text import page, pay_page
from deploy.billing_demo.stripe.problem import JsonObject, StripeApiError
from deploy.billing_demo.stripe.state import StripeState
from deploy.billing_demo.stripe.subscriptions import end_subscription
from keyferry.contracts.text import parse_digits

_ID_OF_SESSION = "{CHECKOUT_SESSION_ID}"


class CheckoutPages:
    """Serves the pages for the objects of one account."""

    def __init__(self, state: StripeState) -> None:
        self._state = state

    async def show(self, request: web.Request) -> web.StreamResponse:
        """Show the page of a session."""
        session = self._session(request)
        if session["status"] != "open":
            return self._closed(session)
        return _html(pay_page(session, self._rows(session)))

    async def submit(self, request: web.Request) -> web.StreamResponse:
        """Pay, refuse or leave a session, and go on to the page that the session names."""
        session, form = self._session(request), await request.post()
        action, number = str(form.get("action", "pay")), str(form.get("card", "")).replace(" ", "")
        if session["status"] != "open":
            return self._closed(session)
        if action == "cancel" and session["cancel_url"]:
            raise web.HTTPSeeOther(_with_id(session["cancel_url"], session))
        if action == "refuse":
            return self._failed(session, "We are unable to authenticate your payment method.")
        amount = str(form.get("amount", ""))
        try:
            pay_session(
                self._state,
                session,
                number=number,
                email=str(form.get("email") or session["customer_email"] or "payer@keyferry.test"),
                authenticated=action == "confirm",
                amount=parse_digits(amount) if amount else None,
            )
        except StripeApiError as problem:
            return self._failed(session, str(problem))
        if session["status"] == "open" and is_waiting(self._state, session):
            return _html(pay_page(session, self._rows(session), waiting=True, number=number))
        raise web.HTTPSeeOther(_with_id(session["success_url"], session))

    async def portal(self, request: web.Request) -> web.StreamResponse:
        """Show what a customer has, with a button that ends each subscription."""
        portal = self._found("billing_portal.session", request)
        customer = self._state.get("customer", portal["customer"])
        rows = "".join(
            f'<form method="post"><p>{escape(row["id"])}: {escape(row["status"])}</p>'
            f'<button name="subscription" value="{escape(row["id"])}">End this subscription</button></form>'
            for row in self._state.where("subscription", customer=customer["id"])
            if row["status"] != "canceled"
        )
        back = f'<p><a href="{escape(portal["return_url"])}">Back</a></p>' if portal["return_url"] else ""
        return _html(page("Your subscriptions", (rows or "<p>You have no subscription.</p>") + back))

    async def change(self, request: web.Request) -> web.StreamResponse:
        """End a subscription from the portal."""
        portal, form = self._found("billing_portal.session", request), await request.post()
        for row in self._state.where("subscription", id=str(form.get("subscription", "")), customer=portal["customer"]):
            end_subscription(self._state, row)
        raise web.HTTPSeeOther(request.path)

    async def receipt(self, request: web.Request) -> web.StreamResponse:
        """Show the receipt of a charge."""
        charge = self._found("charge", request)
        refunded = format_amount(charge["amount_refunded"], charge["currency"])
        paid = format_amount(charge["amount_captured"], charge["currency"])
        return _html(page("Receipt", f"<p>Paid: {paid}</p><p>Refunded: {refunded}</p><p>{escape(charge['id'])}</p>"))

    async def invoice(self, request: web.Request) -> web.StreamResponse:
        """Show an invoice."""
        invoice = self._found("invoice", request)
        total = format_amount(invoice["total"], invoice["currency"])
        return _html(
            page(f"Invoice {invoice['number']}", f"<p>Total: {total}</p><p>Status: {escape(invoice['status'])}</p>")
        )

    def _found(self, kind: str, request: web.Request) -> JsonObject:
        try:
            return self._state.get(kind, request.match_info["id"])
        except StripeApiError:
            raise web.HTTPNotFound(
                text=page("Not found", "<p>There is nothing here, or the demo was started anew since.</p>"),
                content_type="text/html",
            ) from None

    def _session(self, request: web.Request) -> JsonObject:
        return refresh(self._state, self._found("checkout.session", request))

    def _rows(self, session: JsonObject) -> list[JsonObject]:
        rows: list[JsonObject] = lines_of(self._state, session)["data"]
        return rows

    def _failed(self, session: JsonObject, failure: str) -> web.Response:
        return _html(pay_page(session, self._rows(session), failure=failure), 402)

    def _closed(self, session: JsonObject) -> web.Response:
        if session["status"] == "complete":
            raise web.HTTPSeeOther(_with_id(session["success_url"], session))
        return _html(page("This page has expired", "<p>Begin again where you came from.</p>"), 410)


def _with_id(url: str, session: JsonObject) -> str:
    return url.replace(_ID_OF_SESSION, str(session["id"]))


def _html(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, content_type="text/html", headers={"Cache-Control": "no-store"})


def add_pages(application: web.Application, state: StripeState) -> None:
    """Serve the pages."""
    pages = CheckoutPages(state)
    application.router.add_get("/c/pay/{id}", pages.show)
    application.router.add_post("/c/pay/{id}", pages.submit)
    application.router.add_get("/p/session/{id}", pages.portal)
    application.router.add_post("/p/session/{id}", pages.change)
    application.router.add_get("/receipts/{id}", pages.receipt)
    application.router.add_get("/invoices/{id}", pages.invoice)
