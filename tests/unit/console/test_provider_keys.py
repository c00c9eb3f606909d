"""Provider keys over HTTP: requests to the vault, responses, and rejected requests."""

from datetime import timedelta
from decimal import Decimal

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from nats.errors import ConnectionClosedError

from keyferry.contracts import client_token
from keyferry.contracts.envelope import Message
from keyferry.contracts.key import (
    AddKey,
    EditKey,
    KeyRemoved,
    KeyStatus,
    KeyTest,
    KeyTestResult,
    ListKeys,
    NamedKey,
    RotateKey,
    TryKey,
)
from keyferry.contracts.secret import Secret
from keyferry.contracts.service import ErrorCode, Refusal
from keyferry.contracts.topology import (
    INTAKE_KEY_GET,
    KEY_ADD,
    KEY_EDIT,
    KEY_LIST,
    KEY_REMOVE,
    KEY_REVERT,
    KEY_ROTATE,
    KEY_TEST,
    KEY_TRY,
    AnySubject,
)
from keyferry.sealing.intake import IntakeOpener, seal_key
from tests.unit.console.surface import KEY, NOW, TOKEN, VAULT, Surface, error, stored

OWN = "/api/v1/provider-keys"
ACME = "/api/v1/ops/tenants/acme/provider-keys"
ORIGIN = "https://api.openai.com"
NEW = {"provider": "openai", "label": "main", "key": KEY}


@pytest.mark.parametrize(("base", "tenant"), [(OWN, "platform"), (ACME, "acme")])
async def test_clear_key_is_sealed_for_the_credentials_tenant(base: str, tenant: str) -> None:
    surface = Surface()
    surface.bus.answers(KEY_ADD, stored(tenant=tenant))
    more = {"priority": 5, "weight": 2, "allowed_models": ["gpt-4o"], "monthly_limit_usd": "12.50"}
    response = await surface.ask("POST", base, {**NEW, **more, "save_untested": True})
    assert response.status_code == 201
    assert response.headers["location"] == f"{base}/key_0001"
    assert response.json()["masked"] == "sk-…A9f2"
    name, sent = surface.bus.asked[-1]
    assert name == "key.add"
    assert isinstance(sent, AddKey)
    assert surface.open_sealed(sent.sealed, tenant, "openai", ORIGIN) == KEY
    assert sent == AddKey(
        tenant=tenant,
        actor="console:operator",
        provider="openai",
        label="main",
        sealed=sent.sealed,
        priority=5,
        weight=2,
        allowed_models=["gpt-4o"],
        monthly_limit_usd=Decimal("12.50"),
        save_untested=True,
    )
    assert all(KEY.encode() not in request.encode() for _, request in surface.bus.asked)


async def test_client_sealed_key_is_forwarded_unchanged() -> None:
    surface = Surface()
    surface.bus.answers(KEY_ADD, stored())
    intake = (await surface.ask("GET", f"{OWN}/intake-key")).json()
    assert intake["public_key"] == VAULT.intake_key.public_key
    sealed = seal_key(intake["public_key"], "platform", "openai", ORIGIN, Secret(KEY), suite=intake["suite"])
    response = await surface.ask("POST", OWN, {"provider": "openai", "label": "main", "sealed": sealed})
    assert response.status_code == 201
    sent = surface.bus.asked[-1][1]
    assert isinstance(sent, AddKey)
    assert sent.sealed == sealed


async def test_key_is_sealed_for_its_address() -> None:
    surface = Surface()
    surface.bus.answers(KEY_TRY, KeyTest(result=KeyTestResult.VALID, steps=[], duration_ms=1, tested_at=NOW))
    body = {"provider": "azure", "key": KEY, "base_url": "https://RES.openai.azure.com", "fields": {"deployment": "d"}}
    response = await surface.ask("POST", f"{ACME}/test", body)
    assert (response.status_code, response.json()["result"]) == (200, "valid")
    sent = surface.bus.asked[-1][1]
    assert isinstance(sent, TryKey)
    assert sent.fields == {"deployment": "d"}
    assert surface.open_sealed(sent.sealed, "acme", "azure", "https://res.openai.azure.com") == KEY


