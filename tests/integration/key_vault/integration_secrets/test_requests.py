"""Integration secrets over the bus, with a real vault: saved, read by the right role, rotated with overlap, removed, audited."""

import secrets
from datetime import UTC, datetime, timedelta

import pytest

from keyferry.contracts.audit import AuditEvent, AuditOutcome
from keyferry.contracts.integration_management import (
    INTEGRATION_SECRET_LIST,
    INTEGRATION_SECRET_REMOVE,
    INTEGRATION_SECRET_ROTATE,
    INTEGRATION_SECRET_SAVE,
    WEBHOOK_SECRET_REMOVE,
    WEBHOOK_SECRET_ROTATE,
    WEBHOOK_SECRET_SAVE,
)
from keyferry.contracts.integration_secrets import (
    IntegrationKind,
    IntegrationSecret,
    ListIntegrationSecrets,
    RemoveIntegrationSecret,
    RotateIntegrationSecret,
    SaveIntegrationSecret,
)
from keyferry.contracts.key import GetIntakeKey
from keyferry.contracts.secret import Secret
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.topology import DATA_KEY_ROTATE, INTAKE_KEY_GET, VAULT_SHRED, VAULT_VERIFY, Role
from keyferry.contracts.vault import RotateDataKeys, ShredTenant, VerifyVault
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.integration_secrets import IntegrationSecrets, NoSuchSecret, seal_for_vault
from keyferry.sealing.intake import seal_integration_secret
from tests.integration.key_vault.vault_service import ASK_SECONDS, Operator, VaultService

STRIPE = IntegrationKind.STRIPE_API_KEY
SLACK = IntegrationKind.SLACK_WEBHOOK_URL
WEBHOOK = IntegrationKind.WEBHOOK_SECRET
PLATFORM = "platform"


def stripe_key() -> Secret:
    return Secret(f"sk_test_{secrets.token_hex(16)}")


def slack_url() -> Secret:
    return Secret(f"https://hooks.slack.com/services/T00000000/B00000000/{secrets.token_hex(12)}")


def webhook_secret() -> Secret:
    return Secret(f"whsec_{secrets.token_hex(24)}")


async def sealed(operator: Operator, secret: Secret, tenant: str, kind: IntegrationKind) -> str:
    intake = await operator.ask(INTAKE_KEY_GET, GetIntakeKey())
    return seal_integration_secret(intake.public_key, tenant, kind.value, secret, suite=intake.suite)


async def save(
    operator: Operator, secret: Secret, tenant: str = PLATFORM, kind: IntegrationKind = STRIPE, name: str = "main"
) -> IntegrationSecret:
    text = await sealed(operator, secret, tenant, kind)
    command = SaveIntegrationSecret(tenant=tenant, kind=kind, name=name, sealed=text)
    return await operator.ask(INTEGRATION_SECRET_SAVE, command)


async def rotate(
    operator: Operator, stored: IntegrationSecret, secret: Secret, overlap_seconds: int = 3600
) -> IntegrationSecret:
    text = await sealed(operator, secret, stored.tenant, stored.kind)
    command = RotateIntegrationSecret(
        tenant=stored.tenant, secret_id=stored.secret_id, sealed=text, overlap_seconds=overlap_seconds
    )
    return await operator.ask(INTEGRATION_SECRET_ROTATE, command)


async def listed(operator: Operator, tenant: str = PLATFORM) -> list[IntegrationSecret]:
    return (await operator.ask(INTEGRATION_SECRET_LIST, ListIntegrationSecrets(tenant=tenant))).secrets


def fresh(bus: Bus) -> IntegrationSecrets:
    """Return a reader that remembers nothing."""
    return IntegrationSecrets(bus, cache_seconds=0)


async def integration_audit(service: VaultService) -> list[AuditEvent]:
    return [event for event in await service.audited() if event.action.startswith("integration_secret.")]


