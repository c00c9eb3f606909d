"""Adding keys: opened, validated, tested by a worker, encrypted; a rejected one leaves nothing behind."""

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from keyferry.contracts.audit import AuditOutcome
from keyferry.contracts.key import (
    AddKey,
    EditKey,
    KeyStatus,
    KeyTestResult,
    KeyTestStep,
    ProviderKey,
    RemoveKey,
    TryKey,
)
from keyferry.contracts.route import Endpoint
from keyferry.contracts.secret import Secret
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import Tier
from keyferry.contracts.topology import ENDPOINTS_VIEW, KEY_ADD, KEY_EDIT, KEY_REMOVE, KEY_TRY, Role
from keyferry.runtime.bus.requests import Refused
from keyferry.runtime.views import ViewWriter
from tests.integration.key_vault.vault_service import (
    Operator,
    VaultService,
    Worker,
    openai_key,
    rejected,
    short_of_money,
    unreachable,
    valid,
)
from tests.support.waiting import eventually_async


async def test_key_is_tested_by_a_worker_and_then_stored(
    service: VaultService, worker: Worker, operator: Operator
) -> None:
    secret = openai_key()
    added = await operator.add(secret, priority=7, monthly_limit_usd="12.5")
    assert added.status is KeyStatus.VALID
    assert added.origin == "https://api.openai.com"
    assert added.masked == "sk-proj-…A9f2"
    assert added.last_test is not None
    assert [step.passed for step in added.last_test.steps] == [True, True, True, True]
    tested, check = worker.tested[0]
    assert tested == secret
    assert (check.base_url, check.model) == ("https://api.openai.com/v1", "gpt-4o-mini")
    listed = await operator.keys()
    assert listed == [added]
    assert secret.reveal() not in listed[0].model_dump_json()


async def test_view_entry_contains_no_secrets(service: VaultService, worker: Worker, operator: Operator) -> None:
    added = await operator.add(openai_key())
    entry = await service.entry(f"acme.{added.key_id}")
    assert b"fingerprint" not in entry
    assert b"masked" not in entry


async def test_rejected_key_is_never_stored_whatever_the_options(
    service: VaultService, worker: Worker, operator: Operator
) -> None:
    worker.says = lambda _: rejected()
    with pytest.raises(Refused, match="OpenAI does not accept this key, so nothing was stored: reachable: yes in 5 ms"):
        await operator.add(openai_key(), save_untested=True)
    assert await operator.keys() == []
    await _assert_nothing_stored(service)
    events = await service.audited()
    refused = [event for event in events if event.action == "key.add"]
    assert [event.outcome for event in refused] == [AuditOutcome.REFUSED]
    assert "does not accept" in refused[0].details["reason"]


async def test_key_without_credit_is_stored_as_degraded(worker: Worker, operator: Operator) -> None:
    worker.says = lambda _: short_of_money()
    assert (await operator.add(openai_key())).status is KeyStatus.DEGRADED


@pytest.mark.parametrize("registered", [True, False])
async def test_untestable_key_is_stored_only_on_request(
    service: VaultService, operator: Operator, registered: bool
) -> None:
    async with service.worker(register=registered) as worker:
        worker.says = lambda _: unreachable()
        with pytest.raises(
            Refused, match=r"was inconclusive, so nothing was stored: reachable.*--save-untested"
        ) as caught:
            await operator.add(openai_key("one"))
        assert caught.value.refusal.code is ErrorCode.UNAVAILABLE
        assert ("no provider worker" in str(caught.value)) is not registered
        await _assert_nothing_stored(service)
        saved = await operator.add(openai_key("one"), save_untested=True)
    assert saved.status is KeyStatus.UNTESTED
    assert saved.next_test_at is not None
    assert saved.next_test_at < datetime.now(UTC) + timedelta(hours=2)


