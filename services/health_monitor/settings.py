"""Settings of the health monitor."""

from datetime import timedelta

from pydantic import Field

from keyferry.contracts.health import LONGEST_COOLING
from keyferry.runtime.process.settings import ServiceSettings
from services.health_monitor.circuit import CircuitPolicy


class HealthSettings(ServiceSettings):
    """Settings of a health monitor process. All have defaults."""

    circuit_window_seconds: float = Field(default=10.0, ge=1, le=300)
    """Span of the attempts on which a circuit is based."""
    circuit_min_attempts: int = Field(default=20, ge=1)
    """Fewer attempts in the window never open a circuit by their share of failures."""
    circuit_failure_percent: int = Field(default=50, ge=1, le=100)
    """Share of failures in the window at which a circuit opens."""
    circuit_all_failed_attempts: int = Field(default=5, ge=1)
    """So many attempts in the window open a circuit if every one of them failed."""
    circuit_unreachable_in_a_row: int = Field(default=3, ge=1)
    """So many attempts in a row that could not connect open a circuit at once."""
    circuit_open_seconds: float = Field(default=5.0, gt=0)
    """How long a circuit stays open at first; each failed probe doubles it."""
    circuit_longest_open_seconds: float = Field(default=60.0, gt=0)
    """Longest time that a circuit stays open, unless the target asks for a longer pause."""
    circuit_expire_after_seconds: float = Field(default=600.0, gt=0)
    """An open circuit that nobody probes is closed this long after it became half-open."""
    cooling_longest_seconds: float = Field(default=LONGEST_COOLING.total_seconds(), gt=0, le=600)
    """Longest pause that a target gets, whatever it asks for."""
    short_timeout_seconds: float = Field(default=5.0, ge=0)
    """A timeout sooner than this after the start proves nothing about the target."""

    probe_idle_seconds: float = Field(default=300.0, ge=10, le=86_400)
    """An address that no attempt has called for this long is probed, and again after as long."""

    def policy(self) -> CircuitPolicy:
        """Return the settings as a circuit policy."""
        return CircuitPolicy(
            window=timedelta(seconds=self.circuit_window_seconds),
            min_attempts=self.circuit_min_attempts,
            failure_percent=self.circuit_failure_percent,
            all_failed_attempts=self.circuit_all_failed_attempts,
            unreachable_in_a_row=self.circuit_unreachable_in_a_row,
            first_open=timedelta(seconds=self.circuit_open_seconds),
            longest_open=timedelta(seconds=max(self.circuit_longest_open_seconds, self.circuit_open_seconds)),
            longest_cooling=timedelta(seconds=self.cooling_longest_seconds),
            expire_after=timedelta(seconds=self.circuit_expire_after_seconds),
        )

    def short_timeout(self) -> timedelta:
        """Return `short_timeout_seconds` as a timedelta."""
        return timedelta(seconds=self.short_timeout_seconds)