async def test_saved_secret_is_listed_masked_and_read_by_its_reader(service: VaultService, operator: Operator) -> None:
    secret = stripe_key()
    stored = await save(operator, secret)
    assert (stored.version, stored.previous_until, stored.masked) == (1, None, f"sk_test_…{secret.reveal()[-4:]}")
    assert await listed(operator) == [stored]
    async with service.bus.connected(Role.BILLING) as billing:
        read = await fresh(billing).get(PLATFORM, STRIPE)
        assert (read.secret_id, read.version, read.current, read.previous) == (stored.secret_id, 1, secret, None)
        assert await fresh(billing).get(PLATFORM, STRIPE, stored.secret_id) == read
        with pytest.raises(NoSuchSecret, match="keyferry integrations add lago_api_key --tenant platform"):
            await fresh(billing).get(PLATFORM, IntegrationKind.LAGO_API_KEY)
    # Two reads by one process are one lease in the audit.
    assert [(event.action, event.actor, event.outcome) for event in await integration_audit(service)] == [
        ("integration_secret.save", "operator", AuditOutcome.DONE),
        ("integration_secret.lease", "billing", AuditOutcome.DONE),
    ]


async def test_role_reads_only_its_kinds_and_nothing_of_another_owner(
    service: VaultService, operator: Operator
) -> None:
    await save(operator, stripe_key())
    hook = await save(operator, slack_url(), "acme", SLACK)
    async with service.bus.connected(Role.NOTIFIER) as notifier, service.bus.connected(Role.BILLING) as billing:
        with pytest.raises(Refused, match="the notifier may not read a secret of the kind stripe_api_key"):
            await fresh(notifier).get(PLATFORM, STRIPE)
        with pytest.raises(Refused, match="the billing may not read a secret of the kind slack_webhook_url"):
            await fresh(billing).get("acme", SLACK, hook.secret_id)
        with pytest.raises(NoSuchSecret):
            await fresh(notifier).get("globex", SLACK, hook.secret_id)
        assert (await fresh(notifier).get("acme", SLACK, hook.secret_id)).secret_id == hook.secret_id
    async with service.bus.connected(Role.ROUTER) as router:
        with pytest.raises(KeyError):
            await fresh(router).get(PLATFORM, STRIPE)
    refused = [event for event in await integration_audit(service) if event.outcome is AuditOutcome.REFUSED]
    assert [(event.actor, event.tenant) for event in refused] == [("notifier", PLATFORM), ("billing", "acme")]


async def test_server_lets_no_other_role_ask_for_a_secret(service: VaultService, operator: Operator) -> None:
    await save(operator, stripe_key())
    for role in (Role.ROUTER, Role.CONSOLE, Role.OPERATOR, Role.NOTIFIER):
        async with service.bus.connected(role) as bus:
            reader = fresh(bus)
            reader._bus.role = Role.BILLING  # a process that was broken into claims another role
            with pytest.raises(BusError):
                await reader.get(PLATFORM, STRIPE)


async def test_previous_version_is_valid_until_the_overlap_ends(service: VaultService, operator: Operator) -> None:
    first, second, third = stripe_key(), stripe_key(), stripe_key()
    stored = await save(operator, first)
    rotated = await rotate(operator, stored, second)
    assert rotated.version == 2
    assert rotated.previous_until is not None
    async with service.bus.connected(Role.BILLING) as billing:
        read = await fresh(billing).get(PLATFORM, STRIPE)
        assert read.all == (second, first)
        await rotate(operator, rotated, third)
        assert (await fresh(billing).get(PLATFORM, STRIPE)).all == (third, second), "one step back, not two"
        await service.execute("UPDATE key_vault.integration_secrets SET previous_until = now() - interval '1 second'")
        assert (await fresh(billing).get(PLATFORM, STRIPE)).all == (third,), "ended, whether it is destroyed yet or not"
    async with service.stores() as stores:
        await stores.integrations.expire(datetime.now(UTC), 10)
        records = await stores.integrations.list_after(("", 0), 10)
    assert [secret.version for secret, _ in records] == [3]
    assert (await listed(operator))[0].previous_until is None


async def test_without_overlap_the_previous_version_is_destroyed_at_once(
    service: VaultService, operator: Operator
) -> None:
    stored = await save(operator, stripe_key())
    rotated = await rotate(operator, stored, stripe_key(), overlap_seconds=0)
    assert rotated.previous_until is None
    async with service.stores() as stores:
        records = await stores.integrations.list_after(("", 0), 10)
    assert [secret.version for secret, _ in records] == [2]