@pytest.mark.parametrize(
    ("provider", "text", "says"),
    [
        ("openai", "sk-\x07abc", "spaces, line breaks or characters outside ASCII"),
        ("openai", '{"type":"service_account"}', "credentials file"),
    ],
)
async def test_implausible_key_is_never_sent_anywhere(
    service: VaultService, worker: Worker, operator: Operator, provider: str, text: str, says: str
) -> None:
    with pytest.raises(Refused, match=says) as refused:
        await operator.add(Secret(text), provider=provider)
    assert text not in str(refused.value)
    assert worker.tested == []
    await _assert_nothing_stored(service)


async def test_two_servers_need_two_names(service: VaultService, worker: Worker, operator: Operator) -> None:
    async def add(text: str, host: str, name: str | None, fields: dict[str, str] | None = None) -> ProviderKey:
        base_url = f"https://{host}.example.com/v1"
        sealed = await operator.sealed(Secret(text), provider="custom", base_url=base_url)
        command = AddKey(
            tenant="acme",
            provider="custom",
            sealed=sealed,
            base_url=base_url,
            label=host,
            name=name,
            fields=fields or {},
        )
        return await operator.ask(KEY_ADD, command)

    plain, lab = await add("secret-1", "plain", None), await add("secret-2", "lab", "lab", {"processed_in": "eu"})
    assert [key.name for key in await operator.keys()] == [None, "lab"]
    with pytest.raises(Refused, match="processed_in is `eu` if it processes all requests inside the European Union"):
        await add("secret-6", "far", "far", {"processed_in": "us"})
    added = [event.details.get("processed_in") for event in await service.audited() if event.action == "key.add"]
    assert added[:2] == [None, "eu, as stated by operator for acme"], "it is on record as the owner's own statement"
    for name in (None, "lab"):
        with pytest.raises(Refused, match="which has another address") as refused:
            await add("secret-3", "shop", name)
        assert refused.value.refusal.code is ErrorCode.CONFLICT
    together = await asyncio.gather(
        add("secret-4", "one", "same"), add("secret-5", "two", "same"), return_exceptions=True
    )
    assert [isinstance(one, Refused) for one in together].count(True) == 1, "a name is given once, also at one moment"
    with pytest.raises(Refused, match="lab already stands for"):
        await operator.ask(KEY_EDIT, EditKey(tenant="acme", key_id=plain.key_id, name="lab"))
    renamed = await operator.ask(KEY_EDIT, EditKey(tenant="acme", key_id=lab.key_id, name="lab-2"))
    assert renamed.name == "lab-2"
    assert (await operator.ask(KEY_EDIT, EditKey(tenant="acme", key_id=plain.key_id, name="lab"))).name == "lab"
    cleared = EditKey.model_validate({"tenant": "acme", "key_id": lab.key_id, "clear": ["name"]})
    assert (await operator.ask(KEY_EDIT, cleared)).name is None, "no key without a name is left"


async def test_a_server_cannot_take_the_name_of_an_endpoint(
    service: VaultService, worker: Worker, operator: Operator
) -> None:
    endpoint = Endpoint(tenant="acme", name="lab", base_url="https://llm.example/v1", models=[])
    async with service.bus.client(Role.ROUTER) as client:
        await ViewWriter(client, ENDPOINTS_VIEW).reconcile({"acme.lab": endpoint.encode()})
    base_url = "https://lab.example.com/v1"

    async def refused() -> bool:
        sealed = await operator.sealed(openai_key(), provider="custom", base_url=base_url)
        command = AddKey(tenant="acme", provider="custom", sealed=sealed, base_url=base_url, label="x", name="lab")
        try:
            added = await operator.ask(KEY_ADD, command)
        except Refused as error:
            return "has an endpoint called lab" in str(error)
        await operator.ask(KEY_REMOVE, RemoveKey(tenant="acme", key_id=added.key_id))
        return False

    await eventually_async("the vault knows the endpoint", refused)


