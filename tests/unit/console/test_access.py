"""Every documented route needs a credential and a row in the access table."""

from collections.abc import Iterator

import pytest
from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute

from keyferry.contracts.access_role import TENANT_ROLES, AccessRole
from keyferry.contracts.secret import Secret
from services.console.access import ALLOWED, COMMANDS_PATH, INSTALLATION_PREFIX, OPERATOR_PREFIX, OWN_PREFIX
from services.console.authentication import OPERATOR, InvalidCredential, identify
from services.console.middleware import OPEN_PATHS
from services.console.self_access import SELF_ROUTES
from services.console.tenant_context import CurrentTenant, tenant_in_path
from tests.unit.console.surface import AUTHORIZED, TOKEN, Surface, error, openapi_document

_METHODS = {"get", "post", "put", "patch", "delete", "head", "options"}


TOKEN_ID = f"tok_{'0' * 26}"


def documented_routes() -> Iterator[tuple[str, str]]:
    """Yield the method and path template of every operation."""
    paths = openapi_document()["paths"]
    for path, operations in paths.items():
        yield from ((name.upper(), path) for name in operations if name in _METHODS)


ROUTES = sorted((method, path) for method, path in documented_routes() if path not in OPEN_PATHS)


def fill_path(path: str) -> str:
    names = {"tenant": "acme", "key_id": "key_0001", "token_id": TOKEN_ID, "name": "lab", "request_id": "req_0001"}
    names["budget_id"] = "bud_00000000000000000000000001"
    names["alert_id"] = "alt_00000000000000000000000001"
    names["rule_id"] = "alr_default_key_invalid"
    names["number"] = "7"
    names |= {"endpoint_id": f"whe_{'0' * 26}", "channel_id": f"chn_{'0' * 26}", "report_id": f"rep_{'0' * 26}"}
    names |= {"member_id": "mem_0001", "invitation_id": "inv_0001", "team": "sales"}
    names["session_id"] = "ses_00000000000000000000000000"
    names["secret_id"] = f"isec_{'0' * 26}"
    names["purchase"] = "pur_00000000000000000000000001"
    names |= {"provider": "openai", "reconciliation_id": "rcn_00000000000000000000000001", "month": "2026-11"}
    names |= {"subject": "tier.list", "trace": "0af7651916cd43dd8448eb211c80319c"}
    return path.format(**names)


def test_every_route_has_an_access_row_and_every_row_a_route() -> None:
    assert set(ROUTES) == set(ALLOWED)


def test_both_prefixes_have_the_same_routes() -> None:
    own = {
        (method, path.removeprefix(OWN_PREFIX)) for method, path in ROUTES if not path.startswith(INSTALLATION_PREFIX)
    } - {("POST", COMMANDS_PATH.removeprefix(OWN_PREFIX))}
    own -= {(method, path.removeprefix(OWN_PREFIX)) for method, path in SELF_ROUTES}
    operator_routes = {
        (method, path.removeprefix(OPERATOR_PREFIX))
        for method, path in ROUTES
        if path.startswith(f"{OPERATOR_PREFIX}/")
    }
    assert own == operator_routes
    assert len(own) >= 28


def test_every_served_route_is_documented() -> None:
    served: set[tuple[str, str]] = set()

    def look(app: FastAPI) -> None:
        for route in app.routes:
            assert isinstance(route, APIRoute), f"{route} answers and is no documented route"
            served.update((method, route.path) for method in route.methods or ())

    Surface(adapt=look).build_application()
    assert served == set(documented_routes())


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": f"Bearer {TOKEN[:-1]}"},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": f"Bearer {TOKEN.upper()}"},
        {"x-api-key": TOKEN},
        {"api-key": TOKEN},
        {"cookie": f"token={TOKEN}"},
    ],
)
async def test_every_route_rejects_unknown_credentials(headers: dict[str, str]) -> None:
    surface = Surface()
    for method, path in ROUTES:
        response = await surface.ask(method, fill_path(path), headers=headers)
        assert error(response) == (401, "invalid_api_key", None), f"{method} {path}"
        assert response.json()["error"]["type"] == "authentication_error"
        assert response.headers["www-authenticate"] == "Bearer"
        assert TOKEN[:-1] not in response.text
    assert surface.bus.asked == []
    assert len(ROUTES) >= 30


async def test_two_different_credentials_are_refused_although_one_is_valid() -> None:
    for tokens in ((TOKEN, "other"), ("other", TOKEN)):
        headers = [("authorization", f"Bearer {token}") for token in tokens]
        response = await Surface().ask("GET", fill_path(ROUTES[0][1]), headers=headers)  # type: ignore[arg-type]  # pairs
        assert error(response) == (401, "invalid_api_key", None)
        assert "different credentials in its Authorization headers" in response.json()["error"]["message"]


