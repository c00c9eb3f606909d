"""Billable metrics and usage events of Lago: a batch is taken whole or not at all, and a transaction once."""

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

from deploy.billing_demo.lago.problem import JsonObject, invalid, not_found
from deploy.billing_demo.lago.routes import LagoCall, LagoRoute
from deploy.billing_demo.lago.state import MAX_BATCH, LagoAccount, format_time, given_object, new_id, page_of, require

_AGGREGATIONS = ("count_agg", "sum_agg", "max_agg", "unique_count_agg", "weighted_sum_agg", "latest_agg", "custom_agg")
_WITHOUT_FIELD = ("count_agg", "custom_agg")


def save_metric(call: LagoCall) -> JsonObject:
    """Add a billable metric."""
    given = given_object(call.body, "billable_metric")
    require(given, "name", "code", "aggregation_type")
    if given["code"] in call.state.table("billable_metric"):
        raise invalid({"code": ["value_already_exist"]})
    if given["aggregation_type"] not in _AGGREGATIONS:
        raise invalid({"aggregation_type": ["value_is_invalid"]})
    if given["aggregation_type"] not in _WITHOUT_FIELD:
        require(given, "field_name")
    metric = {
        "lago_id": new_id(),
        "description": None,
        "recurring": False,
        "field_name": None,
        "expression": None,
        "rounding_function": None,
        "rounding_precision": None,
        "weighted_interval": None,
        "filters": [],
        **given,
        "created_at": call.state.now(),
    }
    call.state.table("billable_metric")[given["code"]] = metric
    return {"billable_metric": metric}


def _mistakes(state: LagoAccount, given: Any) -> JsonObject:
    """Return what is wrong with one event, by its fields."""
    if not isinstance(given, dict):
        return {"event": ["value_is_invalid"]}
    names = ("transaction_id", "external_subscription_id", "code")
    found: JsonObject = {name: ["value_is_mandatory"] for name in names if not given.get(name)}
    if given.get("timestamp") is not None and _seconds(given["timestamp"]) is None:
        found["timestamp"] = ["invalid_format"]
    if not found and _key(given) in state.event_keys:
        found["transaction_id"] = ["value_already_exist"]
    return found


def _key(given: JsonObject) -> tuple[str, str]:
    return str(given["external_subscription_id"]), str(given["transaction_id"])


def _seconds(timestamp: Any) -> Decimal | None:
    try:
        seconds = Decimal(str(timestamp))
    except InvalidOperation:
        return None
    return seconds if seconds.is_finite() and 0 <= seconds < 10**11 else None


def _store(state: LagoAccount, given: JsonObject) -> JsonObject:
    seconds = _seconds(given["timestamp"]) if given.get("timestamp") is not None else None
    subscription = state.table("subscription").get(given["external_subscription_id"], {})
    event = {
        "lago_id": new_id(),
        "transaction_id": given["transaction_id"],
        "lago_customer_id": subscription.get("lago_customer_id"),
        "lago_subscription_id": subscription.get("lago_id"),
        "external_subscription_id": given["external_subscription_id"],
        "code": given["code"],
        "timestamp": format_time(float(seconds) if seconds is not None else state.now_seconds()),
        "precise_total_amount_cents": given.get("precise_total_amount_cents"),
        "properties": given.get("properties") or {},
        "created_at": state.now(),
    }
    state.event_keys.add(_key(given))
    state.table("event")[given["transaction_id"]] = event
    return event


def add_event(call: LagoCall) -> JsonObject:
    """Take one event. An unknown code or subscription is no error here, as at Lago: it shows when usage is summed."""
    given = given_object(call.body, "event")
    if found := _mistakes(call.state, given):
        raise invalid(found)
    return {"event": _store(call.state, given)}


def add_batch(call: LagoCall) -> JsonObject:
    """Take up to 100 events, all or none."""
    given = call.body.get("events") if isinstance(call.body, dict) else None
    if not isinstance(given, list) or not given:
        raise invalid({"events": ["no_events"]})
    if len(given) > MAX_BATCH:
        raise invalid({"events": ["too_many_events"]})
    found = {str(index): wrong for index, event in enumerate(given) if (wrong := _mistakes(call.state, event))}
    seen: set[tuple[str, str]] = set()
    for index, event in enumerate(given):
        if str(index) not in found:
            if _key(event) in seen:
                found[str(index)] = {"transaction_id": ["value_already_exist"]}
            seen.add(_key(event))
    if found:
        raise invalid(found)
    return {"events": [_store(call.state, event) for event in given]}


def list_events(call: LagoCall) -> JsonObject:
    """List events: all, or those of a code, a subscription and a time."""
    return page_of(_matching(call), call.query, "events")


def _matching(call: LagoCall) -> Iterator[JsonObject]:
    for event in call.state.table("event").values():
        names = ("code", "external_subscription_id")
        if all(call.query.get(name) in (None, event[name]) for name in names):
            after, before = call.query.get("timestamp_from", ""), call.query.get("timestamp_to", "Z")
            if after <= event["timestamp"] <= before:
                yield event


def current_usage(call: LagoCall) -> JsonObject:
    """Return what a subscription has used, by metric; the double sums all of its events, whatever their month."""
    customer = call.state.get("customer", call.ids[0])
    subscription = call.state.table("subscription").get(call.query.get("external_subscription_id", ""))
    if subscription is None or subscription["external_customer_id"] != customer["external_id"]:
        raise not_found("subscription")
    rows = [_usage_of(call.state, metric, subscription) for metric in call.state.table("billable_metric").values()]
    usage = {
        "from_datetime": subscription["started_at"],
        "to_datetime": call.state.now(),
        "issuing_date": call.state.now()[:10],
        "lago_invoice_id": None,
        "currency": subscription["plan_amount_currency"],
        "amount_cents": 0,
        "total_amount_cents": 0,
        "taxes_amount_cents": 0,
        "charges_usage": rows,
    }
    return {"customer_usage": usage}


def _usage_of(state: LagoAccount, metric: JsonObject, subscription: JsonObject) -> JsonObject:
    events = [
        event
        for event in state.table("event").values()
        if event["code"] == metric["code"] and event["external_subscription_id"] == subscription["external_id"]
    ]
    units = Decimal(len(events))
    if metric["aggregation_type"] == "sum_agg":
        units = sum((Decimal(str(event["properties"].get(metric["field_name"]) or 0)) for event in events), Decimal(0))
    return {
        "units": str(units),
        "total_aggregated_units": str(units),
        "events_count": len(events),
        "amount_cents": 0,
        "amount_currency": subscription["plan_amount_currency"],
        "charge": {"lago_id": metric["lago_id"], "charge_model": "standard", "invoice_display_name": None},
        "billable_metric": {name: metric[name] for name in ("lago_id", "name", "code", "aggregation_type")},
        "filters": [],
        "grouped_usage": [],
    }


ROUTES = (
    LagoRoute("POST", "/billable_metrics", save_metric),
    LagoRoute(
        "GET",
        "/billable_metrics",
        lambda call: page_of(call.state.table("billable_metric").values(), call.query, "billable_metrics"),
    ),
    LagoRoute(
        "GET",
        "/billable_metrics/{}",
        lambda call: {"billable_metric": call.state.get("billable_metric", call.ids[0])},
    ),
    LagoRoute("POST", "/events", add_event),
    LagoRoute("POST", "/events/batch", add_batch),
    LagoRoute("GET", "/events", list_events),
    LagoRoute("GET", "/events/{}", lambda call: {"event": call.state.get("event", call.ids[0])}),
    LagoRoute("GET", "/customers/{}/current_usage", current_usage),
)
