"""When a KEK is due, who rotates it, and its report."""

from datetime import UTC, datetime, timedelta

import pytest

from services.key_vault.encryption.kek_providers.protocol import Renewal
from services.key_vault.maintenance import kek_age
from services.key_vault.maintenance.kek_age import KekAge, KekAgePolicy

SINCE = datetime(2026, 1, 1, tzinfo=UTC)
NINETY = timedelta(days=90)
POLICY = KekAgePolicy(NINETY, automatic=True)
BY_HAND = KekAgePolicy(NINETY, automatic=False)
FREE, BARRED = Renewal(), Renewal(obstacle="the file cannot be written")


def age(name: str = "k1", **more: datetime) -> KekAge:
    return KekAge(name, SINCE, **more)


def test_kek_is_due_exactly_at_its_max_age() -> None:
    assert kek_age.is_due(age(), POLICY, SINCE + NINETY)
    assert not kek_age.is_due(age(), POLICY, SINCE + NINETY - timedelta(microseconds=1))
    assert not kek_age.is_due(age(), KekAgePolicy(None, automatic=True), SINCE + timedelta(days=9999))


def test_oldest_kek_decides() -> None:
    younger = KekAge("k0", SINCE + timedelta(days=1))
    assert kek_age.find_oldest([younger, age()]) == age()


@pytest.mark.parametrize(
    ("policy", "renewal", "says"),
    [
        (POLICY, FREE, None),
        (POLICY, BARRED, "the file cannot be written; make a new one"),
        (BY_HAND, FREE, "automatic rotation is switched off: make a new one"),
    ],
)
def test_obstacles_to_automatic_rotation(policy: KekAgePolicy, renewal: Renewal, says: str | None) -> None:
    reason = kek_age.find_obstacle(age(), "k1", policy, renewal)
    assert (reason is None) == (says is None)
    assert (says or "") in (reason or "")


def test_former_kek_needs_no_new_one() -> None:
    assert kek_age.find_obstacle(age(), "k2", POLICY, BARRED) is None
    assert "keyferry vault rotate-kek" in (kek_age.find_obstacle(age(), "k2", BY_HAND, FREE) or "")


@pytest.mark.parametrize(("days", "enough"), [(90, True), (91, False), (None, False)])
def test_provider_that_rotates_often_enough(days: int | None, enough: bool) -> None:
    renewal = Renewal("the vault makes none", provider_rotation_days=days)
    now = SINCE + NINETY * 3
    assert kek_age.provider_rotates(age(), "k1", POLICY, renewal) is enough
    assert kek_age.report_age(age(), "k1", POLICY, renewal, now).overdue is not enough
    assert not kek_age.provider_rotates(age("k0"), "k1", POLICY, renewal), "it does not rotate a former KEK"


def test_report_over_time() -> None:
    young = kek_age.report_age(age(), "k1", POLICY, FREE, SINCE + timedelta(days=12, hours=23))
    assert (young.age_days, young.due_at, young.overdue) == (12, SINCE + NINETY, False)
    assert young.detail == "due on 2026-04-01; then the vault rotates it"
    now = SINCE + NINETY
    assert not kek_age.report_age(age(), "k1", POLICY, FREE, now).overdue, "the vault is about to do it"
    assert kek_age.report_age(age(warned_at=now), "k1", POLICY, FREE, now).overdue, "it was tried, and failed"
    barred = kek_age.report_age(age(), "k1", POLICY, BARRED, now)
    assert (barred.overdue, barred.detail.partition(";")[0]) == (True, "the file cannot be written")
    never = kek_age.report_age(age(), "k1", KekAgePolicy(None, automatic=True), BARRED, now)
    assert (never.overdue, never.due_at, never.age_days) == (False, None, 90)


def test_age_is_not_negative() -> None:
    assert kek_age.report_age(age(), "k1", POLICY, FREE, SINCE - timedelta(days=3)).age_days == 0


def test_warning_is_repeated_after_a_day() -> None:
    warned = age(warned_at=SINCE)
    assert kek_age.warned_recently(warned, SINCE + timedelta(days=1) - timedelta(seconds=1))
    assert not kek_age.warned_recently(warned, SINCE + timedelta(days=1))
    assert not kek_age.warned_recently(age(), SINCE)
