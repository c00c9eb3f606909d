"""What `keyferry health` shows, and which targets and spans it accepts."""

from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from click.testing import CliRunner

from keyferry.cli.connection import OperatorConnection
from keyferry.cli.health import _selector, _watch, command
from keyferry.cli.health_output import describe_changes, describe_outage, format_health
from keyferry.cli.problem import Problem
from keyferry.cli.terminal import parse_span
from keyferry.contracts.health import CircuitState, Health, HealthList, KeyClass, Outage, Override, Rerouted, Target

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
WEEK = timedelta(days=7)
GPT = Target(provider="openai", model="gpt", origin="https://api.openai.com", key_class=KeyClass.PLATFORM)
LAB = Target(provider="custom", model="llama", tenant="acme", endpoint="lab", origin="http://lab:8000")


def health(target: Target = GPT, state: CircuitState = CircuitState.CLOSED, **changes: Any) -> Health:
    values = {"target": target, "state": state, "reason": "5 of 5 failed", "changed_at": NOW}
    return Health.model_validate(values | changes)


def shown(*targets: Health, overrides: tuple[Override, ...] = ()) -> str:
    return format_health(HealthList(targets=list(targets), overrides=list(overrides)), NOW)


def test_a_target_is_shown_with_its_figures() -> None:
    figures: dict[str, Any] = {
        "samples": 8,
        "failures": 2,
        "p50_ms": 310,
        "p95_ms": 900,
        "p99_ms": 12_000,
        "first_token_p50_ms": 80,
    }
    line = shown(health(last_attempt_at=NOW - timedelta(minutes=3), **figures)).splitlines()[1]
    assert (
        line.split()
        == (
            "openai/gpt platform api.openai.com closed 8 75 % 310 ms 900 ms 12 s 80 ms 3 min ago".replace(
                "3 min", "3 min"
            )
        ).split()
    )


def test_what_is_withheld_is_shown_with_its_reason_and_an_idle_address_with_its_probe() -> None:
    text = shown(
        health(LAB, CircuitState.OPEN),
        health(GPT.of_key("key_1", "acme"), CircuitState.COOLING, reason="asked for a pause of 9 s"),
        health(reachable=False, probed_at=NOW),
    )
    assert "acme/lab/llama" in text
    assert "5 of 5 failed" in text
    assert "key_1" in text
    assert "asked for a pause of 9 s" in text
    assert "unreachable when probed at 2026-11-01 12:00:00Z" in text


def test_an_override_is_shown_with_who_why_and_until_when() -> None:
    override = Override(
        provider="openai", state=CircuitState.OPEN, reason="maintenance", actor="operator", since=NOW, until=NOW + WEEK
    )
    text = shown(health(forced=override, state=CircuitState.OPEN), overrides=(override,))
    assert "open (forced)" in text
    assert "openai is forced open until 2026-11-08 12:00:00Z by operator: maintenance" in text


def test_only_changes_are_shown_while_watching() -> None:
    before = HealthList(targets=[health(), health(LAB)])
    is_open = health(state=CircuitState.OPEN, until=NOW + timedelta(seconds=5))
    after = HealthList(targets=[is_open, health(LAB, samples=9)])
    [line] = describe_changes(before, after, NOW)
    assert line.endswith("openai/gpt: closed -> open until 2026-11-01 12:00:05Z: 5 of 5 failed")
    assert list(describe_changes(after, after, NOW)) == []
    [new] = describe_changes(HealthList(targets=[]), HealthList(targets=[health(LAB)]), NOW)
    assert "acme/lab/llama: new -> closed" in new


async def test_watching_shows_the_table_and_then_each_change(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([HealthList(targets=[health()]), HealthList(targets=[health(state=CircuitState.OPEN)])])
    monkeypatch.setattr("keyferry.cli.health._WATCH_SECONDS", 0)

    class Connection:
        async def ask(self, subject: object, question: object) -> HealthList:
            return next(answers)

    lines: list[str] = []
    await _watch(cast(OperatorConnection, Connection()), None, None, lines.append, rounds=[1])
    assert len(lines) == 2
    assert "closed -> open" in lines[1]


def test_an_outage_is_described_with_what_became_of_the_requests() -> None:
    outage = Outage(
        provider="openai",
        origin="https://api.openai.com",
        key_class=KeyClass.PLATFORM,
        models=["gpt", "mini"],
        began_at=NOW,
        ended_at=NOW + timedelta(minutes=3),
        reasons=["all 5 attempts failed"],
        failed_attempts=9,
        affected_requests=8,
        served_elsewhere=6,
        refused=2,
        rerouted_to=[Rerouted(provider="azure", model="gpt-eu", requests=6)],
    )
    text = "\n".join(describe_outage(outage, NOW + WEEK))
    assert "openai: gpt, mini, lasted 3 min, until 2026-11-01 12:03:00Z" in text
    assert "with the platform's keys at https://api.openai.com" in text
    assert "8 requests affected (9 attempts failed): 6 served elsewhere, 2 refused" in text
    assert "served by: azure/gpt-eu (6)" in text
    lasting = outage.model_copy(update={"ended_at": None})
    assert "lasts for 60 s" in "\n".join(describe_outage(lasting, NOW + timedelta(seconds=60)))


@pytest.mark.parametrize(
    ("target", "tenant", "expected"),
    [
        ("openai", None, {"provider": "openai"}),
        ("openai/gpt-4o", None, {"provider": "openai", "model": "gpt-4o"}),
        ("openrouter/openai/gpt-4o", None, {"provider": "openrouter", "model": "openai/gpt-4o"}),
        ("lab", "acme", {"provider": "custom", "tenant": "acme", "endpoint": "lab"}),
        ("lab/llama", "acme", {"provider": "custom", "tenant": "acme", "endpoint": "lab", "model": "llama"}),
    ],
)
def test_a_target_is_a_provider_or_a_tenants_endpoint(
    target: str, tenant: str | None, expected: dict[str, str]
) -> None:
    assert _selector(target, tenant) == expected


def test_an_empty_target_is_refused() -> None:
    with pytest.raises(Problem, match="TARGET is empty"):
        _selector("/gpt", None)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("2h", 7200), ("7d", 604_800), ("1w", 604_800)]
)
def test_spans_are_read(text: str, seconds: int) -> None:
    assert parse_span(text, WEEK) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "10", "m", "-10m", "0s", "8d", "1e3s", "10 m", "٣m", "9" * 18 + "w", "forever"])
def test_absurd_spans_are_refused(text: str) -> None:
    with pytest.raises(Problem, match="not a span of time"):
        parse_span(text, WEEK)


@pytest.mark.parametrize("words", [[], ["list"], ["--provider", "openai"]])
def test_without_a_command_the_list_is_shown(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyferry.cli.health.run", lambda work, tenant: HealthList(targets=[health()]))
    result = CliRunner().invoke(command, words)
    assert (result.exit_code, "openai/gpt" in result.output) == (0, True)


def test_help_is_about_all_commands() -> None:
    result = CliRunner().invoke(command, ["--help"])
    assert "outages" in result.output