async def test_rotation_is_sealed_for_the_stored_keys_origin() -> None:
    surface = Surface()
    surface.store(
        stored("key_0001"), stored("key_0002", tenant="acme", provider="custom", origin="https://llm.example")
    )
    surface.bus.answers(KEY_ROTATE, stored("key_0002", version=2))
    response = await surface.ask("POST", f"{ACME}/key_0002/rotate", {"key": KEY})
    assert (response.status_code, response.json()["version"]) == (200, 2)
    sent = surface.bus.asked[-1][1]
    assert isinstance(sent, RotateKey)
    assert (sent.tenant, sent.key_id, sent.save_untested) == ("acme", "key_0002", False)
    assert surface.open_sealed(sent.sealed, "acme", "custom", "https://llm.example") == KEY
    gone = await surface.ask("POST", f"{ACME}/key_0009/rotate", {"key": KEY})
    assert error(gone) == (404, "not_found", None)


@pytest.mark.parametrize("way", ["add", "try", "rotate"])
async def test_nothing_is_sealed_to_an_unpinned_intake_key(way: str) -> None:
    surface, impostor = Surface(), IntakeOpener(X25519PrivateKey.generate())
    surface.store(stored())
    surface.bus.answers(INTAKE_KEY_GET, impostor.intake_key)
    path, body = {
        "add": (OWN, NEW),
        "try": (f"{OWN}/test", {"provider": "openai", "key": KEY}),
        "rotate": (f"{OWN}/key_0001/rotate", {"key": KEY}),
    }[way]
    response = await surface.ask("POST", path, body)
    assert error(response) == (503, "intake_key_mismatch", None)
    assert {name for name, _ in surface.bus.asked} <= {"intake_key.get", "key.list"}
    assert error(await surface.ask("GET", f"{OWN}/intake-key")) == (503, "intake_key_mismatch", None)


@pytest.mark.parametrize(
    ("change", "status", "code", "param"),
    [
        ({"key": "{}"}, 422, "implausible_key", "key"),
        ({"key": "two words"}, 422, "implausible_key", "key"),
        ({"key": ""}, 422, "invalid_value", "key"),
        ({"key": "sk-ключ"}, 422, "invalid_value", "key"),
        ({"key": 17}, 422, "invalid_value", "key"),
        ({"key": None}, 422, "invalid_value", None),
        ({"sealed": "AAAA"}, 422, "invalid_value", None),
        ({"provider": "nobody"}, 422, "invalid_address", None),
        ({"provider": "bedrock"}, 422, "invalid_address", None),
        ({"base_url": "http://10.0.0.1/v1"}, 422, "invalid_address", None),
        ({"base_url": "https://me:pw@evil.example/v1"}, 422, "invalid_address", None),
        ({"fields": {"region": "eu"}}, 422, "invalid_address", None),
        ({"label": ""}, 422, "invalid_value", "label"),
        ({"label": "a\nb"}, 422, "invalid_value", "label"),
        ({"label": "\ud800"}, 422, "invalid_value", "label"),
        ({"priority": 1001}, 422, "invalid_value", "priority"),
        ({"weight": 0}, 422, "invalid_value", "weight"),
        ({"monthly_limit_usd": 12.5}, 422, "invalid_value", "monthly_limit_usd"),
        ({"monthly_limit_usd": "-1"}, 422, "invalid_value", "monthly_limit_usd"),
        ({"monthly_limit_usd": "NaN"}, 422, "invalid_value", "monthly_limit_usd"),
        ({"expires_at": "soon"}, 422, "invalid_value", "expires_at"),
        ({"allowed_models": []}, 422, "invalid_value", "allowed_models"),
        ({"tenant": "globex"}, 400, "unknown_field", "tenant"),
        ({"actor": "somebody"}, 400, "unknown_field", "actor"),
        ({"once": True}, 400, "unknown_field", "once"),
        ({"origin": "https://evil.example"}, 400, "unknown_field", "origin"),
    ],
)
async def test_invalid_key_body_is_rejected_before_anything_is_sent(
    change: dict[str, object], status: int, code: str, param: str | None
) -> None:
    surface = Surface()
    response = await surface.ask("POST", OWN, {**NEW, **change})
    assert error(response) == (status, code, param)
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert [name for name, _ in surface.bus.asked] in ([], ["intake_key.get"])


