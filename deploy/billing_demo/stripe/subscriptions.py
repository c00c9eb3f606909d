"""Subscriptions: begun, renewed, changed and ended."""

import calendar
from datetime import UTC, datetime
from typing import Any

from deploy.billing_demo.stripe.catalog import new_price
from deploy.billing_demo.stripe.customer_records import live_customer
from deploy.billing_demo.stripe.invoices import (
    after_payment,
    default_method,
    mark_paid,
    new_invoice,
    pay_invoice,
    subscription_of,
)
from deploy.billing_demo.stripe.listing import list_page, search_page, whole_list
from deploy.billing_demo.stripe.payment_methods import resolve
from deploy.billing_demo.stripe.problem import JsonObject, StripeApiError, invalid_parameter, missing_parameter
from deploy.billing_demo.stripe.routes import StripeCall, StripeRoute
from deploy.billing_demo.stripe.state import StripeState, merged_metadata

_UNITS_SECONDS = {"day": 86_400, "week": 7 * 86_400}
_MAX_FAILURES = 4
"""After how many failed renewals of one period a subscription ends."""


def period_end(start: int, recurring: JsonObject) -> int:
    """Return when a period that starts at `start`, in seconds, ends; months keep the day, or take their last one."""
    interval, count = recurring["interval"], recurring["interval_count"]
    if interval in _UNITS_SECONDS:
        return int(start + count * _UNITS_SECONDS[interval])
    at = datetime.fromtimestamp(start, UTC)
    months = at.month - 1 + count * (12 if interval == "year" else 1)
    year, month = at.year + months // 12, months % 12 + 1
    day = min(at.day, calendar.monthrange(year, month)[1])
    return int(at.replace(year=year, month=month, day=day).timestamp())


def new_subscription(
    state: StripeState, customer_id: str, prices: list[tuple[JsonObject, int]], **values: Any
) -> JsonObject:
    """Store a subscription that no invoice was made for yet; return it. `prices` have their quantities."""
    if any(price["recurring"] is None for price, _ in prices):
        raise invalid_parameter(
            "items[0][price]",
            "The price specified is set to `type=one_time` but this field only accepts recurring prices",
        )
    subscription = state.add(
        "subscription",
        **{
            "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
            "billing_cycle_anchor": state.now,
            "billing_mode": {"flexible": None, "type": "flexible"},
            "billing_schedules": [],
            "cancel_at_period_end": False,
            "cancellation_details": {"comment": None, "feedback": None, "reason": None},
            "collection_method": "charge_automatically",
            "currency": prices[0][0]["currency"],
            "customer": customer_id,
            "default_tax_rates": [],
            "discounts": [],
            "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
            "metadata": {},
            "payment_settings": {
                "payment_method_options": None,
                "payment_method_types": None,
                "save_default_payment_method": "off",
            },
            "start_date": state.now,
            "status": "incomplete",
            "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
            **values,
        },
    )
    items = [_new_item(state, subscription, price, quantity) for price, quantity in prices]
    subscription["items"] = whole_list(items, f"/v1/subscription_items?subscription={subscription['id']}")
    return subscription


def _new_item(state: StripeState, subscription: JsonObject, price: JsonObject, quantity: int) -> JsonObject:
    return state.add(
        "subscription_item",
        created=state.now,
        current_period_end=period_end(state.now, price["recurring"]),
        current_period_start=state.now,
        discounts=[],
        metadata={},
        plan=_plan(price),
        price=price,
        quantity=quantity,
        subscription=subscription["id"],
        tax_rates=[],
    )


def _plan(price: JsonObject) -> JsonObject:
    names = ("active", "billing_scheme", "created", "currency", "id", "livemode", "metadata", "nickname", "product")
    recurring = price["recurring"]
    return {
        **{name: price[name] for name in names},
        "object": "plan",
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        **{
            name: recurring[name] for name in ("interval", "interval_count", "meter", "trial_period_days", "usage_type")
        },
        "tiers_mode": None,
        "transform_usage": None,
    }


