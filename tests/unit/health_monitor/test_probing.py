"""Which addresses are idle, when they are probed, and what a probe proves."""

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.health import ECHO_ADDRESS, KeyClass, Target
from keyferry.contracts.route import Endpoint, EndpointProbe, ProbeOutcome
from services.health_monitor.idle_addresses import idle_addresses, is_reachable
from services.health_monitor.probe_schedule import IDLE, ProbeSchedule
from tests.unit.health_monitor.attempts import NOON, ORIGIN, seconds

OPENAI = Target(provider="openai", model="gpt", origin=ORIGIN)
OTHER_MODEL = Target(provider="openai", model="mini", origin=ORIGIN, key_class=KeyClass.PLATFORM)
ECHO = Target(provider="echo", model="echo", key_class=KeyClass.NONE)
LONG_AGO = NOON - timedelta(hours=1)


def endpoint(name: str = "lab", *, enabled: bool = True, host: str = "lab.example") -> Endpoint:
    url = f"https://{host}/v1"
    return Endpoint(tenant="acme", name=name, base_url=url, models=["llama", "phi"], enabled=enabled)


def schedule(jitter: float = 0.0) -> ProbeSchedule:
    return ProbeSchedule(lambda: jitter)


def idle_at_noon(*targets: tuple[Target, object], endpoints: tuple[Endpoint, ...] = ()) -> dict[str, set[str]]:
    found = idle_addresses(targets, endpoints, now=NOON, idle=IDLE)  # type: ignore[arg-type]
    return {address.url: {target.model for target in address.targets.values()} for address in found.values()}


def test_an_address_is_idle_if_none_of_its_targets_was_called_within_five_minutes() -> None:
    assert idle_at_noon((OPENAI, LONG_AGO), (OTHER_MODEL, LONG_AGO)) == {ORIGIN: {"gpt", "mini"}}
    assert idle_at_noon((OPENAI, LONG_AGO), (OTHER_MODEL, NOON - seconds(299))) == {}
    assert idle_at_noon((OPENAI, NOON - IDLE)) == {ORIGIN: {"gpt"}}


def test_a_call_in_the_future_is_a_clock_that_was_set_back() -> None:
    assert idle_at_noon((OPENAI, NOON + timedelta(hours=1))) == {ORIGIN: {"gpt"}}


def test_endpoints_and_the_echo_are_probed_and_removed_endpoints_are_not() -> None:
    lab = Target(provider="custom", model="llama", tenant="acme", endpoint="lab", origin="https://lab.example")
    removed = lab.model_copy(update={"origin": "https://old.example"})
    found = idle_at_noon((ECHO, LONG_AGO), (removed, LONG_AGO), endpoints=(endpoint(),))
    assert found == {ECHO_ADDRESS: {"echo"}, "https://lab.example/v1": {"llama", "phi"}}
    assert idle_at_noon((lab, LONG_AGO), endpoints=(endpoint(enabled=False),)) == {}
    assert idle_at_noon((lab, NOON), endpoints=(endpoint(),)) == {}


def test_two_tenants_endpoints_at_one_address_are_probed_once() -> None:
    theirs = endpoint().model_copy(update={"tenant": "globex"})
    [address] = idle_addresses((), (endpoint(), theirs), now=NOON, idle=IDLE).values()
    assert {target.tenant for target in address.targets.values()} == {"acme", "globex"}
    assert address.url == "https://lab.example"


def test_no_tenants_path_decides_whether_what_others_call_can_be_reached() -> None:
    """A path that hangs at an address that answers would open the circuits of everybody's targets there."""
    hanging = endpoint(host="api.openai.com").model_copy(update={"base_url": f"{ORIGIN}/hangs", "tenant": "mallory"})
    assert list(idle_at_noon((OPENAI, LONG_AGO), endpoints=(hanging,))) == [ORIGIN]
    assert list(idle_at_noon(endpoints=(hanging,))) == [f"{ORIGIN}/hangs"]


@pytest.mark.parametrize(
    ("outcome", "status", "proves"),
    [
        (ProbeOutcome.LISTED, 200, True),
        (ProbeOutcome.ANSWERED, 401, True),
        (ProbeOutcome.ANSWERED, 404, True),
        (ProbeOutcome.ANSWERED, 499, True),
        (ProbeOutcome.ANSWERED, 500, None),
        (ProbeOutcome.ANSWERED, 503, None),
        (ProbeOutcome.UNREACHABLE, None, False),
        (ProbeOutcome.FORBIDDEN, None, None),
    ],
)
def test_what_a_probe_proves(outcome: ProbeOutcome, status: int | None, proves: bool | None) -> None:
    """A server error without a key may be a proxy's answer to a request that it does not know."""
    probe = EndpointProbe(outcome=outcome, status=status, detail="x", duration_ms=1)
    assert is_reachable(probe) is proves


@given(st.floats(0, 1))
def test_an_idle_address_is_probed_every_five_minutes_give_or_take_a_tenth(jitter: float) -> None:
    probes, now = schedule(jitter), NOON
    times = []
    for _ in range(2400):
        if probes.due({"a"}, now, 9):
            times.append(now)
        now += seconds(1)
    assert times[0] - NOON <= seconds(31)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert len(gaps) >= 6
    assert all(seconds(269) <= gap <= seconds(332) for gap in gaps)


def test_an_unreachable_address_is_probed_again_soon_and_then_every_minute() -> None:
    probes, now, times = schedule(), NOON, []
    for _ in range(200):
        if probes.due({"a"}, now, 9):
            times.append((now - NOON) / seconds(1))
            probes.record("a", False, now)
        now += seconds(1)
    assert times == [0, 10, 20, 80, 140]


def test_an_address_that_answers_again_is_back_to_five_minutes() -> None:
    probes = schedule()
    probes.due({"a"}, NOON, 9)
    probes.record("a", False, NOON)
    assert probes.due({"a"}, NOON + seconds(10), 9) == ["a"]
    probes.record("a", True, NOON + seconds(10))
    assert probes.due({"a"}, NOON + seconds(200), 9) == []


def test_probes_are_limited_per_round_and_the_longest_due_come_first() -> None:
    probes = schedule()
    assert probes.due(["a"], NOON, 0) == []
    assert probes.due(["a", "b", "c"], NOON + seconds(1), 1) == ["a"]
    assert probes.due(["a", "b", "c"], NOON + seconds(2), 9) == ["b", "c"]


def test_an_address_that_is_used_again_is_forgotten() -> None:
    probes = schedule()
    probes.due({"a", "b"}, NOON, 9)
    probes.due({"b"}, NOON, 9)
    probes.record("a", False, NOON)
    assert len(probes) == 1


def test_a_clock_that_was_set_back_does_not_stop_the_probes() -> None:
    probes = schedule()
    assert probes.due({"a"}, NOON, 9) == ["a"]
    assert probes.due({"a"}, NOON - timedelta(days=1), 9) == ["a"]
