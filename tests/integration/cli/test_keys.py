"""`keyferry keys`, `vault` and `audit` with a running vault and a worker whose key tests are scripted."""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyferry.contracts.audit import (
    AuditEntries,
    AuditEntry,
    AuditEvent,
    AuditOutcome,
    AuditVerification,
    ListAudit,
    VerifyAudit,
)
from keyferry.contracts.tenancy import GetTenant, KeyPolicy, ListTenants, Tenant, Tenants, Tier
from keyferry.contracts.topology import AUDIT_LIST, AUDIT_VERIFY, TENANT_GET, TENANT_LIST, Role
from keyferry.sealing.private_keys import public_key_text
from tests.integration.cli.answering import owner
from tests.integration.cli.command import Ran, keyferry, operator_environment
from tests.integration.key_vault.keys.test_lifecycle import wait_for_key
from tests.integration.key_vault.vault_service import (
    KeyFiles,
    VaultService,
    Worker,
    openai_key,
    rejected,
    unreachable,
    valid,
)
from tests.support.servers.migrated_database import migrated_database
from tests.support.servers.provisioned_bus import ProvisionedBus


@dataclass
class Scene:
    """A vault, a worker, and the command line of the installation."""

    vault_service: VaultService
    worker: Worker
    home: Path

    async def run(self, *arguments: str, stdin: str | None = None, **environment: str) -> Ran:
        known = operator_environment(self.vault_service.bus) | {"KEYFERRY_HOME": str(self.home)}
        return await keyferry(*arguments, environment=known | environment, cwd=self.home, stdin=stdin)

    async def add_key(self, name: str, tenant: str = "acme", *more: str) -> dict[str, object]:
        arguments = ("keys", "add", "--provider", "openai", "--tenant", tenant, "--key-file", "-", "--json", *more)
        ran = await self.run(*arguments, stdin=f"{openai_key(name).reveal()}\n")
        assert ran.status == 0, ran.err
        found: dict[str, object] = json.loads(ran.out)
        return found


@pytest.fixture
async def scene(bus: ProvisionedBus, tmp_path: Path) -> AsyncIterator[Scene]:
    url_files = migrated_database(tmp_path / "database", "key_vault").url_files
    vault_service = VaultService(bus, url_files["key_vault"], KeyFiles(tmp_path / "keys"))
    pinned = tmp_path / "home" / "secrets" / "vault" / "intake-key.pub"
    pinned.parent.mkdir(parents=True)
    pinned.write_text(public_key_text(vault_service.files.intake) + "\n")
    async with vault_service.vault(), vault_service.worker() as worker:
        yield Scene(vault_service, worker, tmp_path / "home")


async def test_key_from_standard_input_is_tested_and_shown_masked(scene: Scene) -> None:
    key = openai_key("first").reveal()
    arguments = ("keys", "add", "--provider", "openai", "--tenant", "acme", "--key-file", "-", "--label", "production")
    ran = await scene.run(*arguments, stdin=f"{key}\n")
    assert ran.status == 0, ran.err
    assert "added key_" in ran.out
    assert "sk-proj-…A9f2): valid" in ran.out
    for step in ("reachable", "accepted", "has credit", "model or region"):
        assert f"{step} " in ran.out
    assert "5 ms" in ran.out
    format_keys = await scene.run("keys", "list", "--tenant", "acme")
    assert "production" in format_keys.out
    assert key not in ran.out + ran.err + format_keys.out
    assert scene.worker.tested[0][0].reveal() == key


async def test_key_from_a_file_is_accepted(scene: Scene) -> None:
    file = scene.home / "key"
    file.write_text(openai_key("file").reveal() + "\r\n")
    ran = await scene.run("keys", "try", "--provider", "openai", "--tenant", "acme", "--key-file", str(file))
    assert (ran.status, "the key works (valid" in ran.out) == (0, True)
    assert "no provider keys" in (await scene.run("keys", "list", "--tenant", "acme")).out


