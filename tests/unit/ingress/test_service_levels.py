"""Which requests count for the levels of routing and of fallback."""

from collections.abc import Callable

import pytest

from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.frames import Accepted
from keyferry.contracts.service_levels import ServiceLevelName
from keyferry.contracts.usage import KeySource
from keyferry.runtime.http.problem import HttpProblem
from services.ingress import routes
from services.ingress.dialects.openai import problem_from_failure
from services.ingress.service_levels import RequestLevels, is_recovered, is_routed


def failed(failure_class: FailureClass, where: Where = Where.GATEWAY, param: str | None = None) -> HttpProblem:
    return problem_from_failure(Failure(failure_class=failure_class, message="m", where=where, param=param))


def accepted(attempt: int) -> Accepted:
    names = {"attempt_id": "att_1", "instance_id": "inst_1", "decision_id": "dec_1", "provider": "groq", "model": "m"}
    return Accepted(**names, attempt_number=attempt, key_source=KeySource.BYOK)


@pytest.mark.parametrize(
    ("problem", "routed"),
    [
        (None, True),
        # callers' and providers' doing
        (failed(FailureClass.POLICY), True),
        (failed(FailureClass.LIMIT), True),
        (failed(FailureClass.CREDIT), True),
        (failed(FailureClass.NOT_FOUND), True),
        (failed(FailureClass.SERVER, Where.HTTP_STATUS), True),
        (failed(FailureClass.TRUNCATED, Where.MID_STREAM), True),
        (failed(FailureClass.OVERLOADED, Where.HTTP_STATUS), True),
        (failed(FailureClass.EXPIRED, Where.MID_STREAM), True),
        (failed(FailureClass.UNAVAILABLE, param="model"), True),  # no candidate is healthy, as the router says
        # the gateway's
        (failed(FailureClass.UNAVAILABLE), False),
        (failed(FailureClass.UNAVAILABLE, Where.NOT_SENT), False),
        (failed(FailureClass.UNAVAILABLE, Where.NO_ANSWER), False),
        (failed(FailureClass.OVERLOADED), False),
        (failed(FailureClass.EXPIRED), False),
        (failed(FailureClass.INTERNAL), False),
        (failed(FailureClass.INDETERMINATE, Where.MID_STREAM), False),
        (HttpProblem(503, "overloaded_error", "unavailable", "m"), False),
        (HttpProblem(500, "api_error", "internal_error", "m"), False),
        (HttpProblem(400, "invalid_request_error", "invalid_json", "m"), True),
    ],
)
def test_routing(problem: HttpProblem | None, routed: bool) -> None:
    assert is_routed(problem) is routed


def test_fallback() -> None:
    assert is_recovered(None, None) is None
    assert is_recovered(None, accepted(1)) is None
    assert is_recovered(failed(FailureClass.SERVER), accepted(1)) is None
    assert is_recovered(None, accepted(2)) is True
    assert is_recovered(failed(FailureClass.SERVER, Where.HTTP_STATUS), accepted(2)) is False
    assert is_recovered(failed(FailureClass.BAD_REQUEST, Where.HTTP_STATUS), accepted(3)) is None


def test_what_counts() -> None:
    counted: list[tuple[str, bool]] = []
    levels = RequestLevels(lambda name, good: counted.append((name.value, good)))
    routing, fallback = ServiceLevelName.ROUTING.value, ServiceLevelName.FALLBACK.value

    def events(note: Callable[[], None]) -> list[tuple[str, bool]]:
        counted.clear()
        note()
        return list(counted)

    gateway = HttpProblem(503, "overloaded_error", "unavailable", "m")
    assert events(lambda: levels.note_end(None, accepted(1))) == [(routing, True)]
    assert events(lambda: levels.note_end(None, accepted(2))) == [(routing, True), (fallback, True)]
    assert events(lambda: levels.note_problem(routes.CHAT, failed(FailureClass.UNAVAILABLE))) == [(routing, False)]
    assert events(lambda: levels.note_problem(routes.CHAT, gateway)) == [(routing, False)]
    assert events(lambda: levels.note_problem(routes.READYZ, gateway)) == []
    # a stranger, an unreadable body, a client that went away
    for status in (400, 401, 403, 413):
        assert events(lambda: levels.note_problem(routes.CHAT, HttpProblem(status, "t", "c", "m"))) == []  # noqa: B023
