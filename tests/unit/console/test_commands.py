"""Commands over HTTP: who may send what, and what the owner of a subject then receives."""

from dataclasses import replace

import httpx
import pytest

from keyferry.contracts.access_role import TENANT_ROLES, AccessRole
from keyferry.contracts.audit import AuditEntries, ListAudit
from keyferry.contracts.budget import RemoveBudget
from keyferry.contracts.credit_management import GrantCredits
from keyferry.contracts.envelope import Message
from keyferry.contracts.health import HealthList, ListHealth
from keyferry.contracts.key import ProviderKeys
from keyferry.contracts.ledger_management import BUDGET_REMOVE, CREDIT_GRANT
from keyferry.contracts.service import ErrorCode, Refusal
from keyferry.contracts.tenancy import (
    ClientToken,
    ClientTokens,
    CreateClientToken,
    ListClientTokens,
    RevokeClientToken,
    Tenant,
    Tenants,
    Tier,
)
from keyferry.contracts.topology import (
    AUDIT_LIST,
    HEALTH_LIST,
    KEY_EDIT,
    TENANT_CREATE,
    TENANT_GET,
    TENANT_LIST,
    TOKEN_CREATE,
    TOKEN_LIST,
    TOKEN_REVOKE,
    TOKEN_UPDATE,
)
from services.console.access import COMMANDS_PATH
from services.console.command_access import AVAILABLE, COMMANDS, may_send
from services.console.command_routes import BY_NAME, FILTERS_BY_ACTOR
from tests.unit.console.people import ROLES, person
from tests.unit.console.surface import KEY, NOW, Surface, error, openapi_document, stored
from tests.unit.console.test_leaks import leaks

ANN, BOB = f"tok_{'0' * 25}1", f"tok_{'0' * 25}2"
NOBODYS = f"tok_{'0' * 25}3"


def token(token_id: str, member: str | None) -> ClientToken:
    return ClientToken(token_id=token_id, tenant="acme", label="app", last4="abcd", created_at=NOW, member=member)


TOKENS = ClientTokens(tokens=[token(ANN, "ann"), token(BOB, "bob"), token(NOBODYS, None)])


async def send(surface: Surface, name: str, body: object = None, **more: object) -> httpx.Response:
    return await surface.ask("POST", f"/api/v1/commands/{name}", {} if body is None else body, **more)  # type: ignore[arg-type]


def surface_of(role: AccessRole, **more: str) -> Surface:
    surface = Surface(principal=person(role, **more))
    surface.bus.answers(TOKEN_LIST, TOKENS)
    return surface


@pytest.mark.parametrize("role", ROLES)
async def test_a_command_is_denied_exactly_as_the_table_says(role: AccessRole) -> None:
    """Denied ones reach no service; the others come as far as their contract."""
    surface = surface_of(role)
    for name, rule in COMMANDS.items():
        answer = await send(surface, name)
        if rule.unavailable:
            assert error(answer) == (404, "not_found", None), name
            assert rule.unavailable in answer.json()["error"]["message"]
        elif may_send(role, name):
            assert answer.status_code != 403, name
        else:
            assert error(answer) == (403, "not_allowed", None), name
        if not may_send(role, name):
            assert not surface.bus.asked, name
        surface.bus.asked.clear()


def test_viewers_change_nothing_and_each_role_includes_the_ones_after_it() -> None:
    for name, rule in COMMANDS.items():
        assert not (rule.changes and AccessRole.VIEWER in rule.roles), name
        included = [role in rule.roles for role in TENANT_ROLES]
        assert included == sorted(included, reverse=True), name


@pytest.mark.parametrize("role", TENANT_ROLES)
@pytest.mark.parametrize("given", [{}, {"tenant": None}, {"tenant": "acme"}])
async def test_the_tenant_of_a_member_is_its_own(role: AccessRole, given: dict[str, object]) -> None:
    """Also where none would mean all tenants."""
    surface = surface_of(role)
    surface.bus.answers(HEALTH_LIST, HealthList(targets=[]))
    assert (await send(surface, "health.list", given)).status_code == 200
    assert surface.bus.asked == [("health.list", ListHealth(tenant="acme"))]


