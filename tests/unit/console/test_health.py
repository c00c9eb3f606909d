"""Health over HTTP: a tenant sees its own view, and only operators force circuits."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyferry.contracts.health import (
    CircuitState,
    ForceHealth,
    Health,
    HealthList,
    ListHealth,
    ListOutages,
    Outages,
    Override,
    ReleaseHealth,
    Target,
)
from keyferry.contracts.service import ErrorCode, Refusal
from keyferry.contracts.topology import HEALTH_FORCE, HEALTH_LIST, HEALTH_RELEASE, OUTAGE_LIST
from tests.unit.console.surface import KEY, NOW, Surface, error

OPENAI = Target(provider="openai", model="gpt", origin="https://api.openai.com")
LAB = Target(provider="custom", model="llama", tenant="acme", endpoint="lab", origin="https://lab.example")
OVERRIDE = Override(
    provider="openai",
    state=CircuitState.OPEN,
    reason="maintenance",
    actor="console:operator",
    since=NOW,
    until=NOW + timedelta(minutes=10),
)
FORCE: dict[str, Any] = {"provider": "openai", "state": "open", "for_seconds": 600, "reason": "maintenance"}


def health(target: Target, samples: int = 0, failures: int = 0) -> Health:
    return Health(
        target=target, state=CircuitState.CLOSED, reason="fine", changed_at=NOW, samples=samples, failures=failures
    )


@pytest.mark.parametrize(
    ("path", "tenant"),
    [("/api/v1/health", "platform"), ("/api/v1/ops/tenants/acme/health", "acme"), ("/api/v1/ops/health", None)],
)
async def test_each_route_asks_for_its_own_view(path: str, tenant: str | None) -> None:
    surface = Surface()
    surface.bus.answers(HEALTH_LIST, HealthList(targets=[health(OPENAI, 8, 2)], overrides=[OVERRIDE]))
    surface.bus.answers(OUTAGE_LIST, Outages(outages=[], more=False))
    response = await surface.ask("GET", f"{path}/providers")
    assert response.status_code == 200
    [row] = response.json()["data"]
    assert (row["target"]["provider"], row["success_percent"]) == ("openai", 75.0)
    assert response.json()["overrides"][0]["reason"] == "maintenance"
    assert (HEALTH_LIST.name, ListHealth(tenant=tenant)) in surface.bus.asked
    await surface.ask("GET", f"{path}/outages?since=2026-11-20T00:00:00Z&limit=5")
    asked = dict(surface.bus.asked)[OUTAGE_LIST.name]
    assert isinstance(asked, ListOutages)
    assert (asked.tenant, asked.limit, asked.since is not None) == (tenant, 5, True)


async def test_targets_are_filtered_and_paged() -> None:
    surface = Surface()
    surface.bus.answers(HEALTH_LIST, HealthList(targets=[health(LAB), health(OPENAI)], overrides=[OVERRIDE]))
    custom = (await surface.ask("GET", "/api/v1/ops/health/providers?provider=custom")).json()
    assert [row["target"]["model"] for row in custom["data"]] == ["llama"]
    assert custom["overrides"] == []
    assert custom["data"][0]["success_percent"] is None
    first = (await surface.ask("GET", "/api/v1/ops/health/providers?limit=1")).json()
    after = first["next"]
    second = (await surface.ask("GET", f"/api/v1/ops/health/providers?limit=1&after={after}")).json()
    assert [row["target"]["model"] for row in first["data"] + second["data"]] == ["llama", "gpt"]


async def test_an_override_has_the_actor_from_the_credential() -> None:
    surface = Surface()
    surface.bus.answers(HEALTH_FORCE, OVERRIDE)
    surface.bus.answers(HEALTH_RELEASE, OVERRIDE)
    response = await surface.ask("POST", "/api/v1/ops/health/force", FORCE | {"model": "gpt"})
    assert (response.status_code, response.json()["state"]) == (200, "open")
    await surface.ask("POST", "/api/v1/ops/health/release", {"provider": "openai"})
    actor = "console:operator"
    values: dict[str, Any] = FORCE | {"model": "gpt", "actor": actor}
    assert surface.bus.asked == [
        (HEALTH_FORCE.name, ForceHealth.model_validate(values)),
        (HEALTH_RELEASE.name, ReleaseHealth(provider="openai", actor=actor)),
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"for_seconds": 0},
        {"for_seconds": -60},
        {"for_seconds": 7 * 86_400 + 1},
        {"for_seconds": 10**30},
        {"for_seconds": "600"},
        {"for_seconds": 1.5},
        {"for_seconds": None},
        {"state": "cooling"},
        {"state": "half_open"},
        {"reason": ""},
        {"reason": "   "},
        {"reason": "x" * 301},
        {"reason": "two\nlines"},
        {"reason": "nul\x00"},
        {"reason": f"because of {KEY}"},
        {"provider": "Open AI"},
        {"provider": "x" * 64},
        {"provider": KEY.lower()},
        {"model": KEY},
        {"model": "m\x07"},
        {"model": "m" * 301},
        {"tenant": "Acme"},
        {"endpoint": "my lab"},
        {"until": "2027-01-01T00:00:00Z"},
        {"actor": "somebody-else"},
    ],
    ids=str,
)
async def test_an_invalid_override_is_refused_without_repeating_it(changes: dict[str, Any]) -> None:
    surface = Surface()
    response = await surface.ask("POST", "/api/v1/ops/health/force", FORCE | changes)
    assert error(response)[0] in (400, 422)
    assert KEY.lower() not in response.text.lower()
    assert surface.bus.asked == []


async def test_a_lone_surrogate_is_refused() -> None:
    surface = Surface()
    response = await surface.ask("POST", "/api/v1/ops/health/force", FORCE | {"reason": "\ud800"})
    assert error(response)[0] in (400, 422)
    assert surface.bus.asked == []


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "since=yesterday", "since=1700000000", "unknown=1"])
async def test_an_invalid_query_of_outages_is_refused(query: str) -> None:
    surface = Surface()
    assert error(await surface.ask("GET", f"/api/v1/ops/health/outages?{query}"))[0] in (400, 422)
    assert surface.bus.asked == []


async def test_what_the_monitor_does_not_know_is_a_404_with_its_words() -> None:
    surface = Surface()
    surface.bus.answers(HEALTH_FORCE, Refusal(code=ErrorCode.NOT_FOUND, message="there is no provider of that name"))
    response = await surface.ask("POST", "/api/v1/ops/health/force", FORCE | {"provider": "opanai"})
    assert error(response)[:2] == (404, "not_found")
    assert "there is no provider of that name" in response.text


def out(model: str, state: CircuitState, **changes: Any) -> Health:
    target = Target(provider="openai", model=model, origin="https://api.openai.com", key_id=changes.pop("key_id", None))
    until = changes.pop("until", datetime(2999, 1, 1, tzinfo=UTC))
    return health(target, **changes).model_copy(update={"state": state, "until": until})


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ([], None),
        ([health(OPENAI)], ("available", 1, 0, None)),
        ([health(OPENAI, 8, 2), out("gpt-2", CircuitState.OPEN, samples=2, failures=2)], ("degraded", 2, 1, 60.0)),
        ([out("gpt", CircuitState.OPEN), out("gpt-2", CircuitState.COOLING)], ("unavailable", 2, 2, None)),
        ([out("gpt", CircuitState.OPEN, until=NOW)], ("available", 1, 0, None)),
        ([health(OPENAI), out("gpt", CircuitState.COOLING, key_id="key_cools")], ("available", 1, 0, None)),
        ([health(LAB)], None),
    ],
    ids=[
        "never called",
        "not called within five minutes",
        "some",
        "none left",
        "half-open",
        "one key pauses",
        "of another",
    ],
)
async def test_providers_are_listed_with_their_health(targets: list[Health], expected: object) -> None:
    surface = Surface()
    surface.bus.answers(HEALTH_LIST, HealthList(targets=targets))
    rows = (await surface.ask("GET", "/api/v1/ops/tenants/acme/providers")).json()["data"]
    (found,) = [row["health"] for row in rows if row["name"] == "openai"]
    assert (None if found is None else tuple(found.values())) == expected
    assert surface.bus.asked == [(HEALTH_LIST.name, ListHealth(tenant="acme"))]