async def test_key_on_the_command_line_is_rejected(scene: Scene) -> None:
    key = openai_key("argv").reveal()
    for arguments in (
        ("keys", "rotate", key),
        ("keys", "rm", "--yes", key),
        ("keys", "add", "--provider", "openai", key),
    ):
        ran = await scene.run(*arguments)
        assert ran.status in (1, 2)
    given_as_file = await scene.run("keys", "add", "--provider", "openai", "--key-file", key)
    assert given_as_file.status == 1
    assert key not in given_as_file.err
    prompted = await scene.run("keys", "add", "--provider", "openai")
    assert "there is no terminal to ask for the key" in prompted.err
    assert scene.worker.tested == []


async def test_rejected_key_is_reported_with_its_test_steps(scene: Scene) -> None:
    scene.worker.says = lambda _: rejected()
    arguments = ("--provider", "openai", "--tenant", "acme", "--key-file", "-")
    failed_attempts = await scene.run("keys", "try", *arguments, stdin=openai_key().reveal())
    assert failed_attempts.status == 1
    assert "the provider does not accept the key (invalid" in failed_attempts.out
    added = await scene.run("keys", "add", *arguments, stdin=openai_key().reveal())
    assert added.status == 1
    assert "OpenAI does not accept this key, so nothing was stored" in added.err


async def test_unreachable_provider_needs_save_untested(scene: Scene) -> None:
    scene.worker.says = lambda _: unreachable()
    arguments = ("keys", "add", "--provider", "openai", "--tenant", "acme", "--key-file", "-")
    refused = await scene.run(*arguments, stdin=openai_key("a").reveal())
    assert (refused.status, "--save-untested" in refused.err) == (1, True)
    saved = await scene.run(*arguments, "--save-untested", stdin=openai_key("a").reveal())
    assert (saved.status, ": untested" in saved.out) == (0, True)


async def test_nothing_is_sealed_to_an_unpinned_key(scene: Scene) -> None:
    pinned = scene.home / "secrets" / "vault" / "intake-key.pub"
    pinned.write_text(public_key_text(X25519PrivateKey.generate()))
    ran = await scene.run("keys", "add", "--provider", "openai", "--key-file", "-", stdin=openai_key().reveal())
    assert ran.status == 1
    assert "is not the pinned one, so nothing was sealed or sent" in ran.err
    pinned.unlink()
    ran = await scene.run("keys", "add", "--provider", "openai", "--key-file", "-", stdin=openai_key().reveal())
    assert "cannot read the pinned intake key" in ran.err


_MISTAKES: tuple[tuple[tuple[str, ...], str], ...] = (
    (("--provider", "chatgpt"), "there is no provider 'chatgpt'"),
    (("--provider", "anthropic"), "looks like a key of OpenAI, not of Anthropic"),
    (("--provider", "bedrock"), "needs region: the AWS region"),
    (("--provider", "azure"), "give a base URL such as https://RESOURCE.openai.azure.com"),
    (("--provider", "openai", "--field", "region"), "a field must read NAME=VALUE"),
    (("--provider", "openai", "--monthly-limit", "ten"), "is not an amount of US dollars"),
)


async def test_mistakes_are_reported_before_anything_is_sent(scene: Scene) -> None:
    for arguments, expected in _MISTAKES:
        ran = await scene.run("keys", "add", *arguments, "--key-file", "-", stdin=openai_key().reveal())
        assert ran.status == 1
        assert expected in ran.err
    assert scene.worker.tested == []


async def test_key_lifecycle_from_the_command_line(scene: Scene) -> None:
    key_id = str((await scene.add_key("old"))["key_id"])
    rotated = await scene.run(
        "keys", "rotate", key_id, "--tenant", "acme", "--key-file", "-", stdin=openai_key("new").reveal()
    )
    assert rotated.out.startswith(f"rotated {key_id}"), rotated.err
    reverted = await scene.run("keys", "revert", key_id, "--tenant", "acme", "--json")
    assert json.loads(reverted.out)["version"] == 3
    assert scene.worker.tested[-1][0] == openai_key("old")
    for verb, status in (("disable", "disabled"), ("enable", "valid"), ("test", "valid")):
        ran = await scene.run("keys", verb, key_id, "--tenant", "acme")
        assert f": {status}" in ran.out, ran.err
    edited = await scene.run("keys", "edit", key_id, "--tenant", "acme", "--monthly-limit", "25", "--label", "spare")
    assert "spare" in edited.out
    assert "nothing to change" in (await scene.run("keys", "edit", key_id)).err
    assert "of $25" in (await scene.run("keys", "list", "--tenant", "acme")).out
    gone = await scene.run("keys", "test", key_id, "--tenant", "globex")
    assert f"globex has no key {key_id}" in gone.err


