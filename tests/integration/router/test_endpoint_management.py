"""Endpoints over the bus: a worker tries the address before it is saved, and every change is audited."""

import pytest

from keyferry.contracts.audit import AuditEvent
from keyferry.contracts.route import EndpointProbe, ProbeEndpoint, ProbeOutcome, RemoveEndpoint, SaveEndpoint
from keyferry.contracts.tenancy import Tenant, Tier
from keyferry.contracts.topology import AUDIT_RECORDED, ENDPOINT_PROBE, ENDPOINT_REMOVE, ENDPOINT_SAVE, Role
from keyferry.runtime.bus.requests import Refused
from tests.integration.cli.answering import owner
from tests.integration.permissions.watcher import watching
from tests.integration.router.processes import RouterServers
from tests.support.waiting import eventually

ACME = Tenant(tenant="acme", name="Acme", tier=Tier.STARTER)
SAVE = SaveEndpoint(tenant="acme", name="lab", base_url="https://llm.example/v1", models=["m"], probe=True)


async def test_an_endpoint_is_tried_saved_and_audited(servers: RouterServers, monkeypatch: pytest.MonkeyPatch) -> None:
    probed: list[str] = []

    async def probe(command: ProbeEndpoint) -> EndpointProbe:
        probed.append(command.base_url)
        return EndpointProbe(outcome=ProbeOutcome.LISTED, status=200, models=["m"], detail="it answers", duration_ms=1)

    async with (
        servers.router([ACME], []),
        servers.bus.connected(Role.OPERATOR) as operator,
        watching(servers.bus) as watcher,
    ):
        with monkeypatch.context() as patch:
            patch.setattr("services.router.app._PROBE_SECONDS", 0.5)
            with pytest.raises(Refused, match="no provider worker tried the address"):
                await operator.ask(ENDPOINT_SAVE, SAVE, timeout_seconds=20)
        async with owner(servers.bus, Role.PROVIDER_WORKER, ENDPOINT_PROBE, probe):
            saved = await operator.ask(ENDPOINT_SAVE, SAVE, timeout_seconds=20)
            wrong = SAVE.model_copy(update={"models": ["nosuch"]})
            with pytest.raises(Refused, match="does not list nosuch; it lists m"):
                await operator.ask(ENDPOINT_SAVE, wrong, timeout_seconds=20)
        assert saved.probe is not None
        assert (saved.probe.models, saved.warnings, probed) == (["m"], [], [SAVE.base_url] * 2)
        with pytest.raises(Refused, match="the tenant other has no endpoint lab"):
            await operator.ask(ENDPOINT_REMOVE, RemoveEndpoint(tenant="other", name="lab"), timeout_seconds=20)
        remove = RemoveEndpoint(tenant="acme", name="lab", actor="console:operator")
        assert (await operator.ask(ENDPOINT_REMOVE, remove, timeout_seconds=20)).models == ["m"]
        subject = AUDIT_RECORDED.format(service=Role.ROUTER.value)
        await eventually("both changes are audited", lambda: len(watcher.received[subject]) >= 2)
        events = [AuditEvent.decode(data) for data in watcher.received[subject]]
    assert [(event.action, event.actor, event.tenant, event.target, event.sequence) for event in events] == [
        ("endpoint.save", "operator", "acme", "lab", 1),
        ("endpoint.remove", "console:operator", "acme", "lab", 2),
    ]
    assert {name: events[0].details[name] for name in ("base_url", "enabled", "eu")} == {
        "base_url": f"not set → {SAVE.base_url}",
        "enabled": "not set → true",
        "eu": "not set → false",
    }
    assert events[1].details["base_url"] == f"{SAVE.base_url} → not set"
