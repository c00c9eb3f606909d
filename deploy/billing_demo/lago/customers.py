"""Customers, plans and subscriptions of Lago."""

from deploy.billing_demo.lago.problem import JsonObject, invalid, not_found
from deploy.billing_demo.lago.routes import LagoCall, LagoRoute
from deploy.billing_demo.lago.state import given_object, new_id, page_of, require

_PLAIN = (
    *("name", "firstname", "lastname", "email", "phone", "url", "currency", "timezone", "country", "state", "city"),
    *("zipcode", "address_line1", "address_line2", "legal_name", "legal_number", "logo_url", "net_payment_term"),
    *("tax_identification_number", "customer_type"),
)
_INTERVALS = ("weekly", "monthly", "quarterly", "semiannual", "yearly")


def save_customer(call: LagoCall) -> JsonObject:
    """Add a customer, or change the one with this external id."""
    given = given_object(call.body, "customer")
    require(given, "external_id")
    table = call.state.table("customer")
    known = table.get(given["external_id"])
    currency = given.get("currency")
    if currency is not None and len(str(currency)) != 3:
        raise invalid({"currency": ["value_is_invalid"]})
    if known is None:
        known = table[given["external_id"]] = {
            "lago_id": new_id(),
            "sequential_id": len(table) + 1,
            "slug": f"KEY-{len(table) + 1:03}",
            "external_id": given["external_id"],
            **dict.fromkeys(_PLAIN),
            "applicable_timezone": "UTC",
            "billing_configuration": {"invoice_grace_period": None, "payment_provider": None, "document_locale": None},
            "billing_entity_code": "keyferry",
            "created_at": call.state.now(),
            "metadata": [],
        }
    known |= {name: given[name] for name in _PLAIN if name in given}
    known["applicable_timezone"] = known["timezone"] or "UTC"
    known["updated_at"] = call.state.now()
    if isinstance(given.get("metadata"), list):
        known["metadata"] = [
            {"lago_id": new_id(), "created_at": call.state.now(), "display_in_invoice": False, **row}
            for row in given["metadata"]
        ]
    return {"customer": known}


def delete_customer(call: LagoCall) -> JsonObject:
    """Delete a customer; its subscriptions end."""
    customer = call.state.get("customer", call.ids[0])
    for subscription in call.state.table("subscription").values():
        if subscription["external_customer_id"] == call.ids[0]:
            subscription |= {"status": "terminated", "terminated_at": call.state.now()}
    return {"customer": call.state.table("customer").pop(customer["external_id"])}


def save_plan(call: LagoCall) -> JsonObject:
    """Add a plan."""
    given = given_object(call.body, "plan")
    require(given, "name", "code", "interval", "amount_currency")
    if given["code"] in call.state.table("plan"):
        raise invalid({"code": ["value_already_exist"]})
    if given["interval"] not in _INTERVALS:
        raise invalid({"interval": ["value_is_invalid"]})
    plan = {
        "lago_id": new_id(),
        "description": None,
        "invoice_display_name": None,
        "amount_cents": 0,
        "pay_in_advance": False,
        "trial_period": 0.0,
        "charges": [],
        "taxes": [],
        **{name: value for name, value in given.items() if name != "charges"},
        "created_at": call.state.now(),
    }
    plan["charges"] = [_charge(call, row) for row in given.get("charges") or []]
    call.state.table("plan")[given["code"]] = plan
    return {"plan": plan}


def _charge(call: LagoCall, given: JsonObject) -> JsonObject:
    metrics = call.state.table("billable_metric").values()
    metric = next((row for row in metrics if row["lago_id"] == given.get("billable_metric_id")), None)
    if metric is None:
        raise not_found("billable_metrics")
    return {
        "lago_id": new_id(),
        "lago_billable_metric_id": metric["lago_id"],
        "billable_metric_code": metric["code"],
        "charge_model": given.get("charge_model", "standard"),
        "created_at": call.state.now(),
        "properties": given.get("properties", {"amount": "0"}),
    }


def save_subscription(call: LagoCall) -> JsonObject:
    """Begin a subscription, or change the plan or the name of the one with this external id."""
    given = given_object(call.body, "subscription")
    require(given, "plan_code", "external_customer_id", "external_id")
    call.state.get("customer", given["external_customer_id"])
    plan = call.state.get("plan", given["plan_code"])
    table, now = call.state.table("subscription"), call.state.now()
    known = table.get(given["external_id"])
    if known is not None and known["external_customer_id"] != given["external_customer_id"]:
        raise invalid({"external_id": ["value_already_exist"]})
    if known is None or known["status"] == "terminated":
        begins = given.get("subscription_at") or now
        known = table[given["external_id"]] = {
            "lago_id": new_id(),
            "external_id": given["external_id"],
            "lago_customer_id": call.state.get("customer", given["external_customer_id"])["lago_id"],
            "external_customer_id": given["external_customer_id"],
            "billing_time": given.get("billing_time", "calendar"),
            "subscription_at": begins,
            "started_at": begins,
            "ending_at": given.get("ending_at"),
            "status": "active",
            "terminated_at": None,
            "canceled_at": None,
            "created_at": now,
            "previous_plan_code": None,
            "next_plan_code": None,
            "downgrade_plan_date": None,
            "trial_ended_at": None,
            "name": None,
        }
    known["name"] = given.get("name", known["name"])
    known |= {
        "plan_code": plan["code"],
        "plan_amount_cents": str(plan["amount_cents"]),
        "plan_amount_currency": plan["amount_currency"],
    }
    return {"subscription": known}


def end_subscription(call: LagoCall) -> JsonObject:
    """End a subscription."""
    subscription = call.state.get("subscription", call.ids[0])
    subscription |= {"status": "terminated", "terminated_at": call.state.now()}
    return {"subscription": subscription}


def retrieve_subscription(call: LagoCall) -> JsonObject:
    """Return an active subscription."""
    found = call.state.get("subscription", call.ids[0])
    if found["status"] != call.query.get("status", "active"):
        raise not_found("subscription")
    return {"subscription": found}


def list_subscriptions(call: LagoCall) -> JsonObject:
    """List the subscriptions that are active, all or those of a customer."""
    wanted = call.query.get("external_customer_id")
    states = call.queries.get("status[]") or ["active"]
    found = [
        row
        for row in call.state.table("subscription").values()
        if row["status"] in states and wanted in (None, row["external_customer_id"])
    ]
    return page_of(found, call.query, "subscriptions")


ROUTES = (
    LagoRoute("POST", "/customers", save_customer),
    LagoRoute(
        "GET", "/customers", lambda call: page_of(call.state.table("customer").values(), call.query, "customers")
    ),
    LagoRoute("GET", "/customers/{}", lambda call: {"customer": call.state.get("customer", call.ids[0])}),
    LagoRoute("DELETE", "/customers/{}", delete_customer),
    LagoRoute("POST", "/plans", save_plan),
    LagoRoute("GET", "/plans", lambda call: page_of(call.state.table("plan").values(), call.query, "plans")),
    LagoRoute("GET", "/plans/{}", lambda call: {"plan": call.state.get("plan", call.ids[0])}),
    LagoRoute("POST", "/subscriptions", save_subscription),
    LagoRoute("GET", "/subscriptions", list_subscriptions),
    LagoRoute("GET", "/subscriptions/{}", retrieve_subscription),
    LagoRoute("DELETE", "/subscriptions/{}", end_subscription),
)
