"""When a KEK is due, who replaces it, and what is said of it."""

from datetime import UTC, datetime, timedelta

import pytest

from services.key_vault.encryption.kek_providers.protocol import Renewal
from services.key_vault.maintenance import kek_age
from services.key_vault.maintenance.kek_age import KekAge, KekAgePolicy

SINCE = datetime(2026, 1, 1, tzinfo=UTC)
NINETY = timedelta(days=90)
RULE = KekAgePolicy(NINETY, automatic=True)
BY_HAND = KekAgePolicy(NINETY, automatic=False)
FREE, BARRED = Renewal(), Renewal(obstacle="the file cannot be written")


def term(name: str = "k1", **more: datetime) -> KekAge:
    return KekAge(name, SINCE, **more)


def test_a_kek_is_due_at_the_very_moment_and_not_before() -> None:
    assert kek_age.is_due(term(), RULE, SINCE + NINETY)
    assert not kek_age.is_due(term(), RULE, SINCE + NINETY - timedelta(microseconds=1))
    assert not kek_age.is_due(term(), KekAgePolicy(None, automatic=True), SINCE + timedelta(days=9999))


def test_the_oldest_in_use_decides() -> None:
    younger = KekAge("k0", SINCE + timedelta(days=1))
    assert kek_age.find_oldest([younger, term()]) == term()


@pytest.mark.parametrize(
    ("rule", "renewal", "says"),
    [
        (RULE, FREE, None),
        (RULE, BARRED, "the file cannot be written; make a new one"),
        (BY_HAND, FREE, "automatic rotation is switched off: make a new one"),
    ],
)
def test_what_keeps_the_vault_from_replacing_it(rule: KekAgePolicy, renewal: Renewal, says: str | None) -> None:
    because = kek_age.find_obstacle(term(), "k1", rule, renewal)
    assert (because is None) == (says is None)
    assert (says or "") in (because or "")


def test_a_former_one_needs_no_new_one() -> None:
    assert kek_age.find_obstacle(term(), "k2", RULE, BARRED) is None
    assert "keyferry vault rotate-kek" in (kek_age.find_obstacle(term(), "k2", BY_HAND, FREE) or "")


@pytest.mark.parametrize(("days", "enough"), [(90, True), (91, False), (None, False)])
def test_a_holder_that_changes_the_key_itself_often_enough(days: int | None, enough: bool) -> None:
    renewal = Renewal("the vault makes none", provider_rotation_days=days)
    now = SINCE + NINETY * 3
    assert kek_age.provider_rotates(term(), "k1", RULE, renewal) is enough
    assert kek_age.report_age(term(), "k1", RULE, renewal, now).overdue is not enough
    assert not kek_age.provider_rotates(term("k0"), "k1", RULE, renewal), "a former one is not changed by that"


def test_what_is_said_as_time_passes() -> None:
    young = kek_age.report_age(term(), "k1", RULE, FREE, SINCE + timedelta(days=12, hours=23))
    assert (young.age_days, young.due_at, young.overdue) == (12, SINCE + NINETY, False)
    assert young.detail == "due on 2026-04-01; then the vault rotates it"
    now = SINCE + NINETY
    assert not kek_age.report_age(term(), "k1", RULE, FREE, now).overdue, "the vault is about to do it"
    assert kek_age.report_age(term(warned_at=now), "k1", RULE, FREE, now).overdue, "it was tried, and failed"
    barred = kek_age.report_age(term(), "k1", RULE, BARRED, now)
    assert (barred.overdue, barred.detail.partition(";")[0]) == (True, "the file cannot be written")
    never = kek_age.report_age(term(), "k1", KekAgePolicy(None, automatic=True), BARRED, now)
    assert (never.overdue, never.due_at, never.age_days) == (False, None, 90)


def test_a_clock_that_went_back_makes_nothing_younger_than_new() -> None:
    assert kek_age.report_age(term(), "k1", RULE, FREE, SINCE - timedelta(days=3)).age_days == 0


def test_a_warning_is_good_for_a_day() -> None:
    warned = term(warned_at=SINCE)
    assert kek_age.warned_recently(warned, SINCE + timedelta(days=1) - timedelta(seconds=1))
    assert not kek_age.warned_recently(warned, SINCE + timedelta(days=1))
    assert not kek_age.warned_recently(term(), SINCE)
