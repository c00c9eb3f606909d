"""Property tests are not timed: how long an example takes is up to the machine."""

from hypothesis import HealthCheck, settings

_PROFILE = "untimed"


def leave_properties_untimed() -> None:
    """Let no property test fail because an example, or its making, took long."""
    settings.register_profile(_PROFILE, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile(_PROFILE)
