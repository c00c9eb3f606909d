"""Tenants, client tokens, endpoints, usage and the vault over HTTP."""

import logging
import re
from datetime import UTC, datetime

import pytest

from keyferry.contracts import client_token
from keyferry.contracts.analytics_answers import TagNames
from keyferry.contracts.audit import AuditEntries, AuditVerification, VerifyAudit
from keyferry.contracts.envelope import Message
from keyferry.contracts.key import ListKeys, ProviderKeys
from keyferry.contracts.ledger_management import ANALYTICS_TAGS
from keyferry.contracts.route import (
    Endpoint,
    Endpoints,
    ListEndpoints,
    ListModels,
    Models,
    RemoveEndpoint,
    SaveEndpoint,
)
from keyferry.contracts.service import ErrorCode, Refusal
from keyferry.contracts.tenancy import (
    ClientToken,
    ClientTokens,
    CreateClientToken,
    CreateTenant,
    GetTenant,
    KeyPolicy,
    ListClientTokens,
    RevokeClientToken,
    Tenant,
    Tenants,
    Tier,
    TokenState,
    UpdateTenant,
)
from keyferry.contracts.topology import (
    AUDIT_LIST,
    AUDIT_VERIFY,
    DATA_KEY_ROTATE,
    ENDPOINT_LIST,
    ENDPOINT_REMOVE,
    ENDPOINT_SAVE,
    KEK_ROTATE,
    KEY_LIST,
    MODEL_LIST,
    TENANT_CREATE,
    TENANT_GET,
    TENANT_LIST,
    TENANT_UPDATE,
    TOKEN_CREATE,
    TOKEN_LIST,
    TOKEN_REVOKE,
    VAULT_SHRED,
    VAULT_VERIFY,
)
from keyferry.contracts.vault import (
    KekRotation,
    RotateDataKeys,
    RotateKek,
    Shredded,
    ShredTenant,
    VaultReport,
    VerifyVault,
)
from tests.unit.console.surface import KEY, NOW, Surface, error, stored

OPS = "/api/v1/ops"
_NO_TAGS = {"as_of": NOW, "tz": "UTC", "bucket": "15m", "since": NOW, "until": NOW, "names": []}
ACME = f"{OPS}/tenants/acme"
TENANT = Tenant(tenant="acme", name="Acme", tier=Tier.STARTER)
TOKEN_ID = f"tok_{'0' * 26}"
TOKEN = ClientToken(token_id=TOKEN_ID, tenant="acme", label="app", last4="abcd", created_at=NOW)
ENDPOINT = Endpoint(tenant="acme", name="lab", base_url="https://llm.example/v1", models=["m"])
ACTOR = "console:operator"
UNKNOWN = Refusal(code=ErrorCode.NOT_FOUND, message="there is no tenant 'acme'")


