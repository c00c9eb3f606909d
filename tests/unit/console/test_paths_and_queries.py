"""Every route of a tenant needs an existing one, and every route takes the query parameters that it documents and no others."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from keyferry.contracts.erasure_management import TENANT_DELETE
from keyferry.contracts.notification_management import DELIVERY_LIST, DELIVERY_REPLAY
from keyferry.contracts.service import ErrorCode, Refusal
from keyferry.contracts.tenancy import Tenant, Tier
from keyferry.contracts.topology import TENANT_GET, TENANT_UPDATE
from keyferry.contracts.webhooks import ListDeliveries, ReplayDeliveries
from keyferry.runtime.http.problem import HttpProblem
from services.console.middleware import OPEN_PATHS
from services.console.validation import check_query
from tests.unit.console.surface import AUTHORIZED, KEY, Surface, error, openapi_document
from tests.unit.console.test_access import documented_routes, fill_path

_OF_A_TENANT = sorted(route for route in documented_routes() if "{tenant}" in route[1])
_ALL = sorted((method, path) for method, path in documented_routes() if path not in OPEN_PATHS)
_VALID = {
    "limit": "1",
    "after": "1",
    "revoked": "true",
    "days": "7",
    "created_by": "console:operator",
    "status": "valid",
    "state": "active",
    "event_state": "parked",
    "order": "newest",
    "operation": "research",
    "filter": "eu",
    "tier": "free",
    "class": "budget",
    "capability": "tools",
    "available": "all",
    "approved": "all",
    "sort": "cost",
    "since": "2026-11-01",
    "actor": "ann",
    "action": "key.add",
    "target": "key_1",
    "until": "2026-12-01",
    "version": "1",
    "revision": "1",
    "provider": "openai",
    "model": "gpt-5",
    "team": "support",
    "member": "alice",
    "client_token": "tok_00000000000000000000000001",
    "outcome": "failed",
    "error_class": "timeout",
    "level": "eco",
    "key_source": "byok",
    "key_id": "key_0001",
    "tag": "project=alpha",
    "min_cost_usd": "0.5",
    "min_latency_ms": "100",
    "id": "req_0001",
    "text": "overloaded",
    "count": "true",
    "format": "csv",
    "tz": "Europe/Berlin",
    "full": "true",
    "period": "7d",
    "tenant": "acme",
    "bucket": "hour",
    "by": "model",
    "lines": "3",
    "percentiles": "true",
    "endpoint": "lab",
    "power_level": "eco",
    "key": "key_0001",
    "baseline_provider": "openai",
    "baseline_model": "gpt-5",
    "force": "true",
    "revoke_tokens": "true",
    "topics": "health",
    "last_event_id": "19d2f0a1b2c-17",
    "rule_id": "alr_default_key_invalid",
    "metric": "spend",
    "event_type": "usage.attempt_recorded",
    "before": "dlv_0001",
    "kind": "slack_webhook_url",
    "only": "acme",
}
_VALID_AT = {
    ("/ops/provider-keys", "after"): "acme.",
    ("/errors", "by"): "team",
    ("/invoices/{month}", "tag"): "project",
    ("/alerts", "state"): "open",
    ("/alerts", "after"): "alt_0001",
    ("/deliveries", "state"): "failed",
    ("/lago/customers", "after"): "acme",
    ("/reconciliations", "after"): "rcn_0001",
}
"""Values of parameters that mean something else at the end of these paths."""
_SCOPES = ("team", "member", "client_token")
_NEEDS = {"baseline_provider": "baseline_model", "baseline_model": "baseline_provider"}
"""Parameters that are only valid with another."""


def _valid_at(path: str, name: str) -> str:
    found = [value for (end, each), value in _VALID_AT.items() if each == name and path.endswith(end)]
    return found[0] if found else _VALID[name]


def _documented_queries() -> Mapping[tuple[str, str], list[str]]:
    paths = openapi_document()["paths"]
    return {
        (method, path): [
            each["name"] for each in paths[path][method.lower()].get("parameters", ()) if each["in"] == "query"
        ]
        for method, path in _ALL
    }


_QUERIES = _documented_queries()


def _repeatable(method: str, path: str) -> set[str]:
    parameters = openapi_document()["paths"][path][method.lower()].get("parameters", ())
    return {each["name"] for each in parameters if each["schema"].get("type") == "array"}


async def test_load_balancers_may_add_parameters() -> None:
    for path in OPEN_PATHS:
        response = await Surface().ask("GET", f"{path}?nocache=1&nocache=2", headers={})
        assert response.status_code == 200


async def test_every_route_of_an_unknown_tenant_is_a_404_before_anything_else_is_asked() -> None:
    surface = Surface()
    for subject in (TENANT_GET, TENANT_UPDATE, TENANT_DELETE):
        surface.bus.answers(subject, Refusal(code=ErrorCode.NOT_FOUND, message="there is no such tenant"))
    assert len(_OF_A_TENANT) >= 30
    for method, path in _OF_A_TENANT:
        bodies = {"PATCH": {"tier": "free"}, "DELETE": {"confirm": "acme"}, "PUT": {"skipped": True}}
        body = bodies.get(method) if path.endswith("/{tenant}") else None
        response = await surface.ask(method, fill_path(path), body)
        assert error(response) == (404, "not_found", None), f"{method} {path}"
        assert response.json()["error"]["message"] == "there is no such tenant"
    assert {name for name, _ in surface.bus.asked} == {TENANT_GET.name, TENANT_UPDATE.name, TENANT_DELETE.name}


async def test_routes_of_an_existing_tenant_reach_their_owner() -> None:
    surface = Surface()
    surface.bus.answers(TENANT_GET, Tenant(tenant="acme", name="Acme", tier=Tier.FREE))
    assert (await surface.ask("GET", "/api/v1/ops/tenants/acme/providers")).status_code == 200
    assert (await surface.ask("GET", "/api/v1/ops/tenants/acme/audit")).status_code == 503


async def test_a_tenant_can_be_managed_while_the_directory_is_away() -> None:
    assert (await Surface().ask("GET", "/api/v1/ops/tenants/acme/providers")).status_code == 200


@pytest.mark.parametrize(
    "query", ["nosuch=1", "nosuch", "tenant=globex", "Limit=5", "limit[]=5", f"{KEY}=1", "=1", "&"]
)
def test_an_unknown_parameter_is_refused(query: str) -> None:
    with pytest.raises(HttpProblem) as refused:
        check_query(query.encode(), ("limit", "after"))
    assert (refused.value.status, refused.value.code) == (400, "unknown_field")
    assert "the parameters here are limit, after" in str(refused.value)
    assert KEY not in str(refused.value)


@pytest.mark.parametrize("value", ["%ff", "%", "%zz", "%c3", "%ed%a0%80", "%2"])
@pytest.mark.parametrize("form", ["limit={}", "{}=1", "limit=1&after={}"])
def test_a_query_that_cannot_be_read_is_refused(value: str, form: str) -> None:
    with pytest.raises(HttpProblem) as refused:
        check_query(form.format(value).encode(), ("limit", "after"))
    assert (refused.value.status, refused.value.code) == (400, "invalid_value")


@pytest.mark.parametrize("query", ["limit=1&limit=1", "limit=1&after=x&limit=2", "limit=&%6cimit="])
def test_a_repeated_parameter_is_refused(query: str) -> None:
    with pytest.raises(HttpProblem) as refused:
        check_query(query.encode(), ("limit", "after"))
    assert (refused.value.status, refused.value.param) == (400, "limit")


def test_each_parameter_may_be_given_once() -> None:
    check_query(b"", ())
    check_query(b"limit=1&after=a%20b+%C3%A9", ("limit", "after"))


async def test_every_route_refuses_what_it_does_not_document() -> None:
    surface = Surface()
    for (method, path), known in _QUERIES.items():
        foreign = sorted(set(_VALID) - set(known))[0]
        once = [name for name in known if name not in _repeatable(method, path)]
        queries = [
            f"{foreign}={_VALID[foreign]}",
            *[f"{name}={_VALID[name]}&{name}={_VALID[name]}" for name in once[:1]],
        ]
        for query in queries:
            response = await surface.ask(method, f"{fill_path(path)}?{query}")
            assert response.status_code == 400, f"{method} {path}?{query}"
            assert error(response)[2] == query.partition("=")[0]
    assert surface.bus.asked == []


async def test_every_documented_parameter_is_taken() -> None:
    documented = {name for names in _QUERIES.values() for name in names}
    assert documented == set(_VALID)
    for (method, path), known in _QUERIES.items():
        for name in known:
            body = None if method == "GET" else {"power_level": None} if path.endswith("/power-level") else {}
            query = f"{name}={_valid_at(path, name)}"
            query += f"&{_NEEDS[name]}={_VALID[_NEEDS[name]]}" if name in _NEEDS else ""
            response = await Surface().ask(method, f"{fill_path(path)}?{query}", body)
            if name in _SCOPES and "{tenant}" not in path and not re.search("/(usage|requests|client-tokens)", path):
                assert error(response)[:2] == (422, "invalid_value"), "the platform has no teams"
                continue
            if (path, name) == ("/api/v1/events", "tenant"):
                assert error(response)[:2] == (404, "not_found"), "the operator is no member of a tenant"
                continue
            assert response.status_code in (200, 400, 503), f"{method} {path}?{name}"
            if response.status_code == 400:
                assert error(response)[1] == "invalid_cursor", f"{method} {path}?{name}: {response.text}"


@pytest.mark.parametrize("value", ["1_0", "+1", " 1", "1.0", "0x1", "1e1", "\N{ARABIC-INDIC DIGIT THREE}", "true", ""])
async def test_a_number_in_a_query_is_written_in_digits(value: str) -> None:
    for path, name in (
        ("/api/v1/audit", "limit"),
        ("/api/v1/ops/dead-letters", "after"),
        ("/api/v1/models", "limit"),
        (f"/api/v1/webhooks/whe_{'0' * 26}/deliveries", "limit"),
    ):
        surface = Surface()
        response = await surface.ask("GET", path, params={name: value})
        assert error(response) == (422, "invalid_value", name)
        assert surface.bus.asked == []


@pytest.mark.parametrize("value", ["1", "0", "1.5", "-1", "1e9", "1700000000000", "yesterday", "true", ""])
async def test_a_time_in_a_query_is_a_date(value: str) -> None:
    surface = Surface()
    response = await surface.ask("GET", "/api/v1/usage/summary", params={"since": value})
    assert error(response) == (422, "invalid_value", "since")
    assert "such as 2027-01-31T00:00:00Z" in response.json()["error"]["message"]


@pytest.mark.parametrize("target", [f"webhooks/whe_{'0' * 26}", f"notification-channels/chn_{'0' * 26}"])
async def test_a_time_of_deliveries_without_a_zone_is_in_utc(target: str) -> None:
    surface = Surface()
    surface.bus.answers(DELIVERY_LIST, Refusal(code=ErrorCode.CONFLICT, message="this is the notifier"))
    surface.bus.answers(DELIVERY_REPLAY, Refusal(code=ErrorCode.CONFLICT, message="this is the notifier"))
    span = {"since": "2026-11-01T00:00:00", "until": "2026-11-02T02:00:00+02:00"}
    assert (await surface.ask("GET", f"/api/v1/{target}/deliveries", params=span)).status_code == 409
    assert (await surface.ask("POST", f"/api/v1/{target}/replay", span)).status_code == 409
    assert len(surface.bus.asked) == 2
    for _, command in surface.bus.asked:
        assert isinstance(command, ListDeliveries | ReplayDeliveries)
        assert (command.since, command.until) == (datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC))


async def test_every_integer_and_time_of_a_body_is_of_its_own_json_type() -> None:
    document = openapi_document()
    tried = set()
    for method, path in _ALL:
        content = document["paths"][path][method.lower()].get("requestBody", {}).get("content", {})
        for media in content.values():
            name = media["schema"]["$ref"].rpartition("/")[2]
            for field, schema in document["components"]["schemas"][name]["properties"].items():
                forms = [schema, *schema.get("anyOf", ())]
                if field == "monthly_limit_usd":
                    continue  # a string, or a whole number
                wrong: list[object] = []
                wrong += ["5", True, 1.0] if any(form.get("type") == "integer" for form in forms) else []
                wrong += (
                    [5, 1e9, True, "5", "1700000000"]
                    if any(form.get("format") == "date-time" for form in forms)
                    else []
                )
                wrong += (
                    [5, 1767225600, True, "1767225600"] if any(form.get("format") == "date" for form in forms) else []
                )
                for value in wrong:
                    response = await Surface().ask(method, fill_path(path), {field: value})
                    assert response.status_code == 422, f"{method} {path} {field}={value!r}: {response.text}"
                    assert f"{field}: " in response.json()["error"]["message"]
                    tried.add((name, field))
    assert len(tried) >= 7, tried


@pytest.mark.parametrize(
    "body", ['{"tenant":"a","tenant":"b"}', '{"tenant":"a","x":[{"y":1,"y":1}]}', '{"t\\u0065nant":"a","tenant":"a"}']
)
async def test_a_body_with_a_name_twice_is_refused(body: str) -> None:
    surface = Surface()
    headers = {**AUTHORIZED, "content-type": "application/json"}
    response = await surface.ask("POST", "/api/v1/ops/tenants", headers=headers, content=body)
    assert error(response) == (400, "invalid_json", None)
    assert "twice" in response.json()["error"]["message"]
    assert surface.bus.asked == []


async def test_every_route_without_a_body_refuses_one() -> None:
    document = openapi_document()
    without = [(method, path) for method, path in _ALL if "requestBody" not in document["paths"][path][method.lower()]]
    assert len(without) >= 40
    for method, path in without:
        surface = Surface()
        response = await surface.ask(method, fill_path(path), {"limit": 5})
        assert error(response) == (400, "unknown_field", None), f"{method} {path}"
        assert surface.bus.asked == []
        expected = (
            {403} if path.startswith("/api/v1/sessions") else {200, 404, 503}
        )  # the operator's token is no session
        assert (await surface.ask(method, fill_path(path), {})).status_code in expected, f"{method} {path}"