async def test_removal_shows_which_key_pays_next(scene: Scene) -> None:
    policies = {"acme": KeyPolicy.OWN, "globex": KeyPolicy.OWN_THEN_PLATFORM}

    async def tenant(question: GetTenant) -> Tenant:
        named = question.tenant
        return Tenant(tenant=named, name=named.title(), tier=Tier.ENTERPRISE, key_policy=policies[named])

    await scene.add_key("platform", "platform", "--label", "shared")
    acme = str((await scene.add_key("one", "acme", "--label", "one"))["key_id"])
    spare = str((await scene.add_key("two", "acme", "--label", "two"))["key_id"])
    globex = str((await scene.add_key("three", "globex", "--label", "three"))["key_id"])
    async with owner(scene.vault_service.bus, Role.TENANT_DIRECTORY, TENANT_GET, tenant):
        first = await scene.run("keys", "rm", acme, "--tenant", "acme", "--yes")
        second = await scene.run("keys", "rm", spare, "--tenant", "acme", "--yes")
        third = await scene.run("keys", "rm", globex, "--tenant", "globex", "--yes")
    assert "OpenAI requests continue with acme's own two" in first.out
    assert "are refused from now on: its policy allows its own keys only" in second.out
    assert "are paid for by the platform's key shared from now on" in third.out
    unsure = await scene.run("keys", "rm", acme, "--tenant", "acme")
    assert unsure.status == 130, "without --yes it asks, and nobody is there to answer"


async def test_platform_keys_are_imported_once(scene: Scene) -> None:
    variables = {"OPENAI_API_KEY": openai_key("env").reveal(), "ANTHROPIC_API_KEY": "sk-ant-two lines"}
    first = await scene.run("keys", "import", **variables)
    assert first.status == 1
    assert "OPENAI_API_KEY: key_" in first.out
    assert "ANTHROPIC_API_KEY: not imported: the key has spaces" in first.out
    again = await scene.run("keys", "import", "--json", OPENAI_API_KEY=variables["OPENAI_API_KEY"])
    assert (
        "stored already" in json.loads(again.out)[0]["refused"]
        or "stored before" in json.loads(again.out)[0]["refused"]
    )
    assert variables["OPENAI_API_KEY"] not in first.out + first.err + again.out


async def test_vault_rotation_verification_and_shredding(scene: Scene) -> None:
    await scene.add_key("one")
    files = scene.vault_service.files
    old = files["keks"].read_text()
    files.write("keks", "second " + "A" * 43 + "\n" + old)
    rotated = await scene.run("vault", "rotate-kek")
    assert rotated.status == 0, rotated.err
    assert "all 1 data keys are encrypted under second" in rotated.out
    assert "second  primary  1" in (await scene.run("vault", "status")).out
    rotated = await scene.run("vault", "rotate-data-keys", "--tenant", "acme")
    assert "all of them can be decrypted" in rotated.out, rotated.err
    assert (await scene.run("vault", "verify")).status == 0
    wrong = await scene.run("vault", "shred", "--tenant", "acme", "--confirm", "acm")
    assert "so nothing was destroyed" in wrong.err
    shredded = await scene.run("vault", "shred", "--tenant", "acme", "--confirm", "acme")
    assert "destroyed 1 provider keys and 1 data keys of acme" in shredded.out
    assert "acme has no provider keys" in (await scene.run("keys", "list", "--tenant", "acme")).out


async def test_key_list_shows_age_and_credit(scene: Scene) -> None:
    scene.worker.says = lambda _: valid().model_copy(update={"credit_left_usd": Decimal("3.20")})
    await scene.add_key("one")
    await scene.vault_service.execute("UPDATE provider_keys SET created_at = now() - interval '100 days'")
    scene.worker.says = lambda _: valid()
    await scene.add_key("two", "acme", "--label", "young")

    async with scene.vault_service.operator() as operator:
        (marked,) = [key for key in await operator.keys() if key.label != "young"]
        await wait_for_key(operator, marked, "it is old", lambda key: key.rotation_due)
        await wait_for_key(operator, marked, "its credit is low", lambda key: key.credit_low)
    ran = await scene.run("keys", "list", "--tenant", "acme")
    assert ran.status == 0, ran.err
    heads, old, young = [re.split(r" {2,}", line.strip()) for line in ran.out.splitlines()]
    assert [old[heads.index(name)] for name in ("AGE", "CREDIT LEFT", "SECRET FROM")] == [
        "100 days, rotation due",
        "$3.2, low",
        "operator",
    ]
    assert [young[heads.index(name)] for name in ("AGE", "CREDIT LEFT")] == ["0 days", "-"]