async def test_tenants_are_created_shown_changed_and_listed() -> None:
    surface = Surface()
    for subject in (TENANT_CREATE, TENANT_GET, TENANT_UPDATE):
        surface.bus.answers(subject, TENANT)
    surface.bus.answers(TENANT_LIST, Tenants(tenants=[TENANT, TENANT.model_copy(update={"tenant": "b"})]))
    created = await surface.ask("POST", f"{OPS}/tenants", {"tenant": "acme", "tier": "starter"})
    assert (created.status_code, created.headers["location"]) == (201, ACME)
    assert created.json()["tier"] == "starter"
    assert (await surface.ask("GET", ACME)).json() == TENANT.model_dump(mode="json")
    changes = {"key_policy": "own_then_platform", "suspended": True, "allow_unapproved": False}
    assert (await surface.ask("PATCH", ACME, changes)).status_code == 200
    page = (await surface.ask("GET", f"{OPS}/tenants?limit=1")).json()
    assert ([row["tenant"] for row in page["data"]], page["next"]) == (["acme"], "acme")
    assert [asked for _, asked in surface.bus.asked][:3] == [
        CreateTenant(tenant="acme", name="acme", tier=Tier.STARTER, actor=ACTOR),
        GetTenant(tenant="acme"),
        UpdateTenant(
            actor=ACTOR, tenant="acme", key_policy=KeyPolicy.OWN_THEN_PLATFORM, suspended=True, allow_unapproved=False
        ),
    ]


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("POST", f"{OPS}/tenants", {"tenant": "Acme Inc"}, (422, "invalid_value", "tenant")),
        ("POST", f"{OPS}/tenants", {"tenant": "acme", "tier": "gold"}, (422, "invalid_value", "tier")),
        ("POST", f"{OPS}/tenants", {"tenant": "acme", "plan": "free"}, (400, "unknown_field", "plan")),
        ("POST", f"{OPS}/tenants", {}, (422, "invalid_value", "tenant")),
        ("PATCH", ACME, {}, (422, "invalid_value", None)),
        ("PATCH", ACME, {"name": None}, (422, "invalid_value", "name")),
        ("PATCH", ACME, {"tenant": "other"}, (400, "unknown_field", "tenant")),
        ("GET", f"{OPS}/tenants/No_Such", None, (404, "not_found", None)),
        ("POST", f"{ACME}/client-tokens", {}, (422, "invalid_value", "label")),
        (
            "POST",
            f"{ACME}/client-tokens",
            {"label": "a", "allowed_models": []},
            (422, "invalid_value", "allowed_models"),
        ),
        ("POST", f"{ACME}/client-tokens", {"label": "a", "expires_at": "7d"}, (422, "invalid_value", "expires_at")),
        ("DELETE", f"{ACME}/client-tokens/kf_live_secret", None, (404, "not_found", None)),
        ("PUT", f"{ACME}/endpoints/Lab!", {"base_url": "https://llm.example/v1"}, (404, "not_found", None)),
        ("PUT", f"{ACME}/endpoints/lab", {}, (422, "invalid_value", "base_url")),
        ("PUT", f"{ACME}/endpoints/lab", {"base_url": f"https://u:{KEY}@h/v1"}, (422, "invalid_value", "base_url")),
        ("PUT", f"{ACME}/endpoints/lab", {"base_url": f"https://h/v1?k={KEY}"}, (422, "invalid_value", "base_url")),
        ("GET", f"{ACME}/usage/summary?since=yesterday", None, (422, "invalid_value", "since")),
        ("GET", f"{ACME}/usage/breakdown?by=team&limit=5000", None, (422, "invalid_value", "limit")),
        ("GET", f"{ACME}/usage/summary?group=x", None, (400, "unknown_field", "group")),
        ("GET", f"{ACME}/requests/%20", None, (404, "not_found", None)),
        ("POST", f"{ACME}/vault/shred", {}, (422, "invalid_value", "confirm")),
        ("POST", f"{OPS}/vault/rotate-kek", {"new_key": "perhaps"}, (422, "invalid_value", "new_key")),
    ],
)
async def test_invalid_requests_are_rejected_before_a_service_is_asked(
    method: str, path: str, body: object, expected: tuple[int, str, str | None]
) -> None:
    surface = Surface()
    response = await surface.ask(method, path, body)
    assert error(response) == expected
    assert KEY not in response.text
    assert surface.bus.asked == []


@pytest.mark.parametrize(
    ("code", "status"), [(ErrorCode.CONFLICT, 409), (ErrorCode.NOT_FOUND, 404), (ErrorCode.INVALID, 422)]
)
async def test_refusals_of_the_directory_become_problems(code: ErrorCode, status: int) -> None:
    surface = Surface()
    for subject in (TENANT_CREATE, TENANT_UPDATE, TENANT_GET, TOKEN_CREATE, TOKEN_REVOKE, TOKEN_LIST):
        surface.bus.answers(subject, Refusal(code=code, message="no, because"))
    for method, path, body in (
        ("POST", f"{OPS}/tenants", {"tenant": "acme"}),
        ("PATCH", ACME, {"tier": "free"}),
        ("GET", ACME, None),
        ("POST", f"{ACME}/client-tokens", {"label": "app"}),
        ("DELETE", f"{ACME}/client-tokens/{TOKEN_ID}", None),
        ("GET", f"{ACME}/client-tokens", None),
    ):
        response = await surface.ask(method, path, body)
        assert (response.status_code, response.json()["error"]["message"]) == (status, "no, because")


async def test_a_client_token_is_generated_here_and_shown_once(caplog: pytest.LogCaptureFixture) -> None:
    surface = Surface()
    surface.bus.answers(TOKEN_CREATE, TOKEN)
    surface.bus.answers(TOKEN_LIST, ClientTokens(tokens=[TOKEN]))
    body = {"label": "app", "allowed_models": ["gpt-4o"], "expires_at": "2027-01-31T12:00:00Z"}
    with caplog.at_level(logging.DEBUG):
        created = await surface.ask("POST", f"{ACME}/client-tokens", body)
    assert (created.status_code, created.headers["location"]) == (201, f"{ACME}/client-tokens/{TOKEN_ID}")
    assert created.headers["cache-control"] == "no-store"
    token = created.json().pop("token")
    assert client_token.is_well_formed(token)
    assert created.json()["unknown_models"] == [], "without an answer of the router nothing is known"
    ((_, asked),) = surface.bus.asked
    assert asked == CreateClientToken(
        tenant="acme",
        actor=ACTOR,
        label="app",
        digest=client_token.digest(token),
        last4=token[-4:],
        allowed_models=["gpt-4o"],
        expires_at=datetime(2027, 1, 31, 12, tzinfo=UTC),
    )
    assert token not in asked.encode().decode() + caplog.text
    for path in (f"{ACME}/client-tokens", f"{ACME}/client-tokens/{TOKEN_ID}"):
        shown = await surface.ask("GET", path)
        assert shown.status_code == 200
        assert token not in shown.text
        assert not re.search(client_token.PATTERN, shown.text)