async def test_removed_secret_is_gone_with_all_versions(service: VaultService, operator: Operator) -> None:
    stored = await save(operator, stripe_key())
    await rotate(operator, stored, stripe_key())
    command = RemoveIntegrationSecret(tenant=PLATFORM, secret_id=stored.secret_id)
    assert (await operator.ask(INTEGRATION_SECRET_REMOVE, command)).secret.secret_id == stored.secret_id
    assert await listed(operator) == []
    async with service.bus.connected(Role.BILLING) as billing:
        with pytest.raises(NoSuchSecret):
            await fresh(billing).get(PLATFORM, STRIPE)
    async with service.stores() as stores:
        assert await stores.integrations.list_after(("", 0), 10) == []
    with pytest.raises(Refused) as repeated:
        await operator.ask(INTEGRATION_SECRET_REMOVE, command)
    assert repeated.value.refusal.code is ErrorCode.NOT_FOUND
    actions = [(event.action, event.outcome) for event in await integration_audit(service)]
    assert actions == [
        ("integration_secret.save", AuditOutcome.DONE),
        ("integration_secret.rotate", AuditOutcome.DONE),
        ("integration_secret.remove", AuditOutcome.DONE),
        ("integration_secret.remove", AuditOutcome.REFUSED),
    ]


async def test_cached_secret_serves_for_ten_seconds_and_no_longer(service: VaultService, operator: Operator) -> None:
    first, second, now = stripe_key(), stripe_key(), [100.0]
    stored = await save(operator, first)
    async with service.bus.connected(Role.BILLING) as billing:
        reader = IntegrationSecrets(billing, clock=lambda: now[0])
        assert (await reader.get(PLATFORM, STRIPE)).current == first
        await rotate(operator, stored, second, overlap_seconds=0)
        now[0] += 9.9
        assert (await reader.get(PLATFORM, STRIPE)).current == first
        now[0] += 0.2
        assert (await reader.get(PLATFORM, STRIPE)).current == second


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("sk-proj-" + "a1" * 20, "looks like a key of OpenAI"),
        ("pk_live_" + "a1" * 20, "publishable key"),
        ("whsec_" + "a1" * 20, "signing secret of a webhook"),
        ("sk_live_" + "a1" * 20 + "\x00", "line breaks or characters"),
        ("sk_live_" + "a1" * 20 + "\n", "line breaks or characters"),
        ("sk_live_" + "a1" * 2000, "more than 2000 characters"),
        ("kf_operator_" + "a1" * 20, "operator's token"),
    ],
)
async def test_what_is_no_secret_of_its_kind_is_refused(
    service: VaultService, operator: Operator, text: str, says: str
) -> None:
    with pytest.raises(Refused, match=says) as refused:
        await save(operator, Secret(text))
    assert "nothing was stored" in refused.value.refusal.message
    assert len(text) < 10 or text not in refused.value.refusal.message
    assert await listed(operator) == []


async def test_seal_is_for_one_owner_and_kind(service: VaultService, operator: Operator) -> None:
    text = await sealed(operator, slack_url(), "acme", SLACK)
    for tenant, kind in (("globex", SLACK), ("acme", IntegrationKind.OPENAI_ADMIN_KEY)):
        command = SaveIntegrationSecret(tenant=tenant, kind=kind, name="main", sealed=text)
        with pytest.raises(Refused, match="does not open"):
            await operator.ask(INTEGRATION_SECRET_SAVE, command)


async def test_owner_has_one_secret_of_a_kind_that_is_not_repeatable(service: VaultService, operator: Operator) -> None:
    secret = stripe_key()
    stored = await save(operator, secret)
    with pytest.raises(Refused, match=f"stored already, as {stored.secret_id}"):
        await save(operator, secret, name="another")
    with pytest.raises(Refused, match=f"keyferry integrations rotate {stored.secret_id} --tenant platform"):
        await save(operator, stripe_key(), name="another")
    with pytest.raises(Refused, match="holds now: make a new one"):
        await rotate(operator, stored, secret)
    hooks = [await save(operator, slack_url(), "acme", SLACK, name) for name in ("ops", "sales")]
    with pytest.raises(Refused, match="has this name"):
        await save(operator, slack_url(), "acme", SLACK, "ops")
    assert [hook.secret_id for hook in await listed(operator, "acme")] == [hook.secret_id for hook in hooks]


async def test_unknown_owner_gets_none(service: VaultService, operator: Operator) -> None:
    with pytest.raises(Refused, match="there is no tenant nobody"):
        await save(operator, slack_url(), "nobody", SLACK)