async def test_another_tenant_is_answered_like_one_that_does_not_exist() -> None:
    """On every subject with a tenant, whether that tenant exists, is no name at all, or is no text."""
    surface = surface_of(AccessRole.OWNER)
    surface.bus.answers(TENANT_GET, Tenant(tenant="globex", name="G", tier=Tier.FREE))
    for name in AVAILABLE:
        if "tenant" not in BY_NAME[name].message.model_fields or not may_send(AccessRole.OWNER, name):
            continue
        for other in ("globex", "nobody", "platform", "A B", 7, ["acme"], {"acme": 1}, f"acme{KEY}"):
            answer = await send(surface, name, {"tenant": other})
            assert error(answer) == (404, "not_found", None), name
            assert answer.json()["error"]["message"] == "there is no tenant of that name"
    assert surface.bus.asked == []


async def test_the_actor_is_the_credentials_and_amounts_are_exact() -> None:
    surface = surface_of(AccessRole.ADMIN)
    surface.bus.answers(BUDGET_REMOVE, Refusal(code=ErrorCode.NOT_FOUND, message="no such budget"))
    answer = await send(surface, "budget.remove", {"budget_id": "bud_1", "actor": "console:operator"})
    assert error(answer) == (404, "not_found", None)
    assert surface.bus.asked == [("budget.remove", RemoveBudget(tenant="acme", budget_id="bud_1", actor="member:ann"))]
    surface = surface_of(AccessRole.OPERATOR)
    surface.bus.answers(TENANT_GET, Tenant(tenant="acme", name="A", tier=Tier.FREE))
    surface.bus.answers(CREDIT_GRANT, Refusal(code=ErrorCode.CONFLICT, message="again"))
    grant = {"tenant": "acme", "credits": "12345678.901", "idempotency_key": "k-1", "reason": "x", "actor": "somebody"}
    assert error(await send(surface, "credits.grant", grant))[0] == 409
    asked = surface.bus.asked[-1][1]
    assert isinstance(asked, GrantCredits)
    assert (str(asked.credits), asked.actor) == ("12345678.901", "console:operator")


@pytest.mark.parametrize("wanted", [None, "usr_bob"])
async def test_the_audit_log_shows_the_entries_of_others(wanted: str | None) -> None:
    surface = surface_of(AccessRole.ADMIN)
    surface.bus.answers(AUDIT_LIST, AuditEntries(entries=[]))
    answer = await send(surface, "audit.list", {} if wanted is None else {"actor": wanted})
    assert answer.status_code == 200
    assert surface.bus.asked == [("audit.list", ListAudit(tenant="acme", actor=wanted))]


async def test_an_answer_is_the_message_of_the_service() -> None:
    surface = surface_of(AccessRole.VIEWER)
    surface.store(stored(spent_usd="0.000000000001"))
    answer = await send(surface, "key.list")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert ProviderKeys.decode(answer.content) == ProviderKeys(keys=[stored(spent_usd="0.000000000001")])
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("name", "body", "expected"),
    [
        ("budget.remove", {}, (422, "invalid_value", "budget_id")),
        ("budget.remove", {"budget_id": 7}, (422, "invalid_value", "budget_id")),
        ("key.remove", {"key_id": "key_1", "force": True}, (400, "unknown_field", "force")),
        ("key.remove", {"key_id": "key_1", KEY: True}, (400, "unknown_field", "…")),
        ("key.edit", {"key_id": "key_1", "weight": KEY}, (422, "invalid_value", "weight")),
        ("key.edit", {"key_id": KEY}, (404, "not_found", None)),
        ("key.edit", {"key_id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0"}, (404, "not_found", None)),
        ("token.revoke", {"token_id": KEY}, (404, "not_found", None)),
        ("request.show", {"request_id": f"{KEY} "}, (404, "not_found", None)),
        ("key.edit", {"key_id": "key_1", "label": "a\x00b"}, (422, "invalid_value", "label")),
        ("key.edit", {"key_id": "key_1", "label": "\ud800"}, None),
        ("nothing.here", {}, (404, "not_found", None)),
        ("Nothing", {}, (404, "not_found", None)),
        (KEY, {}, (404, "not_found", None)),
        ("tier.list", [], (400, "invalid_json", None)),
        ("tier.list", KEY, (400, "invalid_json", None)),
    ],
)
async def test_errors_name_fields_and_never_values(
    name: str, body: object, expected: tuple[int, str, str | None] | None
) -> None:
    surface = surface_of(AccessRole.OWNER)
    answer = await send(surface, name, body)
    found = error(answer)
    assert found == expected if expected else found[0] in (400, 422)
    assert not leaks(answer.text)
    assert surface.bus.asked == []


