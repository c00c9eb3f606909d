"""Which keys' own health is looked up: those of the health view, and those that this router knows of first."""

from keyferry.contracts.chat import FailedAttempt
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.health import CircuitState, Health, target_of_call
from keyferry.contracts.usage import KeySource
from services.router.fallback.memory import FallbackMemory
from services.router.planning.paused_keys import PausedKeys
from tests.support.router.simulated_requests import EPOCH, unix_ms

TARGET = target_of_call(
    provider="openai",
    model="gpt-4o",
    origin="https://api.openai.com",
    key_source=KeySource.BYOK,
    tenant="acme",
    endpoint=None,
)


def cooling(key_id: str | None) -> Health:
    target = TARGET if key_id is None else TARGET.of_key(key_id, "acme")
    return Health(target=target, state=CircuitState.COOLING, reason="a pause", changed_at=EPOCH)


def test_keys_of_the_view_are_looked_up_until_they_leave_it() -> None:
    keys = PausedKeys(FallbackMemory().may_pause)
    keys.replace("a", cooling("key_1"))
    keys.replace("b", cooling("key_1"))
    keys.replace("b", cooling("key_1"))
    keys.replace("c", cooling(None))
    assert ("key_1" in keys, "key_2" in keys, None in keys) == (True, False, False)
    keys.replace("a", None)
    keys.replace("unknown", None)
    assert "key_1" in keys
    keys.replace("b", cooling("key_2"))
    assert ("key_1" in keys, "key_2" in keys) == (False, True)


def test_a_key_whose_pause_this_router_knows_is_looked_up_before_the_view_has_it() -> None:
    memory = FallbackMemory()
    keys = PausedKeys(memory.may_pause)
    assert "key_1" not in keys
    limited = FailedAttempt(
        attempt_id="att_1",
        provider="openai",
        model="gpt-4o",
        key_id="key_1",
        key_source=KeySource.BYOK,
        origin="https://api.openai.com",
        failure=Failure(
            failure_class=FailureClass.RATE_LIMIT, message="slow", where=Where.HTTP_STATUS, retry_after_ms=5000
        ),
        failed_at_unix_ms=unix_ms(0),
    )
    memory.learn("acme", [limited], EPOCH)
    assert "key_1" in keys
    assert memory.health(TARGET.of_key("key_1", "acme"), None, EPOCH) is not None
