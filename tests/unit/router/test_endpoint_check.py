"""Endpoints that cannot work are not saved: their address, what answers there, and the models that it has."""

from datetime import UTC, datetime
from ipaddress import IPv4Network

import pytest

from keyferry.contracts.addresses import AddressPolicy
from keyferry.contracts.route import (
    Endpoint,
    EndpointProbe,
    ProbeEndpoint,
    ProbeOutcome,
    RemoveEndpoint,
    SaveEndpoint,
)
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import Tenant, Tier
from keyferry.runtime.bus.requests import Refused
from services.router.endpoints.validation import find_forbidden, validate_endpoint
from services.router.handlers import ManagementHandlers
from services.router.planning.context import RoutingContext
from tests.unit.router.test_handlers import no_worker

NO_NETWORKS = AddressPolicy()
LAN = AddressPolicy((IPv4Network("192.168.7.0/24"), IPv4Network("127.0.0.0/8")))
SAVE = SaveEndpoint(tenant="acme", name="lab", base_url="https://llm.example/v1", models=["m", "n"], probe=True)


class Store:
    """A store in memory."""

    def __init__(self) -> None:
        self.saved: list[Endpoint] = []

    async def save(self, endpoint: Endpoint, actor: str) -> None:
        self.saved.append(endpoint)

    async def remove(self, command: RemoveEndpoint) -> Endpoint | None:
        raise NotImplementedError

    async def of_tenant(self, tenant: str) -> list[Endpoint]:
        raise NotImplementedError


def found(
    outcome: ProbeOutcome, *models: str, status: int | None = 200, detail: str = "the server answers"
) -> EndpointProbe:
    return EndpointProbe(outcome=outcome, status=status, models=list(models), detail=detail, duration_ms=3)


def handlers(
    store: Store, result: EndpointProbe, probed: list[str], policy: AddressPolicy = NO_NETWORKS
) -> ManagementHandlers:
    async def probe(command: ProbeEndpoint) -> EndpointProbe:
        probed.append(command.base_url)
        return result

    tenant = Tenant(tenant="acme", name="Acme", tier=Tier.FREE)
    return ManagementHandlers(
        store, lambda _: RoutingContext(tenant, [], datetime(2026, 3, 1, tzinfo=UTC)), policy, probe
    )


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (found(ProbeOutcome.UNREACHABLE, status=None, detail="connection refused"), "connection refused"),
        (found(ProbeOutcome.FORBIDDEN, status=None, detail="an address that this gateway does not call"), "not call"),
        (found(ProbeOutcome.LISTED, "m", "other"), "does not list n; it lists m, other"),
        (found(ProbeOutcome.LISTED), "does not list m, n; it lists none"),
        (found(ProbeOutcome.ANSWERED, status=401), "keyferry keys add --provider custom"),
        (found(ProbeOutcome.ANSWERED, status=403), "it requires a credential, which an endpoint does not have"),
    ],
)
async def test_nothing_is_saved_that_cannot_work(result: EndpointProbe, says: str) -> None:
    store, probed = Store(), list[str]()
    with pytest.raises(Refused, match=says) as refused:
        await handlers(store, result, probed).save_endpoint(SAVE)
    assert refused.value.refusal.code is ErrorCode.INVALID
    assert "--no-probe" in str(refused.value)
    assert "probe: false" in str(refused.value)
    assert (store.saved, probed) == ([], ["https://llm.example/v1"])


@pytest.mark.parametrize(
    ("result", "warning"),
    [
        (found(ProbeOutcome.LISTED, "m", "n", "other"), None),
        (found(ProbeOutcome.ANSWERED, status=404), "no list of models"),
        (found(ProbeOutcome.ANSWERED, status=500), "no list of models"),
    ],
)
async def test_what_may_work_is_saved_with_what_was_found(result: EndpointProbe, warning: str | None) -> None:
    store = Store()
    saved = await handlers(store, result, []).save_endpoint(SAVE)
    assert [endpoint.name for endpoint in store.saved] == ["lab"]
    assert saved.probe == result
    assert len(saved.warnings) == (warning is not None)
    assert warning is None or warning in saved.warnings[0]


@pytest.mark.parametrize("changes", [{"probe": False}, {"enabled": False}])
async def test_the_probe_can_be_switched_off(changes: dict[str, bool]) -> None:
    store, probed = Store(), list[str]()
    unreachable = found(ProbeOutcome.UNREACHABLE, status=None)
    saved = await handlers(store, unreachable, probed).save_endpoint(SAVE.model_copy(update=changes))
    assert (len(store.saved), probed, saved.probe, saved.warnings) == (1, [], None, [])


async def test_without_a_worker_nothing_is_known_and_nothing_saved() -> None:
    store = Store()
    made = handlers(store, found(ProbeOutcome.LISTED), [])
    made = ManagementHandlers(store, made._context_of, NO_NETWORKS, no_worker)
    with pytest.raises(Refused, match=r"no provider worker tried the address.*--no-probe") as refused:
        await made.save_endpoint(SAVE)
    assert refused.value.refusal.code is ErrorCode.UNAVAILABLE
    assert store.saved == []


@pytest.mark.parametrize(
    ("url", "policy", "says"),
    [
        ("http://llm.example/v1", NO_NETWORKS, "must start with https://"),
        ("https://llm.example:11434/v1", NO_NETWORKS, "port 11434"),
        ("https://127.0.0.1/v1", NO_NETWORKS, "KEYFERRY_EGRESS_ALLOW"),
        ("https://localhost/v1", NO_NETWORKS, "KEYFERRY_EGRESS_ALLOW"),
        ("https://[::1]/v1", NO_NETWORKS, "KEYFERRY_EGRESS_ALLOW"),
        ("https://10.1.2.3/v1", LAN, "KEYFERRY_EGRESS_ALLOW"),
        ("https://169.254.169.254/v1", LAN, "KEYFERRY_EGRESS_ALLOW"),
        ("http://8.8.8.8/v1", LAN, "KEYFERRY_EGRESS_ALLOW"),
        ("https://8.8.8.8:11434/v1", LAN, "KEYFERRY_EGRESS_ALLOW"),
    ],
)
async def test_an_address_that_is_never_called_is_refused_without_a_network(
    url: str, policy: AddressPolicy, says: str
) -> None:
    store, probed = Store(), list[str]()
    command = SAVE.model_copy(update={"base_url": url})
    with pytest.raises(Refused, match=says) as refused:
        await handlers(store, found(ProbeOutcome.LISTED, "m", "n"), probed, policy).save_endpoint(command)
    assert "--no-probe" in str(refused.value)
    assert (store.saved, probed) == ([], [])
    unchecked = command.model_copy(update={"probe": False})
    saved = await handlers(store, found(ProbeOutcome.LISTED), probed, policy).save_endpoint(unchecked)
    assert len(saved.warnings) == len(store.saved) == 1
    assert says in saved.warnings[0]


@pytest.mark.parametrize(
    ("url", "policy"),
    [
        ("https://llm.example:8443/v1", NO_NETWORKS),
        ("https://8.8.8.8/v1", NO_NETWORKS),
        ("http://192.168.7.4:11434/v1", LAN),
        ("http://localhost:11434/v1", LAN),
        ("http://gpu.lan:11434/v1", LAN),
    ],
)
def test_an_address_that_may_be_called_is_accepted(url: str, policy: AddressPolicy) -> None:
    assert find_forbidden(validate_endpoint(SAVE.model_copy(update={"base_url": url})), policy) is None