async def test_a_body_that_is_no_json_object_is_refused() -> None:
    for content in (b"", b"{", b"null", b'{"a":1}{"b":2}', b"\xef\xbb\xbf{}x"):
        answer = await Surface(principal=person(AccessRole.OWNER)).ask(
            "POST", "/api/v1/commands/tier.list", headers={"content-type": "application/json"}, content=content
        )
        assert error(answer)[0] in (400, 422), content


async def test_a_lost_answer_to_a_change_says_so() -> None:
    surface = surface_of(AccessRole.ADMIN)
    changed = await send(surface, "budget.remove", {"budget_id": "bud_1"})
    assert (error(changed)[0], changed.headers["x-should-retry"]) == (503, "false")
    assert "the change may have been made" in changed.json()["error"]["message"]
    read = await send(surface, "key.list")
    assert (error(read)[0], read.headers["retry-after"]) == (503, "1")


async def test_a_refusal_has_the_status_of_the_routes() -> None:
    surface = surface_of(AccessRole.ADMIN)
    for code, status in ((ErrorCode.INVALID, 422), (ErrorCode.CONFLICT, 409), (ErrorCode.NOT_FOUND, 404)):
        surface.bus.answers(KEY_EDIT, Refusal(code=code, message="because"))
        answer = await send(surface, "key.edit", {"key_id": "key_1", "label": "x"})
        assert (answer.status_code, answer.json()["error"]["message"]) == (status, "because")
    surface.bus.answers(KEY_EDIT, stored())
    assert (await send(surface, "key.edit", {"key_id": "key_1", "label": "x"})).json()["key_id"] == "key_0001"


async def test_an_operator_names_any_tenant_that_exists() -> None:
    surface = surface_of(AccessRole.OPERATOR)
    surface.bus.answers(TENANT_GET, Refusal(code=ErrorCode.NOT_FOUND, message="there is no tenant 'nobody'"))
    answer = await send(surface, "token.list", {"tenant": "nobody"})
    assert (answer.status_code, answer.json()["error"]["message"]) == (404, "there is no tenant 'nobody'")
    assert [name for name, _ in surface.bus.asked] == ["tenant.get"]
    surface.bus.answers(TENANT_GET, Tenant(tenant="acme", name="A", tier=Tier.FREE))
    listed = await send(surface, "token.list", {"tenant": "acme"})
    assert [row["token_id"] for row in listed.json()["tokens"]] == [ANN, BOB, NOBODYS]
    assert error(await send(surface, "token.list")) == (422, "invalid_value", "tenant")
    surface.bus.asked.clear()
    surface.bus.answers(TENANT_CREATE, Tenant(tenant="new", name="N", tier=Tier.FREE))
    surface.bus.answers(TENANT_LIST, Tenants(tenants=[]))
    assert (await send(surface, "tenant.create", {"tenant": "new", "name": "N"})).status_code == 200
    assert (await send(surface, "tenant.list")).status_code == 200
    assert [name for name, _ in surface.bus.asked] == ["tenant.create", "tenant.list"]


def developers_view(asked: list[tuple[str, Message]]) -> list[Message]:
    return [question for name, question in asked if name != "token.list"]


async def test_developers_see_their_own_client_tokens_only() -> None:
    surface = surface_of(AccessRole.DEVELOPER)
    listed = await send(surface, "token.list")
    assert [row["token_id"] for row in listed.json()["tokens"]] == [ANN]
    page = await surface.ask("GET", "/api/v1/client-tokens")
    assert [row["token_id"] for row in page.json()["data"]] == [ANN]
    assert (await surface.ask("GET", f"/api/v1/client-tokens/{ANN}")).status_code == 200
    assert surface.bus.asked[0] == ("token.list", ListClientTokens(tenant="acme"))


