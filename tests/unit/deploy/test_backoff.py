"""The delays between restarts."""

from deploy.embedded.backoff import FORGIVEN_AFTER_SECONDS, RestartBackoff


def test_delays_double_up_to_ten_seconds() -> None:
    backoff = RestartBackoff()
    assert [round(backoff.delay_seconds(0.1), 1) for _ in range(7)] == [0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


def test_a_long_run_resets_the_delay() -> None:
    backoff = RestartBackoff()
    for _ in range(5):
        backoff.delay_seconds(0.0)
    assert backoff.delay_seconds(FORGIVEN_AFTER_SECONDS) == 0.4
    assert backoff.delay_seconds(FORGIVEN_AFTER_SECONDS - 0.1) == 0.8


def test_endless_crashes_never_overflow() -> None:
    backoff = RestartBackoff()
    assert {backoff.delay_seconds(0.0) for _ in range(5000)} >= {10.0}
    assert backoff.delay_seconds(0.0) == 10.0