async def test_notifier_manages_signing_secrets_of_webhooks_and_nothing_else(
    service: VaultService, operator: Operator
) -> None:
    with pytest.raises(Refused, match="keyferry webhooks"):
        await save(operator, webhook_secret(), "acme", WEBHOOK)
    hook = await save(operator, slack_url(), "acme", SLACK)
    first, second = webhook_secret(), webhook_secret()
    async with service.bus.connected(Role.NOTIFIER) as notifier:
        text = await seal_for_vault(notifier, "acme", WEBHOOK, first)
        command = SaveIntegrationSecret(tenant="acme", kind=WEBHOOK, name="orders", sealed=text, actor="notifier")
        stored = await notifier.ask(WEBHOOK_SECRET_SAVE, command, timeout_seconds=ASK_SECONDS)
        text = await seal_for_vault(notifier, "acme", WEBHOOK, second)
        again = RotateIntegrationSecret(tenant="acme", secret_id=stored.secret_id, sealed=text)
        await notifier.ask(WEBHOOK_SECRET_ROTATE, again, timeout_seconds=ASK_SECONDS)
        assert (await fresh(notifier).get("acme", WEBHOOK, stored.secret_id)).all == (second, first)
        other = RemoveIntegrationSecret(tenant="acme", secret_id=hook.secret_id)
        with pytest.raises(Refused, match="signing secrets of webhooks alone"):
            await notifier.ask(WEBHOOK_SECRET_REMOVE, other, timeout_seconds=ASK_SECONDS)
        removal = RemoveIntegrationSecret(tenant="acme", secret_id=stored.secret_id)
        with pytest.raises(Refused, match="keyferry webhooks"):
            await operator.ask(INTEGRATION_SECRET_REMOVE, removal)
        await notifier.ask(WEBHOOK_SECRET_REMOVE, removal, timeout_seconds=ASK_SECONDS)
    assert [one.secret_id for one in await listed(operator, "acme")] == [hook.secret_id]


async def test_secrets_survive_a_restart_of_the_vault(stopped_service: VaultService) -> None:
    secret = stripe_key()
    async with stopped_service.vault(), stopped_service.operator() as operator:
        await save(operator, secret)
    async with stopped_service.bus.connected(Role.BILLING) as billing:
        with pytest.raises(BusError):
            await fresh(billing).get(PLATFORM, STRIPE)
        async with stopped_service.vault():
            assert (await fresh(billing).get(PLATFORM, STRIPE)).current == secret


async def test_data_key_rotation_and_verification_include_integration_secrets(
    service: VaultService, operator: Operator
) -> None:
    first, second = slack_url(), slack_url()
    stored = await save(operator, first, "acme", SLACK)
    await rotate(operator, stored, second)
    report = await operator.ask(DATA_KEY_ROTATE, RotateDataKeys(tenant="acme"))
    assert (report.records, report.data_keys, report.undecryptable) == (2, 1, [])
    async with service.bus.connected(Role.NOTIFIER) as notifier:
        assert (await fresh(notifier).get("acme", SLACK, stored.secret_id)).all == (second, first)
    await service.execute("UPDATE key_vault.integration_secrets SET kind = 'smtp_password'")
    assert (await operator.ask(VAULT_VERIFY, VerifyVault())).undecryptable == [stored.secret_id]


async def test_shredding_a_tenant_destroys_its_integration_secrets(service: VaultService, operator: Operator) -> None:
    stored = await save(operator, slack_url(), "acme", SLACK)
    kept = await save(operator, slack_url(), "globex", SLACK)
    done = await operator.ask(VAULT_SHRED, ShredTenant(tenant="acme", confirm="acme"))
    assert (done.keys, done.integration_secrets, done.data_keys) == (0, 1, 1)
    async with service.bus.connected(Role.NOTIFIER) as notifier:
        with pytest.raises(NoSuchSecret):
            await fresh(notifier).get("acme", SLACK, stored.secret_id)
        assert (await fresh(notifier).get("globex", SLACK, kept.secret_id)).secret_id == kept.secret_id


async def test_overlap_is_bounded(service: VaultService, operator: Operator) -> None:
    stored = await save(operator, stripe_key())
    with pytest.raises(ValueError, match="overlap_seconds"):
        await rotate(operator, stored, stripe_key(), overlap_seconds=int(timedelta(days=31).total_seconds()))