async def test_keys_are_listed_by_creator(scene: Scene) -> None:
    for tenant in ("acme", "globex"):
        await scene.add_key(tenant, tenant)
    await scene.vault_service.execute("UPDATE provider_keys SET created_by = 'ada'")
    await scene.add_key("another")

    async def tenants(_: ListTenants) -> Tenants:
        return Tenants(tenants=[Tenant(tenant=name, name=name, tier=Tier.FREE) for name in ("acme", "free", "globex")])

    async with owner(scene.vault_service.bus, Role.TENANT_DIRECTORY, TENANT_LIST, tenants):
        hers = await scene.run("keys", "list", "--all-tenants", "--created-by", "ada", "--json")
        shown = await scene.run("keys", "list", "--all-tenants", "--created-by", "ada")
        nobodys = await scene.run("keys", "list", "--all-tenants", "--created-by", "joan")
    found = [(key["tenant"], key["created_by"]) for key in json.loads(hers.out)["keys"]]
    assert found == [("acme", "ada"), ("globex", "ada")], hers.err
    assert [line.split()[0] for line in shown.out.splitlines()] == ["TENANT", "acme", "globex"]
    assert nobodys.out == "joan has entered no key of any tenant\n"
    one = await scene.run("keys", "list", "--tenant", "acme", "--created-by", "ada")
    assert len(one.out.splitlines()) == 2


async def test_vault_status_shows_the_kek_age(scene: Scene) -> None:
    await scene.add_key("one")
    young = await scene.run("vault", "status")
    assert "the KEK first is 0 days old; due on" in young.out
    renewed = await scene.run("vault", "rotate-kek", "--new-key")
    assert renewed.status == 0, renewed.err
    primary = scene.vault_service.files["keks"].read_text().split()[0]
    assert primary.startswith("k-")
    assert f"all 1 data keys are encrypted under {primary}" in renewed.out
    assert f"the KEK {primary} is 0 days old" in renewed.out
    (scene.vault_service.files.folder / ".keks.new").mkdir()
    refused = await scene.run("vault", "rotate-kek", "--new-key")
    assert refused.status == 1
    assert "no new KEK was made: the keyring" in refused.err


async def test_the_audit(bus: ProvisionedBus, tmp_path: Path) -> None:
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    event = AuditEvent(
        event_id="aud_1",
        service="key-vault",
        sequence=1,
        tenant="acme",
        actor="operator",
        action="key.add",
        target="key_1",
        outcome=AuditOutcome.DONE,
        details={"label": "main"},
        at=at,
    )
    entry = AuditEntry(position=1, event=event, previous="0", digest="1", recorded_at=at)

    async def entries(request: ListAudit) -> AuditEntries:
        return AuditEntries(entries=[entry] if request.tenant == "acme" else [])

    async def verification(request: VerifyAudit) -> AuditVerification:
        return AuditVerification(tenants=1, entries=1, faults=["acme: entry 1 was edited"] if request.tenant else [])

    environment = operator_environment(bus)
    async with owner(bus, Role.USAGE_LEDGER, AUDIT_LIST, entries):
        ran = await keyferry("audit", "list", "--tenant", "acme", environment=environment, cwd=tmp_path)
    assert "operator  key.add  key_1   done     label=main" in ran.out
    async with owner(bus, Role.USAGE_LEDGER, AUDIT_VERIFY, verification):
        whole = await keyferry("audit", "verify", environment=environment, cwd=tmp_path)
        broken = await keyferry("audit", "verify", "--tenant", "acme", environment=environment, cwd=tmp_path)
    assert (whole.status, "the audit log is complete" in whole.out) == (0, True)
    assert (broken.status, "FAULT: acme: entry 1 was edited" in broken.out) == (1, True)