def make_invoice(state: StripeState, subscription: JsonObject, reason: str) -> JsonObject:
    """Make the invoice of a subscription's present period; return it."""
    rows = [
        {
            "amount": item["price"]["unit_amount"] * item["quantity"],
            "item": item["id"],
            "period": {"end": item["current_period_end"], "start": item["current_period_start"]},
            "price": item["price"],
            "quantity": item["quantity"],
        }
        for item in subscription["items"]["data"]
    ]
    invoice = new_invoice(state, subscription["customer"], rows, reason=reason, subscription=subscription)
    subscription["latest_invoice"] = invoice["id"]
    return invoice


def renew(state: StripeState, subscription: JsonObject) -> JsonObject | None:
    """Begin the next period, or end the subscription if that was wanted; return the new invoice."""
    if subscription["cancel_at_period_end"]:
        end_subscription(state, subscription)
        return None
    for item in subscription["items"]["data"]:
        item["current_period_start"] = item["current_period_end"]
        item["current_period_end"] = period_end(item["current_period_start"], item["price"]["recurring"])
    invoice = make_invoice(state, subscription, "subscription_cycle")
    try:
        pay_invoice(state, invoice, default_method(state, invoice), off_session=True)
    except StripeApiError:
        previous = state.change(subscription, status="past_due")
    else:
        previous = state.change(subscription, status="active")
    state.emit("customer.subscription.updated", subscription, previous)
    return invoice


def retry_payment(state: StripeState, invoice: JsonObject) -> None:
    """Try to collect an open invoice again, as Stripe does for some days; at last the subscription ends."""
    subscription = subscription_of(state, invoice)
    try:
        pay_invoice(state, invoice, default_method(state, invoice), off_session=True)
    except StripeApiError:
        if subscription and invoice["attempt_count"] >= _MAX_FAILURES:
            end_subscription(state, subscription)
    else:
        after_payment(state, invoice)


def renew_due(state: StripeState) -> None:
    """Renew each subscription whose period is over, as often as it is."""
    for subscription in list(state.table("subscription").values()):
        while subscription["status"] in ("active", "past_due") and _is_due(state, subscription):
            renew(state, subscription)


def _is_due(state: StripeState, subscription: JsonObject) -> bool:
    return bool(subscription["items"]["data"][0]["current_period_end"] <= state.now)


def end_subscription(state: StripeState, subscription: JsonObject, reason: str = "cancellation_requested") -> None:
    """End a subscription now, with its event."""
    details = {**subscription["cancellation_details"], "reason": reason}
    state.change(
        subscription, status="canceled", canceled_at=state.now, ended_at=state.now, cancellation_details=details
    )
    state.emit("customer.subscription.deleted", subscription)


def _prices(call: StripeCall) -> list[tuple[JsonObject, int]]:
    found = []
    for index, item in enumerate(call.params.get("items") or []):
        if "price" in item:
            price = call.state.get("price", item["price"], f"items[{index}][price]")
        elif "price_data" in item:
            price = new_price(call.state, item["price_data"], param=f"items[{index}][price_data]")
        else:
            raise missing_parameter(f"items[{index}][price]")
        found.append((price, item.get("quantity", 1)))
    if not found:
        raise missing_parameter("items")
    return found


def create(call: StripeCall) -> JsonObject:
    """Begin a subscription and pay its first invoice."""
    state, params = call.state, call.params
    customer = live_customer(state, params["customer"])
    values = call.pick("cancel_at_period_end", "description", "default_payment_method")
    if method := values.get("default_payment_method"):
        values["default_payment_method"] = resolve(state, method, "default_payment_method")["id"]
    values["metadata"] = merged_metadata({}, params.get("metadata"))
    subscription = new_subscription(state, customer["id"], _prices(call), **values)
    behavior = params.get("payment_behavior", "allow_incomplete")
    invoice = make_invoice(state, subscription, "subscription_create")
    if not invoice["total"]:
        mark_paid(state, invoice, None)
    elif behavior != "default_incomplete":
        try:
            pay_invoice(state, invoice, default_method(state, invoice), off_session=bool(params.get("off_session")))
        except StripeApiError:
            if behavior == "error_if_incomplete" or invoice["attempt_count"] == 0:
                state.table("subscription").pop(subscription["id"])
                raise
    if invoice["status"] == "paid":
        subscription["status"] = "active"
    state.emit("customer.subscription.created", subscription)
    return subscription