@pytest.mark.parametrize("path", [OWN, f"{OWN}/test", f"{OWN}/key_0001/rotate"])
async def test_body_without_a_key_is_rejected(path: str) -> None:
    surface = Surface()
    body = {
        name: NEW[name] for name in ("provider", "label") if path == OWN or (name, path) == ("provider", f"{OWN}/test")
    }
    response = await surface.ask("POST", path, body)
    assert error(response) == (422, "invalid_value", None)
    assert "there is no key: give it as" in response.json()["error"]["message"]


async def test_lists_are_paged_with_a_cursor() -> None:
    surface = Surface()
    surface.store(*(stored(f"key_000{number}") for number in range(5)))
    seen: list[str] = []
    after = ""
    for _ in range(3):
        paginate = (await surface.ask("GET", f"{OWN}?limit=2{after}")).json()
        seen += [key["key_id"] for key in paginate["data"]]
        after = f"&after={paginate['next']}"
    assert seen == [f"key_000{number}" for number in range(5)]
    assert paginate["next"] is None
    assert error(await surface.ask("GET", f"{OWN}?after=key_gone")) == (400, "invalid_cursor", "after")
    for wrong in ("limit=0", "limit=1001", "limit=x", "after="):
        assert error(await surface.ask("GET", f"{OWN}?{wrong}"))[:2] == (422, "invalid_value")
    for wrong in ("tenant=globex", "key=x"):
        assert error(await surface.ask("GET", f"{OWN}?{wrong}"))[:2] == (400, "unknown_field")


async def test_a_list_is_filtered_and_searched() -> None:
    surface = Surface()
    surface.store(
        stored("key_0001", label="production"),
        stored("key_0002", label="spare", status=KeyStatus.INVALID),
        stored("key_0003", label="Production EU", provider="mistral", team="research"),
    )
    for query, found in (
        ("text=PRODUCTION", ["key_0001", "key_0003"]),
        ("text=research", ["key_0003"]),
        ("text=A9f2", ["key_0001", "key_0002", "key_0003"]),
        ("status=invalid", ["key_0002"]),
        ("provider=mistral", ["key_0003"]),
        ("provider=mistral&status=invalid", []),
        ("text=production&after=key_0001", ["key_0003"]),
    ):
        page = (await surface.ask("GET", f"{OWN}?{query}")).json()
        assert ([key["key_id"] for key in page["data"]], page["next"]) == (found, None), query
    page = (await surface.ask("GET", f"{OWN}?text=production&limit=1")).json()
    assert page["next"] == "key_0001"
    # A cursor is of one query: the key before it must be among those that the query selects.
    assert error(await surface.ask("GET", f"{OWN}?text=spare&after=key_0001")) == (400, "invalid_cursor", "after")


async def test_a_key_is_not_searched_for_by_itself() -> None:
    surface = Surface()
    surface.store(stored())
    refused = await surface.ask("GET", f"{OWN}?text={KEY}")
    assert error(refused) == (422, "invalid_value", "text")
    assert KEY not in refused.text
    assert surface.bus.asked == []


@pytest.mark.parametrize(("base", "tenant"), [(OWN, "platform"), (ACME, "acme")])
async def test_tenant_comes_from_the_credential_or_the_operators_path(base: str, tenant: str) -> None:
    surface = Surface()
    surface.store(stored(tenant=tenant))
    assert (await surface.ask("GET", base)).json()["data"][0]["key_id"] == "key_0001"
    assert (await surface.ask("GET", f"{base}/key_0001")).json()["tenant"] == tenant
    assert (await surface.ask("GET", f"{base}/summary")).json()["keys"] == 1
    assert [request for _, request in surface.bus.asked] == [
        ListKeys(tenant=tenant, limit=100),
        ListKeys(tenant=tenant, key_id="key_0001"),
        ListKeys(tenant=tenant, brief=True),
    ]
    assert error(await surface.ask("GET", f"{base}/key_0009")) == (404, "not_found", None)


