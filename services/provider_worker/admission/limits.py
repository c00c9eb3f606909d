"""How many attempts a worker process may run and let wait, and the share of one provider and of one tenant."""

from dataclasses import dataclass

from keyferry.contracts.chat import START_WITHIN_MS

MAX_WAIT_MS = START_WITHIN_MS * 8 // 10
"""An attempt that waited longer could not start in time."""
_RESERVED_PERCENT = 20
"""Never used by a provider or tenant that is alone: what the first request for another one finds free."""


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """The bounds of one worker process. A share is that of one provider, or tenant, while the process has others too."""

    running: int
    waiting: int = 500
    provider_share_percent: int = 40
    tenant_share_percent: int = 75
    wait_seconds: float = 0.5
    """The longest wait. Attempts also expire by their own `start_by`."""

    @property
    def running_of_provider(self) -> int:
        """Attempts of one provider, or of one tenant's server, that may run at once."""
        return _share(self.running, self.provider_share_percent)

    @property
    def running_of_tenant(self) -> int:
        """Attempts of one tenant that may run at once."""
        return self.share_of_tenant(self.running)

    def share_of_tenant(self, places: int) -> int:
        """Return how many of these places one tenant may use."""
        return _share(places, self.tenant_share_percent)

    @property
    def running_alone(self) -> int:
        """Attempts of a provider or tenant that may run at once while there are no others."""
        return self.running - self.running * _RESERVED_PERCENT // 100


def _share(whole: int, percent: int) -> int:
    """Return a percentage, rounded up: everybody may run at least one attempt."""
    return -(-whole * percent // 100)