async def test_every_route_accepts_the_operator() -> None:
    """The same requests with the credential are neither 401 nor 403."""
    surface = Surface()
    for method, path in sorted(set(ROUTES) - {*SELF_ROUTES} | {("GET", "/api/v1/session")}):
        assert (await surface.ask(method, fill_path(path))).status_code not in (401, 403), f"{method} {path}"


def test_operators_alone_may_act_for_any_tenant_and_for_the_installation() -> None:
    for method, path in ALLOWED:
        if path.startswith(INSTALLATION_PREFIX + "/"):
            assert ALLOWED[method, path] == {AccessRole.OPERATOR}, (method, path)


def test_each_role_of_a_tenant_includes_the_ones_after_it() -> None:
    for allowed in ALLOWED.values():
        included = [role in allowed for role in TENANT_ROLES]
        assert included == sorted(included, reverse=True)
        assert AccessRole.OPERATOR in allowed


def test_viewers_change_nothing() -> None:
    """Commands are decided on one by one (`test_commands`); everybody may change their own session."""
    allowed = {route: roles for route, roles in ALLOWED.items() if route not in SELF_ROUTES}
    changing = [route for route, roles in allowed.items() if AccessRole.VIEWER in roles and route[0] != "GET"]
    assert changing == [("POST", COMMANDS_PATH)]


@pytest.mark.parametrize("path", ["/api", "/api/v1", "/api/v1/nothing", "/api/v1/openapi.json", "/v1/models"])
async def test_unknown_clients_learn_nothing_about_routes(path: str) -> None:
    assert error(await Surface().ask("GET", path, headers={})) == (401, "invalid_api_key", None)
    assert error(await Surface().ask("GET", path, headers=AUTHORIZED)) == (404, "unknown_url", None)


async def test_route_without_an_access_row_is_denied_to_the_operator() -> None:
    async def forgotten(context: CurrentTenant) -> dict[str, str]:
        return {"tenant": context.tenant}

    def add(app: FastAPI) -> None:
        app.add_api_route("/api/v1/forgotten", forgotten)
        app.add_api_route(
            f"{OPERATOR_PREFIX}/forgotten",
            forgotten,
            dependencies=[Depends(tenant_in_path)],
            name="acting",
        )

    surface = Surface(adapt=add)
    assert error(await surface.ask("GET", "/api/v1/forgotten")) == (403, "not_allowed", None)
    assert error(await surface.ask("GET", "/api/v1/ops/tenants/acme/forgotten")) == (403, "not_allowed", None)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_operators_own_tenant_is_the_platform(scheme: str) -> None:
    caller = identify(f"{scheme}  {TOKEN} ", Secret(TOKEN))
    assert caller == OPERATOR
    assert (caller.tenant, caller.actor) == ("platform", "console:operator")


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", f"Token {TOKEN}", "Bearer \xff\xfe", "Bearer x" * 999]
)
def test_other_credentials_are_rejected(header: str | None) -> None:
    with pytest.raises(InvalidCredential) as refused:
        identify(header, Secret(TOKEN))
    assert "\xff" not in str(refused.value)


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/api/v1/provider-keys/", "leave out the slash"),
        ("/provider-keys", "is under /api/v1"),
        ("/ops/tenants/acme/provider-keys", "is under /api/v1"),
        ("/v1/chat/completions", "at the port of the gateway"),
        (
            "/api/v1/keys",
            "models, notification-channels, power-level, preferences, privacy, provider-keys,",
        ),
        ("/api", "docs/architecture/openapi.json lists all"),
        (f"/api/v1/{TOKEN}", "docs/architecture/openapi.json lists all"),
    ],
)
async def test_an_unknown_address_is_answered_with_what_there_is(path: str, hint: str) -> None:
    response = await Surface().ask("GET", path)
    assert error(response) == (404, "unknown_url", None)
    assert hint in response.json()["error"]["message"]
    assert TOKEN not in response.text


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/api/v1/provider-keys", "GET, POST"),
        ("POST", "/api/v1/provider-keys/pk_1", "DELETE, GET, PATCH"),
        ("PUT", "/api/v1/ops/tenants/acme/provider-keys/pk_1", "DELETE, GET, PATCH"),
        ("PUT", "/api/v1/ops/tenants/acme", "DELETE, GET, PATCH"),
    ],
)
async def test_a_wrong_method_is_answered_with_all_that_are_allowed(method: str, path: str, allowed: str) -> None:
    response = await Surface().ask(method, path)
    assert error(response) == (405, "method_not_allowed", None)
    assert response.headers["allow"] == allowed
    assert response.json()["error"]["message"] == f"this address takes {allowed}, not {method}"