async def test_models_of_a_new_token_that_lead_nowhere_are_named() -> None:
    surface = Surface()
    surface.bus.answers(TOKEN_CREATE, TOKEN)
    surface.bus.answers(MODEL_LIST, Models(models=[], unknown=["nosuch"]))
    body = {"label": "app", "allowed_models": ["gpt-4o", "nosuch"]}
    assert (await surface.ask("POST", f"{ACME}/client-tokens", body)).json()["unknown_models"] == ["nosuch"]
    assert surface.bus.asked[-1][1] == ListModels(tenant="acme", allowed_models=["gpt-4o", "nosuch"], unavailable=True)


async def test_client_tokens_are_listed_shown_and_revoked() -> None:
    surface = Surface()
    other = TOKEN.model_copy(update={"token_id": f"tok_{'1' * 26}"})
    found = {None: [TOKEN], TOKEN_ID: [TOKEN], other.token_id: [other]}

    def listed(query: Message) -> Message:
        assert isinstance(query, ListClientTokens)
        tokens = found.get(query.token_id, [])
        return ClientTokens(tokens=tokens, more=query.token_id is None, after_found=query.after != "tok_gone")

    surface.bus.answers(TOKEN_LIST, listed)
    surface.bus.answers(TOKEN_REVOKE, TOKEN.model_copy(update={"revoked_at": NOW}))
    page = (await surface.ask("GET", f"{ACME}/client-tokens?limit=1")).json()
    assert (page["data"], page["next"]) == ([TOKEN.model_dump(mode="json")], TOKEN_ID)
    assert (await surface.ask("GET", f"{ACME}/client-tokens/{other.token_id}")).json()["token_id"] == other.token_id
    foreign = await surface.ask("GET", f"{ACME}/client-tokens/tok_{'2' * 26}")
    assert error(foreign) == (404, "not_found", None)
    revoked = await surface.ask("DELETE", f"{ACME}/client-tokens/{TOKEN_ID}")
    assert (revoked.status_code, revoked.json()["revoked_at"]) == (200, "2026-11-21T12:00:00Z")
    assert surface.bus.asked[0][1] == ListClientTokens(tenant="acme", limit=1)
    assert surface.bus.asked[1][1] == ListClientTokens(tenant="acme", token_id=other.token_id)
    assert surface.bus.asked[-1][1] == RevokeClientToken(tenant="acme", token_id=TOKEN_ID, actor=ACTOR)


async def test_the_directory_filters_searches_and_pages_client_tokens() -> None:
    surface = Surface()
    surface.bus.answers(TOKEN_LIST, ClientTokens(tokens=[]))
    query = f"text=billing&state=disabled&member=mem_ann&team=ops&order=newest&after={TOKEN_ID}&limit=20"
    assert (await surface.ask("GET", f"{ACME}/client-tokens?{query}")).json() == {"data": [], "next": None}
    assert surface.bus.asked[-1][1] == ListClientTokens(
        tenant="acme",
        text="billing",
        state=TokenState.DISABLED,
        member="mem_ann",
        team="ops",
        newest_first=True,
        after=TOKEN_ID,
        limit=20,
    )
    surface.bus.answers(TOKEN_LIST, ClientTokens(tokens=[], after_found=False))
    gone = await surface.ask("GET", f"{ACME}/client-tokens?after=tok_gone")
    assert error(gone) == (400, "invalid_cursor", "after")
    token = client_token.mint().reveal()
    for wrong in ("state=broken", "order=last", f"text={token}"):
        refused = await surface.ask("GET", f"{ACME}/client-tokens?{wrong}")
        assert error(refused)[:2] == (422, "invalid_value"), wrong
        assert token not in refused.text


