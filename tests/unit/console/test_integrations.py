"""Integration secrets over HTTP: sealed before they reach the bus, and never in an answer or a log."""

from datetime import UTC, datetime

import pytest

from keyferry.contracts.integration_management import (
    INTEGRATION_SECRET_LIST,
    INTEGRATION_SECRET_REMOVE,
    INTEGRATION_SECRET_ROTATE,
    INTEGRATION_SECRET_SAVE,
)
from keyferry.contracts.integration_secrets import (
    IntegrationKind,
    IntegrationSecret,
    IntegrationSecretList,
    IntegrationSecretRemoved,
    ListIntegrationSecrets,
    RotateIntegrationSecret,
    SaveIntegrationSecret,
)
from keyferry.contracts.secret import Secret
from keyferry.contracts.service import ErrorCode, Refusal
from keyferry.sealing.intake import seal_integration_secret
from tests.unit.console.surface import TOKEN, VAULT, Surface, error
from tests.unit.console.test_leaks import capture_log

ACME = "/api/v1/ops/tenants/acme/integrations"
PLATFORM = "/api/v1/ops/tenants/platform/integrations"
URL = "https://hooks.slack.com/services/T00000000/B00000000/Qw7Zr2Lm9Xc4Vb8Nk3Jh6Gf1"
SLACK = {"kind": "slack_webhook_url", "name": "on call"}
STORED = IntegrationSecret(
    secret_id="isec_0001",
    tenant="acme",
    kind=IntegrationKind.SLACK_WEBHOOK_URL,
    name="on call",
    masked="https://hooks.slack.com/…6Gf1",
    fingerprint="0" * 16,
    version=1,
    created_at=datetime(2026, 11, 30, tzinfo=UTC),
    created_by="operator",
)


def surface_with_secret() -> Surface:
    surface = Surface()
    surface.bus.answers(INTEGRATION_SECRET_LIST, IntegrationSecretList(tenant="acme", secrets=[STORED]))
    surface.bus.answers(INTEGRATION_SECRET_SAVE, STORED)
    surface.bus.answers(INTEGRATION_SECRET_ROTATE, STORED)
    surface.bus.answers(INTEGRATION_SECRET_REMOVE, IntegrationSecretRemoved(secret=STORED))
    return surface


async def test_secret_in_clear_text_is_sealed_for_its_owner_and_kind() -> None:
    surface = surface_with_secret()
    added = await surface.ask("POST", ACME, SLACK | {"secret": URL})
    assert (added.status_code, added.headers["location"]) == (201, f"{ACME}/isec_0001")
    sent = surface.bus.asked[-1][1]
    assert isinstance(sent, SaveIntegrationSecret)
    assert (sent.tenant, sent.kind, sent.name, sent.actor) == ("acme", STORED.kind, "on call", "console:operator")
    assert VAULT.open_integration_secret(sent.sealed, "acme", "slack_webhook_url") == Secret(URL)


async def test_secret_that_the_client_sealed_is_forwarded_unchanged() -> None:
    surface = surface_with_secret()
    key = VAULT.intake_key.public_key
    sealed = seal_integration_secret(key, "acme", "slack_webhook_url", Secret(URL))
    body = {"sealed": sealed, "overlap_seconds": 0}
    assert (await surface.ask("POST", f"{ACME}/isec_0001/rotate", body)).status_code == 200
    sent = surface.bus.asked[-1][1]
    assert isinstance(sent, RotateIntegrationSecret)
    assert (sent.secret_id, sent.sealed, sent.overlap_seconds) == ("isec_0001", sealed, 0)


