"""Preferences over the bus: saved, checked against the catalog and the tenant, audited, and at once in the plans of requests."""

import pytest

from keyferry.contracts.audit import AuditEvent
from keyferry.contracts.failure import FailureClass
from keyferry.contracts.preferences import (
    GetPreferences,
    GivenPreferences,
    ListPreferences,
    PreferencesInForce,
    SavedPreferences,
    SavePreferences,
)
from keyferry.contracts.routing_management import (
    PREFERENCES_GET,
    PREFERENCES_LIST,
    PREFERENCES_SAVE,
    PREFERENCES_VIEW,
)
from keyferry.contracts.service import Ping
from keyferry.contracts.tenancy import Tenant, Tier
from keyferry.contracts.topology import AUDIT_RECORDED, SERVICE_PING, Role
from keyferry.runtime.bus.requests import Refused
from keyferry.runtime.views import ViewWriter
from services.router.preferences.index import view_key
from tests.integration.permissions.watcher import watching
from tests.integration.router.processes import RouterServers, Routing
from tests.support.router.keys_and_prices import at_own_address, platform_key
from tests.support.waiting import eventually, eventually_async

ACME = Tenant(tenant="acme", name="Acme", tier=Tier.ENTERPRISE)
KEYS = [at_own_address(platform_key(provider, f"key_{provider}")) for provider in ("openai", "mistral")]


def values(found: PreferencesInForce) -> dict[str, tuple[object, str, str | None]]:
    return {each.name: (each.value, each.origin.value, each.origin_id) for each in found.effective}


async def refuse_while_damaged(servers: RouterServers, routing: Routing, saved: SavedPreferences) -> None:
    """Damage what is saved in a scope: nothing is sent meanwhile, and the router is degraded. Then repair it."""
    async with servers.bus.client(PREFERENCES_VIEW.owner) as owner, servers.bus.connected(Role.OPERATOR) as operator:
        writer = ViewWriter(owner, PREFERENCES_VIEW)
        await writer.put(view_key(saved), saved.encode().replace(b'"eu_only":true', b'"eu_only":"true"'))

        async def is_refused() -> bool:
            _, refusal = await routing.chat("gpt-4o")
            assert refusal is not None, "it must not leave the European Union because its preferences are damaged"
            return refusal.failure_class is FailureClass.UNAVAILABLE

        await eventually_async("its requests are refused", is_refused)
        report = await operator.ask(SERVICE_PING, Ping(), timeout_seconds=20)
        assert "entries of the view preferences cannot be read" in report.degraded[0]
        await writer.put(view_key(saved), saved.encode())

        async def is_served() -> bool:
            run, _ = await routing.chat("default")
            return run is not None and run.provider == "mistral"

        await eventually_async("the repaired entry is in force", is_served)


async def test_preferences_are_saved_checked_audited_and_in_force(servers: RouterServers) -> None:
    async with (
        servers.router([ACME], KEYS) as routing,
        servers.bus.connected(Role.OPERATOR) as operator,
        watching(servers.bus) as watcher,
    ):

        async def save(preferences: dict[str, object], **scope: object) -> PreferencesInForce:
            given = GivenPreferences.model_validate(preferences)
            command = SavePreferences.model_validate({"tenant": "acme", "preferences": given, **scope})
            return await operator.ask(PREFERENCES_SAVE, command, timeout_seconds=20)

        await save({"temperature": 0.5}, tenant="platform")
        saved = await save({"default_model": "mistral-small", "eu_only": True, "max_tokens": 500})
        assert (saved.revision, saved.saved.default_model) == (1, "mistral-small")
        assert values(saved)["temperature"] == (0.5, "platform", None)
        assert values(saved)["default_model"] == ("mistral-small", "tenant", "acme")
        with pytest.raises(Refused, match="gpt-4o has no offering inside the European Union; these have one: "):
            await save({"default_model": "gpt-4o"}, team="support")
        with pytest.raises(Refused, match="these preferences are at revision 1, not 7"):
            await save({}, expected_revision=7)
        await save({"temperature": 0.0}, team="support", expected_revision=0, actor="console:operator")
        with pytest.raises(Refused, match="there is no tenant nobody"):
            await save({}, tenant="nobody")

        async def is_in_force() -> bool:
            run, _ = await routing.chat("default", team="support")
            return run is not None and run.body_defaults is not None and run.body_defaults.temperature == 0

        await eventually_async("the team's temperature is in the attempts of its requests", is_in_force)
        run, _ = await routing.chat("default", team="support")
        assert run is not None
        assert (run.provider, run.model_asked) == ("mistral", "default")
        assert run.body_defaults is not None
        assert run.body_defaults.max_tokens == 500
        assert run.residency is not None
        assert (run.residency.eu_only, run.residency.eu) == (True, True)
        _, refusal = await routing.chat("gpt-4o")
        assert refusal is not None
        assert refusal.failure_class is FailureClass.POLICY
        assert "inside the European Union" in refusal.message

        again = await operator.ask(PREFERENCES_GET, GetPreferences(tenant="acme", team="support"), timeout_seconds=20)
        assert (again.revision, again.saved.temperature) == (1, 0.0)
        assert values(again)["temperature"] == (0.0, "team", "support")
        cleared = await save({}, team="support")
        assert cleared.revision == 2
        listed = await operator.ask(PREFERENCES_LIST, ListPreferences(tenant="acme"), timeout_seconds=20)
        assert [(scope.scope.value, scope.scope_id) for scope in listed.scopes] == [("tenant", "acme")]

        await refuse_while_damaged(servers, routing, listed.scopes[0])
        subject = AUDIT_RECORDED.format(service=Role.ROUTER.value)
        await eventually("every change is audited", lambda: len(watcher.received[subject]) >= 4)
        events = [AuditEvent.decode(data) for data in watcher.received[subject]]
    assert [(event.action, event.actor, event.tenant, event.target) for event in events] == [
        ("preferences.save", "operator", "platform", "platform:platform"),
        ("preferences.save", "operator", "acme", "tenant:acme"),
        ("preferences.save", "console:operator", "acme", "team:support"),
        ("preferences.save", "operator", "acme", "team:support"),
    ]
    assert events[1].details == {
        "default_model": "not set → mistral-small",
        "eu_only": "not set → true",
        "max_tokens": "not set → 500",
    }
    assert events[3].details == {"temperature": "0.0 → not set"}