async def test_unusual_form_is_reported_and_the_test_decides(
    service: VaultService, worker: Worker, operator: Operator
) -> None:
    added = await operator.add(Secret("sk-0123456789abcdef0123456789abcdef"), provider="groq")
    assert len(worker.tested) == 1
    assert added.last_test is not None
    assert added.last_test.format_warning == "This looks like a key of OpenAI or DeepSeek, not of Groq."
    usual = await operator.add(Secret("sk-fedcba9876543210fedcba9876543210"), provider="deepseek")
    assert usual.last_test is not None
    assert usual.last_test.format_warning is None


async def test_duplicate_key_is_rejected_naming_the_stored_one(
    service: VaultService, worker: Worker, operator: Operator
) -> None:
    first = await operator.add(openai_key("same"), label="production")
    with pytest.raises(Refused, match=rf"stored already, as {first.key_id} \(production, valid\)") as refused:
        await operator.add(openai_key("same"), label="again")
    assert refused.value.refusal.code is ErrorCode.CONFLICT
    assert [key.key_id for key in await operator.keys()] == [first.key_id]
    assert (await operator.add(openai_key("same"), tenant="globex")).tenant == "globex", "another tenant may have it"


async def test_same_key_added_concurrently_is_stored_once(
    service: VaultService, worker: Worker, operator: Operator
) -> None:
    async with service.vault(slot=2):
        both = await asyncio.gather(
            *(operator.add(openai_key("race"), label=f"try {n}") for n in range(4)), return_exceptions=True
        )
    stored = [key for key in both if isinstance(key, ProviderKey)]
    assert len(stored) == 1
    assert [key.key_id for key in await operator.keys()] == [stored[0].key_id]
    assert all(isinstance(other, Refused) for other in both if other is not stored[0])


async def test_tiers_limit_the_number_of_keys(service: VaultService, worker: Worker, operator: Operator) -> None:
    with pytest.raises(Refused, match="the tier free has no provider keys of its own: upgrade to starter"):
        await operator.add(openai_key(), tenant="free")
    first = await operator.add(openai_key("one"), tenant="starter")
    with pytest.raises(Refused, match=rf"1 key per provider.*{first.key_id} \(main\)"):
        await operator.add(openai_key("two"), tenant="starter")
    with pytest.raises(Refused, match="there is no tenant nobody"):
        await operator.add(openai_key(), tenant="nobody")
    for name in ("one", "two", "three"):
        await operator.add(openai_key(name), tenant="platform")
    assert len(await operator.keys("platform")) == 3


async def test_a_downgrade_pauses_keys_and_an_upgrade_brings_them_back(
    service: VaultService, worker: Worker, operator: Operator
) -> None:
    await operator.add(openai_key("one"), tenant="acme")
    second = await operator.add(openai_key("two"), tenant="acme", priority=1)

    async def paused() -> set[str]:
        return {key.key_id for key in await operator.keys("acme") if key.paused}

    async def becomes(count: int) -> bool:
        return len(await paused()) == count

    assert await paused() == set()
    for tier, count in ((Tier.STARTER, 1), (Tier.FREE, 2), (Tier.PROFESSIONAL, 0)):
        await service.publish_tenants({"acme": tier})
        await eventually_async(f"the tier {tier} acts", partial(becomes, count))
        assert (second.key_id in await paused()) == (tier is Tier.FREE), "the first by priority stays"
    assert len(await operator.keys("acme")) == 2, "nothing is deleted"


async def test_concurrent_adds_do_not_exceed_the_quota(
    service: VaultService, worker: Worker, operator: Operator
) -> None:
    async with service.vault(slot=2):
        both = await asyncio.gather(
            *(operator.add(openai_key(f"key{n}"), tenant="starter") for n in range(4)), return_exceptions=True
        )
    assert sum(isinstance(key, ProviderKey) for key in both) == 1
    assert len(await operator.keys("starter")) == 1


async def test_byok_switch_blocks_unlisted_tenants(stopped_service: VaultService) -> None:
    async with (
        stopped_service.vault(byok_tenants="globex"),
        stopped_service.worker(),
        stopped_service.operator() as operator,
    ):
        with pytest.raises(Refused, match="switched off for acme"):
            await operator.add(openai_key())
        assert (await operator.add(openai_key(), tenant="globex")).status is KeyStatus.VALID