async def test_secrets_are_listed_by_kind_and_removed() -> None:
    surface = surface_with_secret()
    listed = await surface.ask("GET", f"{ACME}?kind=slack_webhook_url")
    assert [one["masked"] for one in listed.json()["secrets"]] == [STORED.masked]
    assert surface.bus.asked[-1][1] == ListIntegrationSecrets(tenant="acme", kind=STORED.kind)
    assert (await surface.ask("GET", f"{ACME}/isec_0001")).json()["secret_id"] == "isec_0001"
    assert (await surface.ask("DELETE", f"{ACME}/isec_0001")).json()["secret"]["secret_id"] == "isec_0001"
    assert error(await surface.ask("GET", f"{ACME}?kind=anything"))[0] == 422


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"secret": ""},
        {"secret": 7},
        {"secret": URL, "sealed": "kf_sealed_" + "A" * 100},
        {"sealed": URL},
        {"sealed": "A" * 100},
        {"secret": "x" * 2001},
        {"secret": URL + "\x00"},
        {"secret": URL + "\ud800"},
        {"secret": f"sk-proj-{'a1' * 20}"},
        {"secret": TOKEN},
        {"secret": URL, "name": "\x00"},
        {"secret": URL, "name": "a\ud800"},
        {"secret": URL, "name": "x" * 101},
        {"secret": URL, "name": f"sk-proj-{'a1' * 20}"},
        {"secret": URL, "kind": "stripe_api_key"},
        {"secret": URL, "kind": "nothing"},
        {"secret": URL, "anything": 1},
    ],
    ids=repr,
)
async def test_bad_input_is_refused_without_repeating_it(more: dict[str, object]) -> None:
    surface = surface_with_secret()
    with capture_log() as lines:
        answer = await surface.ask("POST", ACME, SLACK | more)
    assert error(answer)[0] in (400, 422)
    assert not any(subject == INTEGRATION_SECRET_SAVE.name for subject, _ in surface.bus.asked)
    for text in (value for value in more.values() if isinstance(value, str) and len(value) > 20):
        assert text not in answer.text + "".join(lines)


async def test_only_the_platform_has_a_key_of_stripe() -> None:
    surface = surface_with_secret()
    body = {"kind": "stripe_api_key", "name": "main", "secret": f"sk_test_{'a1' * 12}"}
    refused = await surface.ask("POST", ACME, body)
    assert error(refused)[0] == 422
    assert "only the platform" in refused.text
    assert (await surface.ask("POST", PLATFORM, body)).status_code == 201


@pytest.mark.parametrize("code", list(ErrorCode))
async def test_accepted_secret_appears_only_sealed(code: ErrorCode) -> None:
    surface = surface_with_secret()
    surface.bus.answers(INTEGRATION_SECRET_SAVE, Refusal(code=code, message="no"))
    surface.bus.answers(INTEGRATION_SECRET_ROTATE, Refusal(code=code, message="no"))
    with capture_log() as lines:
        answers = [
            await surface.ask("POST", ACME, SLACK | {"secret": URL}),
            await surface.ask("POST", f"{ACME}/isec_0001/rotate", {"secret": URL}),
        ]
    asked = b"".join(message.encode() for _, message in surface.bus.asked)
    secret = URL.rpartition("/")[2]
    assert secret not in asked.decode() + "".join([*lines, *(f"{answer.text}{answer.headers}" for answer in answers)])


async def test_operators_manage_the_platforms_own() -> None:
    surface = surface_with_secret()
    body = {"kind": "smtp_password", "name": "mail", "secret": "correct horse battery"}
    ops = "/api/v1/ops/integrations"
    assert (await surface.ask("POST", ops, body)).status_code == 201
    sent = surface.bus.asked[-1][1]
    assert isinstance(sent, SaveIntegrationSecret)
    assert sent.tenant == "platform"
    assert VAULT.open_integration_secret(sent.sealed, "platform", "smtp_password") == Secret("correct horse battery")
    assert (await surface.ask("GET", ops)).status_code == 200
    assert (await surface.ask("POST", f"{ops}/isec_0001/rotate", {"secret": URL})).status_code == 200
    assert (await surface.ask("DELETE", f"{ops}/isec_0001")).status_code == 200
    assert {getattr(message, "tenant", "platform") for _, message in surface.bus.asked} == {"platform"}
