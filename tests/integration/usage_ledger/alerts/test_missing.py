"""Alert rules over what does not exist any more: the ledger asks the tenant directory and a router, all of them real."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.alert_management import ALERT_RULE_LIST, ALERT_RULE_REMOVE
from keyferry.contracts.alert_metrics import ScopeField
from keyferry.contracts.alert_rules import AlertRuleState, AlertRuleStatus, ListAlertRules, RemoveAlertRule
from keyferry.contracts.alerts import AlertState
from keyferry.contracts.buckets import PROVIDER_KEYS_VIEW
from keyferry.contracts.membership import CreateTeam, RemoveTeam
from keyferry.contracts.membership_management import TEAM_CREATE, TEAM_REMOVE
from keyferry.contracts.topology import Role
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from keyferry.runtime.views import ViewWriter
from services.router.app import create_app
from services.router.settings import RouterSettings
from tests.integration.tenant_directory.processes import PEPPER, DirectoryServers, Operator, until_it_reports_ready
from tests.integration.usage_ledger.alerts.alert_ledger import KEY, AlertLedger
from tests.integration.usage_ledger.processes import LedgerServers
from tests.support.servers.migrated_database import migrated_database
from tests.support.servers.provisioned_bus import provisioned_bus, until_subscribed
from tests.support.waiting import eventually_async

REQUESTS = {"metric": "requests", "condition": {"threshold": "1"}, "window": "month"}


@dataclass
class Neighbours:
    """A ledger beside a directory and a router; `alone` stops both."""

    ledger: AlertLedger
    operator: Operator
    others: AsyncExitStack

    async def alone(self) -> None:
        await self.others.aclose()

    async def statuses(self) -> dict[str, AlertRuleStatus]:
        found = await self.ledger.ask(ALERT_RULE_LIST, ListAlertRules(tenant="acme"))
        return {status.name: status for status in found.rules}

    async def save(self, name: str, **scope: object) -> AlertRuleStatus:
        return await self.ledger.save_rule(**REQUESTS, name=name, scope=scope)


@asynccontextmanager
async def _running_router(servers: LedgerServers, operator: Bus, url_file: Path) -> AsyncIterator[None]:
    bus = servers.installation
    settings = RouterSettings(
        nats_url=bus.nats_url,
        nats_nkey_file=bus.seed_file(Role.ROUTER),
        database_url_file=url_file,
        drain_seconds=5,
        credits="off",
    )
    service = create_app(settings)
    life = asyncio.create_task(service.run())
    try:
        await until_it_reports_ready(operator, service.bus.instance_id)
        await until_subscribed(service.bus, life)
        yield
    finally:
        service.app.exit()
        await asyncio.wait_for(life, 30)


@pytest.fixture
async def neighbours(tmp_path: Path) -> AsyncIterator[Neighbours]:
    """Provide the tenant acme with the key key_own1, in an installation with three services."""
    names = ("usage_ledger", "tenant_directory", "router")
    database = migrated_database(tmp_path / "database", *names, synced=True)
    pepper = tmp_path / "pepper"
    pepper.write_text(PEPPER.reveal())
    async with provisioned_bus(tmp_path) as bus:
        servers = LedgerServers(bus, database.admin_url, database.url_files["usage_ledger"], tmp_path)
        await servers.publish_prices({})
        directory = DirectoryServers(bus, database.admin_url, database.url_files["tenant_directory"], pepper)
        async with (
            bus.client(Role.KEY_VAULT) as vault,
            servers.in_process(),
            servers.operator() as asking,
            servers.worker() as worker,
            AsyncExitStack() as others,
        ):
            await ViewWriter(vault, PROVIDER_KEYS_VIEW).reconcile({f"acme.{KEY.key_id}": KEY.encode()})
            await others.enter_async_context(directory.process())
            await others.enter_async_context(_running_router(servers, asking, database.url_files["router"]))
            operator = Operator(asking)
            await operator.create_tenant("acme")
            found = Neighbours(AlertLedger(servers, asking, worker, vault), operator, others)
            yield found


async def _refuses(found: Neighbours, **scope: object) -> bool:
    try:
        await found.save("unheard of", **scope)
    except Refused:
        return True
    return False


async def test_what_is_removed_is_listed_and_other_rules_fire(neighbours: Neighbours) -> None:
    ledger, operator = neighbours.ledger, neighbours.operator
    await operator.ask(TEAM_CREATE, CreateTeam(tenant="acme", team="research", actor_role=AccessRole.OPERATOR))
    token, _ = await operator.create_token("acme")
    await neighbours.save("of a team", team="research")
    await neighbours.save("of a token", client_token=token.token_id)
    await neighbours.save("of a key", key=KEY.key_id)
    await neighbours.save("of a model", model="gpt-4o", provider="openai")
    everything = await neighbours.save("of everything")
    before = await neighbours.statuses()
    assert {status.state for status in before.values()} == {AlertRuleState.ACTIVE}
    await operator.ask(TEAM_REMOVE, RemoveTeam(tenant="acme", team="research", actor_role=AccessRole.OPERATOR))
    await operator.revoke(token)
    await ledger.put_keys()

    async def is_gone() -> bool:
        return (await neighbours.statuses())["of a key"].state is AlertRuleState.BROKEN

    await eventually_async("the ledger sees that the key is gone", is_gone)
    after = await neighbours.statuses()
    missing = {
        name: (status.state, each.field, each.value) for name, status in after.items() for each in status.missing
    }
    assert missing == {
        "of a team": (AlertRuleState.BROKEN, ScopeField.TEAM, "research"),
        "of a token": (AlertRuleState.BROKEN, ScopeField.CLIENT_TOKEN, token.token_id),
        "of a key": (AlertRuleState.BROKEN, ScopeField.KEY, KEY.key_id),
    }
    said = after["of a team"].reason
    assert said is not None
    assert said.startswith("there is no team research (any more)")
    assert said.endswith("change the rule's scope, or remove the rule")
    assert after["of a token"].missing[0].reason == f"the client token {token.token_id} is revoked"
    await ledger.use(2, team="research")

    async def fires() -> bool:
        return [alert.state for alert in await ledger.alerts(rule_id=everything.rule_id)] == [AlertState.FIRED]

    await eventually_async("the other rule fires", fires)


@pytest.mark.parametrize(
    ("scope", "field"),
    [
        ({"team": "reserch"}, "team"),
        ({"member": "mem_nobody"}, "member"),
        ({"client_token": "tok_none"}, "client_token"),
        ({"key": "key_none"}, "key"),
        ({"provider": "opnai"}, "provider"),
        ({"model": "gpt-4o", "provider": "mistral"}, "model"),
        ({"model": "mistral-large"}, "model"),
    ],
)
async def test_a_rule_over_nothing_is_refused(neighbours: Neighbours, scope: dict[str, object], field: str) -> None:
    with pytest.raises(Refused) as refused:
        await neighbours.save("of nothing", **scope)
    assert str(refused.value).startswith(f"nothing was saved: `scope.{field}`: ")
    assert "of nothing" not in await neighbours.statuses()


async def test_what_attempts_use_exists_whatever_others_say(neighbours: Neighbours) -> None:
    ledger = neighbours.ledger
    assert await _refuses(neighbours, model="our-own-model")
    assert await _refuses(neighbours, team="a-program-s")
    await ledger.use(1, model="our-own-model", provider="custom")
    await ledger.use(1, team="a-program-s", client_token_id=None)
    await ledger.use(1, team="a-former-one", client_token_id="tok_1")
    assert await _refuses(neighbours, team="a-former-one"), "its tokens may be revoked"
    await neighbours.save("of a model", model="our-own-model")
    await neighbours.save("of a program's team", team="a-program-s")
    assert await _refuses(neighbours, model="our-own-model", provider="openai"), "it is another provider's"


async def test_nothing_is_lost_because_nobody_answers(neighbours: Neighbours) -> None:
    operator = neighbours.operator
    await operator.ask(TEAM_CREATE, CreateTeam(tenant="acme", team="research", actor_role=AccessRole.OPERATOR))
    await neighbours.save("of a team", team="research")
    await operator.ask(TEAM_REMOVE, RemoveTeam(tenant="acme", team="research", actor_role=AccessRole.OPERATOR))
    assert (await neighbours.statuses())["of a team"].state is AlertRuleState.BROKEN
    await neighbours.alone()
    status = (await neighbours.statuses())["of a team"]
    assert (status.state, status.missing, status.reason) == (AlertRuleState.ACTIVE, [], None)
    await neighbours.save("of a model", model="gpt-unheard-of")


UNKNOWN_METRIC = """
INSERT INTO usage_ledger.alert_rules (tenant, rule_id, terms, revision, created_at) VALUES
    ('acme', 'alr_of_a_newer_build', '{"name": "Weather", "metric": "weather", "window": "decade"}', 3, now());
