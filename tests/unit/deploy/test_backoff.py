"""The pauses between restarts."""

from deploy.embedded.backoff import FORGIVEN_AFTER_SECONDS, BackOff


def test_pauses_double_up_to_ten_seconds() -> None:
    back_off = BackOff()
    assert [round(back_off.delay_seconds(0.1), 1) for _ in range(7)] == [0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


def test_a_long_life_is_a_clean_sheet() -> None:
    back_off = BackOff()
    for _ in range(5):
        back_off.delay_seconds(0.0)
    assert back_off.delay_seconds(FORGIVEN_AFTER_SECONDS) == 0.4
    assert back_off.delay_seconds(FORGIVEN_AFTER_SECONDS - 0.1) == 0.8


def test_endless_crashes_never_overflow() -> None:
    back_off = BackOff()
    assert {back_off.delay_seconds(0.0) for _ in range(5000)} >= {10.0}
    assert back_off.delay_seconds(0.0) == 10.0
