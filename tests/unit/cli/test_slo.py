"""What `keyferry slo` prints, and its exit status."""

from datetime import UTC, datetime, timedelta

import pytest

from keyferry.cli.main import run
from keyferry.cli.slo import format_levels
from keyferry.contracts.service_levels import ServiceLevelName, ServiceLevels
from services.usage_ledger.service_levels.figures import NONE, EventCount, assess

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def levels(good: int = 0, bad: int = 0, **windows: EventCount) -> ServiceLevels:
    found = {HOUR: windows["hour"], timedelta(minutes=5): windows["hour"]} if windows else {}
    return ServiceLevels(
        as_of=NOW,
        days=30,
        since=NOW - timedelta(days=30),
        measured_since=NOW - timedelta(days=2) if good else None,
        levels=[
            assess(name, EventCount(good, bad) if name is ServiceLevelName.ROUTING else NONE, found)
            for name in ServiceLevelName
        ],
    )


def test_objectives_as_a_table() -> None:
    text = "\n".join(format_levels(levels(9_995_501, 4_499, hour=EventCount(9_000, 18))))
    assert "30 days until 2026-11-21 12:00 (UTC), measured since 2026-11-19 12:00" in text
    assert text.splitlines()[2].split() == [
        *("OBJECTIVE", "TARGET", "ATTAINED", "EVENTS", "BAD", "BUDGET", "LEFT"),
        *("BURN", "1H", "BURN", "6H", "BURN", "1D", "BURN", "3D"),
    ]
    row = next(line for line in text.splitlines() if line.startswith("routing"))
    assert row.split() == [
        "routing",
        "99.9",
        "%",
        "99.955",
        "%",
        "met",
        "10,000,000",
        "4,499",
        "55.0",
        "%",
        "2.0",
        "-",
        "-",
        "-",
    ]
    assert next(line for line in text.splitlines() if line.startswith("dashboard ")).split()[3:6] == [
        "-",
        "no",
        "events",
    ]
    assert "management: a management request that was answered in time, without a fault (within 100 ms)" in text
    assert "too fast" not in text


def test_a_missed_objective_and_an_alert_name_what_to_read() -> None:
    text = "\n".join(format_levels(levels(90, 10, hour=EventCount(90, 10))))
    assert "NOT MET" in text
    assert "routing: its error budget is spent too fast. Act now: docs/runbooks/error-budget-routing.md" in text


@pytest.mark.parametrize(
    ("found", "status"),
    [(levels(), 0), (levels(1000, 1), 0), (levels(998, 2), 1), (levels(999_000, 20, hour=EventCount(0, 20)), 1)],
)
def test_the_exit_status_of_a_check(found: ServiceLevels, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyferry.cli.slo.run", lambda _: found)
    assert run(["slo", "--check"]) == status
    assert run(["slo"]) == 0
    assert run(["slo", "--json"]) == 0


def test_a_wrong_period_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["slo", "--days", "91"]) == 2
    assert "91" in capsys.readouterr().err
