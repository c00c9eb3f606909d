"""Settings of the health monitor."""

from datetime import timedelta

from pydantic import Field

from keyferry.runtime.process.settings import ServiceSettings
from services.health_monitor.circuit import LONGEST_COOLING, CircuitPolicy


class HealthSettings(ServiceSettings):
    """What the health monitor needs. All of it has a default."""

    circuit_window_seconds: float = Field(default=10.0, ge=1, le=300)
    """How far back the attempts go that a circuit is decided from."""
    circuit_min_attempts: int = Field(default=5, ge=1)
    """Fewer attempts in the window than this never open a circuit by their share of failures."""
    circuit_failure_percent: int = Field(default=50, ge=1, le=100)
    """Share of failures in the window from which on a circuit opens."""
    circuit_unreachable_in_a_row: int = Field(default=3, ge=1)
    """So many attempts one after the other that found nobody to talk to open a circuit at once."""
    circuit_open_seconds: float = Field(default=5.0, gt=0)
    """The first rest; each trial that fails doubles it."""
    circuit_longest_open_seconds: float = Field(default=60.0, gt=0)
    """No rest is longer, unless the target itself asks for it."""
    circuit_forgotten_after_seconds: float = Field(default=600.0, gt=0)
    """An open circuit that nobody has tried for so long after its rest is closed."""
    cooling_longest_seconds: float = Field(default=LONGEST_COOLING.total_seconds(), gt=0, le=600)
    """No target is left alone for longer than this, whatever it asks for."""
    hasty_timeout_seconds: float = Field(default=5.0, ge=0)
    """A deadline that passed sooner than this after the start proves nothing about the target."""

    def policy(self) -> CircuitPolicy:
        """The same as the domain takes them."""
        return CircuitPolicy(
            window=timedelta(seconds=self.circuit_window_seconds),
            min_attempts=self.circuit_min_attempts,
            failure_percent=self.circuit_failure_percent,
            unreachable_in_a_row=self.circuit_unreachable_in_a_row,
            first_rest=timedelta(seconds=self.circuit_open_seconds),
            longest_rest=timedelta(seconds=max(self.circuit_longest_open_seconds, self.circuit_open_seconds)),
            longest_cooling=timedelta(seconds=self.cooling_longest_seconds),
            forgotten_after=timedelta(seconds=self.circuit_forgotten_after_seconds),
        )

    def hasty_timeout(self) -> timedelta:
        """`hasty_timeout_seconds` as a span."""
        return timedelta(seconds=self.hasty_timeout_seconds)
