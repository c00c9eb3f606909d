"""Step-up: some routes need a sign-in that is recent and strong enough (RFC 9470). Pure."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

_CLOCK_SECONDS = 60
"""How far the clocks of the provider and the console may be apart."""
RFC_ERROR = "insufficient_user_authentication"


@dataclass(frozen=True, slots=True)
class StepUpPolicy:
    """What such a session must have. Nothing is required if nothing is set."""

    acr: frozenset[str] = frozenset()
    """One of these authentication contexts; any if empty."""
    amr: frozenset[str] = frozenset()
    """All of these methods."""
    max_age_seconds: int | None = None
    """How long ago the person may have authenticated."""

    @property
    def required(self) -> bool:
        """Whether anything is required."""
        return bool(self.acr or self.amr or self.max_age_seconds is not None)

    def is_met(self, acr: str | None, amr: Collection[str], auth_time: datetime | None, now: datetime) -> bool:
        """Return whether somebody who has authenticated like this, and then, satisfies the policy."""
        if self.acr and acr not in self.acr:
            return False
        return self.amr <= set(amr) and (self.max_age_seconds is None or self._is_fresh(auth_time, now))

    def challenge(self) -> str:
        """Return the value of WWW-Authenticate for a session that does not satisfy the policy."""
        parts = [f'error="{RFC_ERROR}"', 'error_description="sign in again to do this"']
        if self.acr:
            parts.append(f'acr_values="{" ".join(sorted(self.acr))}"')
        if self.max_age_seconds is not None:
            parts.append(f'max_age="{self.max_age_seconds}"')
        return f"Bearer {', '.join(parts)}"

    def _is_fresh(self, auth_time: datetime | None, now: datetime) -> bool:
        if auth_time is None or self.max_age_seconds is None:
            return False
        age = now - auth_time
        return -timedelta(seconds=_CLOCK_SECONDS) <= age <= timedelta(seconds=self.max_age_seconds)