@pytest.mark.parametrize("tenant", ["Acme", "a.b", "*", ">", "-a", "a" * 64, "%2e%2e", "a%20b"])
async def test_malformed_tenant_name_is_not_found(tenant: str) -> None:
    surface = Surface()
    surface.store(stored())
    response = await surface.ask("GET", f"/api/v1/ops/tenants/{tenant}/provider-keys")
    assert error(response)[:2] in ((404, "not_found"), (404, "unknown_url"))
    assert surface.bus.asked == []


@pytest.mark.parametrize(
    ("method", "path", "subject"),
    [
        ("POST", "/key_0001/test", KEY_TEST),
        ("POST", "/key_0001/revert", KEY_REVERT),
        ("DELETE", "/key_0001", KEY_REMOVE),
    ],
)
async def test_requests_that_need_only_a_key_id(method: str, path: str, subject: AnySubject) -> None:
    surface = Surface()
    surface.bus.answers(subject, KeyRemoved(key=stored(), keys_left=2) if method == "DELETE" else stored())
    response = await surface.ask(method, ACME + path)
    assert response.status_code == 200
    name, sent = surface.bus.asked[-1]
    assert name == subject.name
    assert isinstance(sent, NamedKey)
    assert (sent.tenant, sent.key_id, sent.actor) == ("acme", "key_0001", "console:operator")
    if method == "DELETE":
        assert response.json()["keys_left"] == 2


async def test_edit_changes_given_fields_and_null_removes_a_restriction() -> None:
    surface = Surface()
    surface.bus.answers(KEY_EDIT, stored())
    body = {"label": "new", "disabled": True, "expires_at": None, "monthly_limit_usd": None, "weight": 7}
    assert (await surface.ask("PATCH", f"{ACME}/key_0001", body)).status_code == 200
    assert surface.bus.asked[-1][1] == EditKey(
        tenant="acme",
        actor="console:operator",
        key_id="key_0001",
        label="new",
        disabled=True,
        weight=7,
        clear=["expires_at", "monthly_limit_usd"],
    )
    await surface.ask("PATCH", f"{ACME}/key_0001", {"monthly_limit_usd": "7"})
    sent = surface.bus.asked[-1][1]
    assert isinstance(sent, EditKey)
    assert (sent.monthly_limit_usd, sent.clear) == (Decimal(7), [])


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "invalid_value", None),
        ({"label": None}, "invalid_value", "label"),
        ({"disabled": None}, "invalid_value", "disabled"),
        ({"priority": -1}, "invalid_value", "priority"),
        ({"key": KEY}, "unknown_field", "key"),
        ({"provider": "openai"}, "unknown_field", "provider"),
        ({"base_url": "https://evil.example"}, "unknown_field", "base_url"),
        ({"clear": ["expires_at"]}, "unknown_field", "clear"),
    ],
)
async def test_invalid_edit_is_rejected(body: dict[str, object], code: str, param: str | None) -> None:
    surface = Surface()
    assert error(await surface.ask("PATCH", f"{OWN}/key_0001", body))[1:] == (code, param)
    assert surface.bus.asked == []


@pytest.mark.parametrize(
    ("refused", "status", "code", "header"),
    [
        (ErrorCode.INVALID, 422, "refused", None),
        (ErrorCode.NOT_FOUND, 404, "not_found", None),
        (ErrorCode.CONFLICT, 409, "conflict", ("x-should-retry", "false")),
        (ErrorCode.UNAVAILABLE, 503, "unavailable", ("retry-after", "1")),
        (ErrorCode.INTERNAL, 500, "internal_error", ("x-should-retry", "false")),
    ],
)
async def test_vault_refusals_map_to_statuses(
    refused: ErrorCode, status: int, code: str, header: tuple[str, str] | None
) -> None:
    surface = Surface()
    surface.bus.answers(KEY_ADD, Refusal(code=refused, message="the vault's own words"))
    response = await surface.ask("POST", OWN, NEW)
    assert error(response) == (status, code, None)
    assert response.json()["error"]["message"] == "the vault's own words"
    if header is not None:
        assert response.headers[header[0]] == header[1]