def update(call: StripeCall) -> JsonObject:
    """Change a subscription. Another price counts from the next invoice: the double makes no proration."""
    subscription = call.state.get("subscription", call.ids[0])
    if subscription["status"] == "canceled":
        raise StripeApiError(
            "A canceled subscription can only update its cancellation_details and metadata.", code="resource_missing"
        )
    values = call.pick("cancel_at_period_end", "description")
    if method := call.params.get("default_payment_method"):
        values["default_payment_method"] = call.state.get("payment_method", method, "default_payment_method")["id"]
    if values.get("cancel_at_period_end"):
        values |= {"canceled_at": call.state.now, "cancel_at": subscription["items"]["data"][0]["current_period_end"]}
    elif "cancel_at_period_end" in values:
        values |= {"canceled_at": None, "cancel_at": None}
    values["metadata"] = merged_metadata(subscription["metadata"], call.params.get("metadata"))
    for index, given in enumerate(call.params.get("items") or []):
        _change_item(call, subscription, given, index)
    previous = call.state.change(subscription, **values)
    call.state.emit("customer.subscription.updated", subscription, previous)
    return subscription


def _change_item(call: StripeCall, subscription: JsonObject, given: JsonObject, index: int) -> None:
    item = call.state.get("subscription_item", given.get("id", ""), f"items[{index}][id]")
    if "price" in given:
        price = call.state.get("price", given["price"], f"items[{index}][price]")
        item |= {"price": price, "plan": _plan(price)}
    if "quantity" in given:
        item["quantity"] = given["quantity"]
    assert item in subscription["items"]["data"], "items are shared with their subscription"


def cancel(call: StripeCall) -> JsonObject:
    """End a subscription now."""
    subscription = call.state.get("subscription", call.ids[0])
    if subscription["status"] == "canceled":
        raise StripeApiError(f"No such subscription: '{call.ids[0]}'", status=404, code="resource_missing", param="id")
    end_subscription(call.state, subscription)
    return subscription


def list_all(call: StripeCall) -> JsonObject:
    """List subscriptions that have not ended, or those of a status."""
    found = list(call.state.where("subscription", **call.pick("customer", "collection_method")))
    status = call.params.get("status")
    if status is None:
        found = [row for row in found if row["status"] != "canceled"]
    elif status != "all":
        found = [row for row in found if row["status"] == status or (status == "ended" and row["status"] == "canceled")]
    if price := call.params.get("price"):
        found = [row for row in found if any(item["price"]["id"] == price for item in row["items"]["data"])]
    return list_page(found, call.params, "/v1/subscriptions")


def search(call: StripeCall) -> JsonObject:
    """Search subscriptions."""
    return search_page(call.state.table("subscription").values(), call.params, "/v1/subscriptions/search")


ROUTES = (
    StripeRoute("POST", "/v1/subscriptions", "SubscriptionCreateParams", create),
    StripeRoute("GET", "/v1/subscriptions", "SubscriptionListParams", list_all),
    StripeRoute("GET", "/v1/subscriptions/search", "SubscriptionSearchParams", search),
    StripeRoute(
        "GET",
        "/v1/subscriptions/{}",
        "SubscriptionRetrieveParams",
        lambda call: call.state.get("subscription", call.ids[0]),
    ),
    StripeRoute("POST", "/v1/subscriptions/{}", "SubscriptionUpdateParams", update),
    StripeRoute("DELETE", "/v1/subscriptions/{}", "SubscriptionCancelParams", cancel),
)
