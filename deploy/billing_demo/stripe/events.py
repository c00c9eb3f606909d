"""Events, and the endpoints that they are sent to."""

import fnmatch
import secrets

from deploy.billing_demo.stripe.listing import list_page
from deploy.billing_demo.stripe.problem import JsonObject, StripeApiError, invalid_parameter
from deploy.billing_demo.stripe.routes import StripeCall, StripeRoute
from deploy.billing_demo.stripe.state import StripeState, merged_metadata

_SECRETS = "_webhook_secrets"
"""The table of the endpoints' signing secrets, the newest first; Stripe shows one only when it creates the endpoint."""
_KEPT_SECONDS = 30 * 86_400


def new_endpoint(
    state: StripeState, url: str, enabled_events: list[str], secret: str | None = None, **values: object
) -> JsonObject:
    """Store an endpoint and its signing secret; return it without the secret."""
    endpoint = state.add(
        "webhook_endpoint",
        **{"enabled_events": enabled_events, "metadata": {}, "status": "enabled", "url": url, **values},
    )
    chosen = secret or f"whsec_{secrets.token_urlsafe(24)}"
    state.table(_SECRETS)[endpoint["id"]] = {"id": endpoint["id"], "secrets": [{"value": chosen, "until": None}]}
    return endpoint


def signing_secrets(state: StripeState, endpoint: JsonObject) -> list[str]:
    """Return the secrets that sign what is sent to an endpoint: the newest, and others while their time lasts."""
    found = state.table(_SECRETS)[endpoint["id"]]["secrets"]
    return [entry["value"] for entry in found if entry["until"] is None or entry["until"] > state.now]


def roll_secret(state: StripeState, endpoint_id: str, overlap_seconds: int, secret: str | None = None) -> str:
    """Give an endpoint a new signing secret, as the button of Stripe's dashboard does; the old one signs too for a while."""
    entry = state.table(_SECRETS)[endpoint_id]
    for known in entry["secrets"]:
        known["until"] = state.now + overlap_seconds if known["until"] is None else known["until"]
    chosen = secret or f"whsec_{secrets.token_urlsafe(24)}"
    entry["secrets"].insert(0, {"value": chosen, "until": None})
    return chosen


def wants(endpoint: JsonObject, event_type: str) -> bool:
    """Return whether events of a type are sent to an endpoint."""
    return endpoint["status"] == "enabled" and any(name in ("*", event_type) for name in endpoint["enabled_events"])


def _check_url(state: StripeState, url: str) -> str:
    if not url.startswith(("https://", "http://")) or (state.livemode and not url.startswith("https://")):
        raise invalid_parameter(
            "url", "Invalid URL: URL must be publicly accessible and begin with https://", "url_invalid"
        )
    return url


def create(call: StripeCall) -> JsonObject:
    """Create an endpoint; the answer has its signing secret, which no other answer has."""
    params = call.params
    endpoint = new_endpoint(
        call.state,
        _check_url(call.state, params["url"]),
        params["enabled_events"],
        api_version=params.get("api_version"),
        description=params.get("description"),
        metadata=merged_metadata({}, params.get("metadata")),
    )
    return {**endpoint, "secret": signing_secrets(call.state, endpoint)[0]}


def update(call: StripeCall) -> JsonObject:
    """Change an endpoint."""
    endpoint = call.state.get("webhook_endpoint", call.ids[0])
    values = call.pick("description", "enabled_events")
    if "url" in call.params:
        values["url"] = _check_url(call.state, call.params["url"])
    if "disabled" in call.params:
        values["status"] = "disabled" if call.params["disabled"] else "enabled"
    values["metadata"] = merged_metadata(endpoint["metadata"], call.params.get("metadata"))
    call.state.change(endpoint, **values)
    return endpoint


def delete(call: StripeCall) -> JsonObject:
    """Delete an endpoint: nothing more is sent to it."""
    endpoint = call.state.get("webhook_endpoint", call.ids[0])
    del call.state.table("webhook_endpoint")[endpoint["id"]]
    return {"id": endpoint["id"], "object": "webhook_endpoint", "deleted": True}


def list_endpoints(call: StripeCall) -> JsonObject:
    """List the endpoints."""
    return list_page(call.state.table("webhook_endpoint").values(), call.params, "/v1/webhook_endpoints")


def list_events(call: StripeCall) -> JsonObject:
    """List the events of the last 30 days, of all types or of some; a type may end with `.*`."""
    state, params = call.state, call.params
    wanted = params.get("types") or ([params["type"]] if "type" in params else ["*"])
    if len(wanted) > 20:
        raise StripeApiError("You may only specify up to 20 event types.", param="types")
    found = [
        event
        for event in state.table("event").values()
        if event["created"] > state.now - _KEPT_SECONDS
        and any(fnmatch.fnmatchcase(event["type"], name) for name in wanted)
    ]
    if (success := params.get("delivery_success")) is not None:
        found = [event for event in found if (event["pending_webhooks"] == 0) == success]
    return list_page(found, params, "/v1/events")


ROUTES = (
    StripeRoute("GET", "/v1/events", "EventListParams", list_events),
    StripeRoute("GET", "/v1/events/{}", "EventRetrieveParams", lambda call: call.state.get("event", call.ids[0])),
    StripeRoute("POST", "/v1/webhook_endpoints", "WebhookEndpointCreateParams", create),
    StripeRoute("GET", "/v1/webhook_endpoints", "WebhookEndpointListParams", list_endpoints),
    StripeRoute(
        "GET",
        "/v1/webhook_endpoints/{}",
        "WebhookEndpointRetrieveParams",
        lambda call: call.state.get("webhook_endpoint", call.ids[0]),
    ),
    StripeRoute("POST", "/v1/webhook_endpoints/{}", "WebhookEndpointUpdateParams", update),
    StripeRoute("DELETE", "/v1/webhook_endpoints/{}", "WebhookEndpointDeleteParams", delete),
)