async def test_unreachable_vault_is_a_503() -> None:
    surface = Surface()
    reading = await surface.ask("GET", OWN)
    assert error(reading) == (503, "unavailable", None)
    assert "is key-vault running?" in reading.json()["error"]["message"]
    assert reading.headers["retry-after"] == "1"
    changing = await surface.ask("DELETE", f"{OWN}/key_0001")
    assert error(changing) == (503, "unavailable", None)
    assert "may have been made" in changing.json()["error"]["message"]
    assert changing.headers["x-should-retry"] == "false"


async def test_a_lost_bus_is_a_503_without_the_bus_librarys_words() -> None:
    surface = Surface()

    def fail(question: Message) -> Message:
        raise ConnectionClosedError

    surface.bus.answers(KEY_LIST, fail)
    response = await surface.ask("GET", OWN)
    assert error(response) == (503, "unavailable", None)
    assert response.json()["error"]["message"] == "the bus does not answer"


async def test_key_statistics_of_a_tenant() -> None:
    surface = Surface()
    surface.store(
        stored("key_0001", spent_usd="1.25", credit_low=True, rotation_due=True, last_used_at=NOW - timedelta(hours=2)),
        stored("key_0002", spent_usd="0.000000000001", over_limit=True, last_used_at=NOW - timedelta(hours=1)),
        stored("key_0003", provider="groq", status=KeyStatus.INVALID, rotation_due=True, unpriced=62),
        stored("key_0004", provider="groq", status=KeyStatus.DEGRADED, expires_at=NOW + timedelta(days=13)),
        stored("key_0005", provider="groq", status=KeyStatus.EXPIRED, expires_at=NOW - timedelta(days=1)),
        stored("key_0006", provider="groq", status=KeyStatus.VALID, expires_at=NOW + timedelta(days=15)),
    )
    assert (await surface.ask("GET", f"{OWN}/summary")).json() == {
        "keys": 6,
        "usable": 3,
        "by_status": {"valid": 3, "invalid": 1, "degraded": 1, "expired": 1},
        "by_provider": [
            {"provider": "groq", "keys": 4, "usable": 2, "spent_usd": None, "unpriced": 62},
            {"provider": "openai", "keys": 2, "usable": 1, "spent_usd": "1.250000000001", "unpriced": 0},
        ],
        "spent_usd": "1.250000000001",
        "unpriced": 62,
        "over_limit": 1,
        "expiring_soon": 1,
        "rotation_due": 2,
        "credit_low": 1,
        "last_used_at": "2026-11-21T11:00:00Z",
    }
    surface.store()
    assert (await surface.ask("GET", f"{OWN}/summary")).json()["spent_usd"] == "0"


@pytest.mark.parametrize("path", [OWN, f"{OWN}/test", f"{OWN}/key_0001/rotate"])
async def test_a_body_with_a_key_in_both_forms_is_rejected(path: str) -> None:
    fields = {} if path.endswith("rotate") else {"provider": "openai"} | ({"label": "x"} if path == OWN else {})
    response = await Surface().ask("POST", path, {**fields, "key": KEY, "sealed": "kf_sealed_" + "A" * 80})
    assert error(response) == (422, "invalid_value", None)
    assert "either as `key` or as `sealed`, not both" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    "key",
    [TOKEN, "kf_operator_" + "x" * 43, client_token.mint().reveal()],
    ids=["own operator", "other operator", "client"],
)
async def test_a_credential_of_the_installation_is_no_providers_key(key: str) -> None:
    surface = Surface()
    surface.store(stored(provider="custom", origin="https://llm.example", base_url="https://llm.example/v1"))
    new = {"provider": "custom", "label": "x", "base_url": "https://llm.example.com/v1", "key": key}
    for path, body in (
        (OWN, new),
        (f"{OWN}/test", {name: value for name, value in new.items() if name != "label"}),
        (f"{OWN}/key_0001/rotate", {"key": key}),
    ):
        response = await surface.ask("POST", path, body)
        assert error(response) == (422, "implausible_key", "key"), path
        assert "token" in response.json()["error"]["message"]
        assert key not in response.text
    assert not {"key.add", "key.try", "key.rotate"} & {name for name, _ in surface.bus.asked}