async def test_key_sealed_for_another_tenant_or_origin_does_not_open(
    service: VaultService, worker: Worker, operator: Operator
) -> None:
    for_globex = await operator.sealed(openai_key(), tenant="globex")
    for_acme = await operator.sealed(openai_key())
    commands = [
        AddKey(tenant="acme", provider="openai", sealed=for_globex, label="stolen"),
        AddKey(tenant="acme", provider="openai", sealed=for_acme, label="moved", base_url="https://evil.example/v1"),
        AddKey(tenant="acme", provider="custom", sealed=for_acme, label="other", base_url="https://api.openai.com/v1"),
        AddKey(tenant="acme", provider="openai", sealed=f"{for_acme[:-4]}AAAA", label="changed"),
    ]
    for command in commands:
        with pytest.raises(Refused, match="the sealed key does not open"):
            await operator.ask(KEY_ADD, command)
    assert worker.tested == []
    await _assert_nothing_stored(service)


async def test_address_is_checked_before_the_key(service: VaultService, worker: Worker, operator: Operator) -> None:
    sealed = await operator.sealed(openai_key())
    for base_url, says in (
        ("http://10.0.0.1/v1", "http:// is only for networks that the operator allows"),
        ("https://me:pw@evil.example/v1", "without user name, password"),
        ("https://0x7f000001/v1", "not an IP address in its usual form"),
    ):
        command = AddKey(tenant="acme", provider="openai", sealed=sealed, label="x", base_url=base_url)
        with pytest.raises(Refused, match=says):
            await operator.ask(KEY_ADD, command)
    await _assert_nothing_stored(service)


async def test_operators_gateway_replaces_the_providers_address(stopped_service: VaultService) -> None:
    gateway = "openai=https://gateway.example.com/openai/v1"
    async with (
        stopped_service.vault(provider_urls=gateway),
        stopped_service.worker() as worker,
        stopped_service.operator() as operator,
    ):
        added = await operator.add(openai_key())
    assert added.origin == "https://gateway.example.com"
    assert worker.tested[0][1].base_url == "https://gateway.example.com/openai/v1"


async def test_past_expiry_date_is_rejected(service: VaultService, worker: Worker, operator: Operator) -> None:
    with pytest.raises(Refused, match="the expiry date has passed"):
        await operator.add(openai_key(), expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert worker.tested == []


async def test_trying_a_key_stores_nothing_and_is_audited(
    service: VaultService, worker: Worker, operator: Operator
) -> None:
    command = TryKey(tenant="acme", provider="openai", sealed=await operator.sealed(openai_key()))
    assert (await operator.ask(KEY_TRY, command)).result is KeyTestResult.VALID
    worker.says = lambda _: rejected()
    result = await operator.ask(KEY_TRY, command)
    assert result.result is KeyTestResult.INVALID
    assert [step.step for step in result.steps] == list(KeyTestStep)
    await _assert_nothing_stored(service)
    assert [event.details["result"] for event in await service.audited() if event.action == "key.try"] == [
        "valid",
        "invalid",
    ]


async def test_removed_key_is_not_imported_again(service: VaultService, worker: Worker, operator: Operator) -> None:
    worker.says = lambda _: valid()
    added = await operator.add(openai_key("env"), tenant="platform", once=True)
    await operator.ask(KEY_REMOVE, RemoveKey(tenant="platform", key_id=added.key_id))
    with pytest.raises(Refused, match="stored before, and was removed or rotated since: it is not imported again"):
        await operator.add(openai_key("env"), tenant="platform", once=True)
    assert (await operator.add(openai_key("env"), tenant="platform")).status is KeyStatus.VALID, "by hand it may"


async def _assert_nothing_stored(service: VaultService) -> None:
    async with service.stores() as stores:
        assert await stores.keys.list_all() == []
        assert await stores.records.list_after(("", 0), 10) == []