INSERT INTO usage_ledger.alerts
    (alert_id, tenant, rule_id, rule_name, metric, scope, subject, severity, title, text, unit, state, fired_at)
VALUES
    ('alt_1', 'acme', 'alr_of_a_newer_build', 'Weather', 'weather', '{"sky": 7}', '', 'info', 'It rains', 'It rains', 'none',
    'fired', now());
"""


async def test_a_rule_of_another_build_is_listed_removed_and_in_nobodys_way(ledger: AlertLedger) -> None:
    ledger.servers.query(UNKNOWN_METRIC)
    other = await ledger.save_rule(**REQUESTS)
    await ledger.use()
    await ledger.until(other.rule_id, AlertState.FIRED)
    (listed,) = (await ledger.ask(ALERT_RULE_LIST, ListAlertRules(tenant="acme", rule_id="alr_of_a_newer_build"))).rules
    assert (listed.rule, listed.state, listed.name, listed.revision) == (None, AlertRuleState.BROKEN, "Weather", 3)
    assert "metric" in listed.reason
    assert listed.reason.endswith("save it anew, or remove it")
    assert listed.open_alerts == 1
    everything = (await ledger.ask(ALERT_RULE_LIST, ListAlertRules(tenant="acme"))).rules
    assert [status.rule_id for status in everything if status.state is AlertRuleState.BROKEN] == [listed.rule_id]
    removed = await ledger.ask(ALERT_RULE_REMOVE, RemoveAlertRule(tenant="acme", rule_id=listed.rule_id))
    assert removed.resolved == 1
    await ledger.until(listed.rule_id, AlertState.RESOLVED)
    with pytest.raises(Refused, match="no such alert rule"):
        await ledger.ask(ALERT_RULE_LIST, ListAlertRules(tenant="acme", rule_id=listed.rule_id))


async def test_a_key_whose_entry_cannot_be_read_is_not_lost(ledger: AlertLedger) -> None:
    other = KEY.model_copy(update={"key_id": "key_other", "tenant": "globex"})
    await ledger.put_keys(KEY, other)
    await ledger.save_rule(name="of a key", **REQUESTS, scope={"key": KEY.key_id})
    await ledger.save_rule(name="of a key", **REQUESTS, tenant="globex", scope={"key": "key_other"})

    async def is_broken(tenant: str) -> bool:
        found = (await ledger.ask(ALERT_RULE_LIST, ListAlertRules(tenant=tenant))).rules
        return AlertRuleState.BROKEN in [status.state for status in found]

    unreadable = {f"acme.{KEY.key_id}": b"[]"}  # and without the other one, whose absence shows that this has arrived
    await ViewWriter(ledger.vault, PROVIDER_KEYS_VIEW).reconcile(unreadable)
    await eventually_async("a key that is gone is lost", lambda: is_broken("globex"))
    assert not await is_broken("acme")
