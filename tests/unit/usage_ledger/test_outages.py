"""Outages are derived from changes of health, in whatever order and however often these arrive."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.usage_ledger.outages import Group, OutageSpan, TargetChange, derive_outages

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
OPENAI = Group(provider="openai", tenant=None, endpoint=None, origin="https://api.openai.com", key_class="own")


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def change(state: str, at: float, model: str = "gpt", *, holds: float = 5, group: Group = OPENAI) -> TargetChange:
    """Return a change `at` seconds after noon; what is not closed holds for so many seconds."""
    moment = NOON + seconds(at)
    return TargetChange(
        target_key=f"{group.provider}.{group.key_class}.{group.tenant}.{model}",
        group=group,
        model=model,
        state=state,
        reason=f"{model} is {state}",
        forced=False,
        holds_until=None if state == "closed" else moment + seconds(holds),
        changed_at=moment,
    )


def derived(*changes: TargetChange, now: float = 3000) -> list[OutageSpan]:
    return derive_outages(changes, now=NOON + seconds(now))


def test_an_outage_lasts_from_the_opening_to_the_closing() -> None:
    [outage] = derived(change("open", 0), change("open", 6), change("closed", 30))
    assert (outage.began_at, outage.ended_at) == (NOON, NOON + seconds(30))
    assert (outage.models, outage.reasons) == ({"gpt"}, ["gpt is open"])


def test_what_is_not_closed_yet_lasts() -> None:
    [outage] = derived(change("cooling", 0))
    assert outage.ended_at is None


def test_a_circuit_that_the_monitor_has_lost_ended_when_it_would_have() -> None:
    assert derived(change("open", 0, holds=60), now=60 + 3601)[0].ended_at == NOON + seconds(60)
    again = derived(change("open", 0, holds=60), change("open", 9000), now=9001)
    assert [(outage.began_at - NOON, outage.ended_at) for outage in again] == [
        (seconds(9000), None),
        (seconds(0), NOON + seconds(60)),
    ]


def test_targets_of_one_provider_that_are_out_together_are_one_outage() -> None:
    [outage] = derived(
        change("open", 0), change("open", 10, "mini"), change("closed", 20), change("closed", 50, "mini")
    )
    assert (outage.models, outage.ended_at) == ({"gpt", "mini"}, NOON + seconds(50))
    assert outage.reasons == ["gpt is open", "mini is open"]


def test_a_minute_without_trouble_separates_outages() -> None:
    flapping = (change("open", 0), change("closed", 20), change("open", 80), change("closed", 90))
    assert len(derived(*flapping)) == 1
    assert len(derived(*flapping[:2], change("open", 81), change("closed", 90))) == 2


def test_other_addresses_key_classes_and_tenants_are_other_outages() -> None:
    groups = [
        OPENAI,
        replace(OPENAI, key_class="platform"),
        replace(OPENAI, origin="https://eu.example"),
        replace(OPENAI, tenant="acme"),
    ]
    changes = [replace(change("open", 0, group=group), target_key=str(group)) for group in groups]
    assert len(derived(*changes)) == 4


def test_an_operators_override_is_marked() -> None:
    [outage] = derived(replace(change("open", 0), forced=True), change("closed", 60))
    assert outage.forced


def test_a_closing_without_an_opening_is_no_outage() -> None:
    assert derived(change("closed", 0)) == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["open", "cooling", "closed"]), st.integers(0, 2000), st.sampled_from(["a", "b", "c"])
        ),
        max_size=30,
        unique_by=lambda item: item[1:],
    ),
    st.randoms(use_true_random=False),
)
def test_the_order_and_number_of_deliveries_do_not_matter(changes: list[tuple[str, int, str]], random: object) -> None:
    made = [change(*item) for item in changes]
    repeated = [*made, *made[: len(made) // 2]]
    random.shuffle(repeated)  # type: ignore[attr-defined]
    expected = derived(*made)
    assert derived(*repeated) == expected
    for outage in expected:
        assert outage.ended_at is None or outage.began_at <= outage.ended_at
        starts = {each.changed_at for each in made if each.state != "closed"}
        assert outage.began_at in starts
    # Those of one group are apart by more than a minute, so none is counted twice.
    ordered = sorted(expected, key=lambda outage: outage.began_at)
    for before, after in pairwise(ordered):
        assert before.ended_at is not None
        assert after.began_at - before.ended_at > seconds(60)