async def test_the_token_of_a_colleague_is_answered_like_one_that_does_not_exist() -> None:
    surface = surface_of(AccessRole.DEVELOPER)
    limits = {"limits": {"rpm": 5}}
    unknown = f"tok_{'0' * 25}9"
    for other in (BOB, NOBODYS):
        pairs = []
        for token_id in (other, unknown):
            one = f"/api/v1/client-tokens/{token_id}"
            pairs.append(
                [
                    await surface.ask("GET", one),
                    await surface.ask("PATCH", one, limits),
                    await surface.ask("DELETE", one),
                    await send(surface, "token.update", {"token_id": token_id, **limits}),
                    await send(surface, "token.revoke", {"token_id": token_id}),
                ]
            )
        for of_other, of_none in zip(*pairs, strict=True):
            assert error(of_other) == error(of_none) == (404, "not_found", None)
            assert of_other.json()["error"]["message"] == of_none.json()["error"]["message"]
    assert developers_view(surface.bus.asked) == []
    surface.bus.answers(TOKEN_REVOKE, TOKENS.tokens[0])
    surface.bus.answers(TOKEN_UPDATE, TOKENS.tokens[0])
    assert (await send(surface, "token.revoke", {"token_id": ANN})).status_code == 200
    assert (await surface.ask("PATCH", f"/api/v1/client-tokens/{ANN}", limits)).status_code == 200
    assert developers_view(surface.bus.asked)[0] == RevokeClientToken(tenant="acme", token_id=ANN, actor="member:ann")


async def test_developers_create_client_tokens_for_themselves_only() -> None:
    surface = surface_of(AccessRole.DEVELOPER)
    surface.bus.answers(TOKEN_CREATE, TOKENS.tokens[0])
    registration = {"label": "x", "digest": "0" * 64, "last4": "abcd"}
    for answer in (
        await send(surface, "token.create", {**registration, "member": "bob"}),
        await surface.ask("POST", "/api/v1/client-tokens", {"label": "x", "member": "bob"}),
    ):
        assert error(answer) == (403, "not_allowed", "member")
    assert surface.bus.asked == []
    for given in ({}, {"member": "ann"}):
        assert (await send(surface, "token.create", {**registration, **given})).status_code == 200
        assert (await surface.ask("POST", "/api/v1/client-tokens", {"label": "x", **given})).status_code == 201
    for team in ({"team": "finance"}, {"team": "finance", "member": "ann"}):
        for answer in (
            await send(surface, "token.create", {**registration, **team}),
            await surface.ask("POST", "/api/v1/client-tokens", {"label": "x", **team}),
        ):
            assert error(answer) == (403, "not_allowed", "team"), "the keys of a team are for those who are in it"
    assert len(surface.bus.asked) == 4
    surface.principal = replace(person(AccessRole.DEVELOPER), teams=("finance",))
    assert (await send(surface, "token.create", {**registration, "team": "finance"})).status_code == 200
    del surface.bus.asked[4:]
    members = {question.member for _, question in surface.bus.asked if isinstance(question, CreateClientToken)}
    assert (members, len(surface.bus.asked)) == ({"ann"}, 4)


async def test_admins_create_and_change_everybodys() -> None:
    surface = surface_of(AccessRole.ADMIN)
    surface.bus.answers(TOKEN_REVOKE, TOKENS.tokens[1])
    assert (await send(surface, "token.revoke", {"token_id": BOB})).status_code == 200
    assert (await surface.ask("DELETE", f"/api/v1/client-tokens/{BOB}")).status_code == 200
    assert [name for name, _ in surface.bus.asked] == ["token.revoke"] * 2


def test_every_command_about_one_client_token_names_it() -> None:
    """So that a new one is kept to a developer's own tokens."""
    for name in AVAILABLE:
        if name.startswith("token.") and may_send(AccessRole.DEVELOPER, name):
            assert name in ("token.create", "token.list") or "token_id" in BY_NAME[name].message.model_fields, name


def test_messages_with_an_actor_get_it_and_no_other_field_names_who_acts() -> None:
    """A new field of this kind needs a place in `command_routes`."""
    suspicious = {"actor", "actor_role", "actor_member", "created_by", "person", "principal"}
    known = {"actor", "actor_role", "actor_member"}
    for name in AVAILABLE:
        fields = BY_NAME[name].message.model_fields.keys() & suspicious
        assert fields <= known or name in _NAMES_OTHERS, name


def test_an_actor_that_may_be_left_out_is_a_filter() -> None:
    """A request without it is about everybody's, so the sender's name would hide the rest."""
    optional = {
        name
        for name in AVAILABLE
        if (field := BY_NAME[name].message.model_fields.get("actor"))
        and not field.is_required()
        and field.default is None
    }
    assert optional == FILTERS_BY_ACTOR


_NAMES_OTHERS = {"key.list"}
"""Where such a field is a filter, or is about somebody else."""


def test_the_document_lists_the_commands() -> None:
    parameters = openapi_document()["paths"][COMMANDS_PATH]["post"]["parameters"]
    assert parameters[0]["schema"]["enum"] == list(AVAILABLE)
    assert len(AVAILABLE) > 70