async def test_endpoints_are_saved_listed_shown_and_removed() -> None:
    surface = Surface()
    surface.bus.answers(ENDPOINT_SAVE, ENDPOINT)
    surface.bus.answers(ENDPOINT_LIST, Endpoints(endpoints=[ENDPOINT]))
    surface.bus.answers(ENDPOINT_REMOVE, ENDPOINT)
    body = {"base_url": "https://llm.example/v1", "models": ["m"], "priority": 5, "enabled": False}
    assert (await surface.ask("PUT", f"{ACME}/endpoints/lab", body)).json()["name"] == "lab"
    assert (await surface.ask("GET", f"{ACME}/endpoints")).json() == {
        "data": [ENDPOINT.model_dump(mode="json")],
        "next": None,
    }
    assert (await surface.ask("GET", f"{ACME}/endpoints/lab")).json()["base_url"] == "https://llm.example/v1"
    assert error(await surface.ask("GET", f"{ACME}/endpoints/other")) == (404, "not_found", None)
    assert (await surface.ask("DELETE", f"{ACME}/endpoints/lab")).status_code == 200
    asked = [question for _, question in surface.bus.asked]
    assert asked[0] == SaveEndpoint(
        actor=ACTOR,
        tenant="acme",
        name="lab",
        base_url="https://llm.example/v1",
        models=["m"],
        priority=5,
        enabled=False,
        probe=True,
    )
    assert asked[1:] == [
        *[ListEndpoints(tenant="acme")] * 3,
        RemoveEndpoint(tenant="acme", name="lab", actor=ACTOR),
    ]


async def test_the_vault_is_rotated_verified_and_shredded() -> None:
    surface = Surface()
    rotation = KekRotation(primary="k2", total=2, left=1, running=True, by_kek={"k1": 1, "k2": 1})
    report = VaultReport(records=2, data_keys=1, primary="k2")
    surface.bus.answers(KEK_ROTATE, rotation)
    surface.bus.answers(VAULT_VERIFY, report)
    surface.bus.answers(DATA_KEY_ROTATE, report)
    surface.bus.answers(TENANT_GET, TENANT)
    surface.bus.answers(VAULT_SHRED, Shredded(tenant="acme", keys=2, data_keys=1))
    surface.bus.answers(AUDIT_VERIFY, AuditVerification(tenants=2, entries=9))
    assert (await surface.ask("GET", f"{OPS}/vault")).json()["left"] == 1
    assert (await surface.ask("POST", f"{OPS}/vault/rotate-kek", {"new_key": True})).status_code == 202
    assert (await surface.ask("GET", f"{OPS}/vault/verify")).json()["undecryptable"] == []
    assert (await surface.ask("GET", f"{ACME}/vault/verify")).json()["records"] == 2
    assert (await surface.ask("POST", f"{ACME}/vault/rotate-data-keys")).status_code == 200
    assert (await surface.ask("POST", f"{ACME}/vault/shred", {"confirm": "acme"})).json()["keys"] == 2
    assert (await surface.ask("GET", f"{OPS}/audit/verify")).json()["tenants"] == 2
    assert (await surface.ask("GET", f"{OPS}/audit/verify?full=true")).json()["tenants"] == 2
    actor = "console:operator"
    assert [asked for _, asked in surface.bus.asked] == [
        RotateKek(start=False, actor=actor),
        RotateKek(renew=True, actor=actor),
        VerifyVault(),
        GetTenant(tenant="acme"),
        VerifyVault(tenant="acme"),
        GetTenant(tenant="acme"),
        RotateDataKeys(tenant="acme", actor=actor),
        GetTenant(tenant="acme"),
        ShredTenant(tenant="acme", confirm="acme", actor=actor),
        VerifyAudit(incremental=True),
        VerifyAudit(),
    ]


async def test_keys_of_every_tenant_are_paged_by_tenant() -> None:
    def keys_of(question: Message) -> Message:
        assert isinstance(question, ListKeys)
        counts = {"acme": 3, "empty": 0, "globex": 2, "platform": 1}
        found = [
            stored(f"key_{question.tenant}{index}", tenant=question.tenant) for index in range(counts[question.tenant])
        ]
        return ProviderKeys(keys=found)

    surface = Surface()
    names = ("platform", "globex", "empty", "acme")
    surface.bus.answers(TENANT_LIST, Tenants(tenants=[TENANT.model_copy(update={"tenant": name}) for name in names]))
    surface.bus.answers(KEY_LIST, keys_of)
    found: list[str] = []
    after = ""
    while True:
        page = (await surface.ask("GET", f"{OPS}/provider-keys?limit=2&created_by=alice{after}")).json()
        found += [key["key_id"] for key in page["data"]]
        assert len(page["data"]) <= 2
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert found == ["key_acme0", "key_acme1", "key_acme2", "key_globex0", "key_globex1", "key_platform0"]
    assert surface.bus.asked[1][1] == ListKeys(tenant="acme", created_by="alice")
    gone = await surface.ask("GET", f"{OPS}/provider-keys?after=acme.key_gone")
    assert error(gone) == (400, "invalid_cursor", "after")
    assert error(await surface.ask("GET", f"{OPS}/provider-keys?after=x")) == (422, "invalid_value", "after")


async def test_an_unknown_tenant_is_not_an_empty_list() -> None:
    surface = Surface()
    surface.bus.answers(TENANT_GET, UNKNOWN)
    surface.bus.answers(ENDPOINT_LIST, Endpoints(endpoints=[]))
    surface.bus.answers(KEY_LIST, ProviderKeys(keys=[]))
    surface.bus.answers(MODEL_LIST, Models(models=[]))
    surface.bus.answers(AUDIT_LIST, AuditEntries(entries=[]))
    surface.bus.answers(AUDIT_VERIFY, AuditVerification(tenants=0, entries=0))
    surface.bus.answers(VAULT_VERIFY, VaultReport(records=0, data_keys=0, primary="k1"))
    surface.bus.answers(ANALYTICS_TAGS, TagNames.model_validate(_NO_TAGS))
    empty = ("endpoints", "provider-keys", "models", "audit", "audit/verify", "vault/verify", "usage/tags")
    for path in (*empty, "endpoints/lab", "provider-keys/key_0001", "provider-keys/summary", "requests/req_1"):
        response = await surface.ask("GET", f"{ACME}/{path}")
        assert (response.status_code, response.json()["error"]["message"]) == (404, UNKNOWN.message), path
    shred = await surface.ask("POST", f"{ACME}/vault/shred", {"confirm": "acme"})
    assert error(shred) == (404, "not_found", None)
    surface.bus.answers(TENANT_GET, TENANT)
    for path in empty:
        assert (await surface.ask("GET", f"{ACME}/{path}")).status_code == 200, path


@pytest.mark.parametrize("value", ["true", "yes", "no", 1, 0])
async def test_a_truth_value_is_a_json_boolean(value: object) -> None:
    surface = Surface()
    for method, path, body, param in (
        ("PATCH", ACME, {"suspended": value}, "suspended"),
        ("PUT", f"{ACME}/endpoints/lab", {"base_url": "https://llm.example/v1", "probe": value}, "probe"),
        ("PATCH", f"{ACME}/provider-keys/key_0001", {"disabled": value}, "disabled"),
    ):
        assert error(await surface.ask(method, path, body)) == (422, "invalid_value", param)
    assert surface.bus.asked == []


@pytest.mark.parametrize("value", [True, False, "5", 5.0])
async def test_a_whole_number_is_a_json_integer(value: object) -> None:
    """`{"up_to": true}` removed the first dead letter."""
    surface = Surface()
    for method, path, body, param in (
        ("POST", "/api/v1/ops/dead-letters/discard", {"up_to": value}, "up_to"),
        ("PUT", f"{ACME}/endpoints/lab", {"base_url": "https://llm.example/v1", "priority": value}, "priority"),
        ("PATCH", f"{ACME}/provider-keys/key_0001", {"priority": value}, "priority"),
        ("PATCH", f"{ACME}/provider-keys/key_0001", {"weight": value}, "weight"),
    ):
        response = await surface.ask(method, path, body)
        assert error(response) == (422, "invalid_value", param)
        assert response.json()["error"]["message"] == f"{param}: it should be an integer"
    assert surface.bus.asked == []


@pytest.mark.parametrize("value", [True, 4_102_444_800, 4_102_444_800_000.0, "4102444800", "-1"])
async def test_a_point_in_time_is_a_text_with_a_date(value: object) -> None:
    """A number may count seconds or milliseconds."""
    surface = Surface()
    for method, path, body, param in (
        ("POST", f"{ACME}/client-tokens", {"label": "ci", "expires_at": value}, "expires_at"),
        ("PATCH", f"{ACME}/provider-keys/key_0001", {"expires_at": value}, "expires_at"),
        ("GET", f"{ACME}/usage/summary?since={value}", None, "since"),
        ("GET", f"{ACME}/usage/summary?until={value}", None, "until"),
    ):
        assert error(await surface.ask(method, path, body)) == (422, "invalid_value", param)
    assert surface.bus.asked == []
