"""Reading wrk's result, and the request put on the wire."""

import json

import pytest

from tests.bench import first_token, load
from tests.bench.case import Case, Kind, cases_named
from tests.bench.failure import BenchError
from tests.bench.system import Target

_RESULT = {
    "sent": 100,
    "answered": 100,
    "wrong": 0,
    "socket_errors": 0,
    "timeouts": 0,
    "elapsed_us": 2_000_000,
    "p50_us": 900,
    "p90_us": 1500,
    "p99_us": 4000,
}


def _output(**changes: int) -> str:
    return f"Running 2s test\nRequests/sec: 1.00\nBENCH {json.dumps(_RESULT | changes)}\n"


def test_a_clean_run_counts_every_answer() -> None:
    seen = load.parse(_output(), client_cpu_us=1234)
    assert (seen.ok, seen.errors, seen.client_cpu_us) == (100, 0, 1234)
    assert (seen.p50_us, seen.p90_us, seen.p99_us) == (900, 1500, 4000)
    assert seen.per_second == 50.0


def test_wrong_answers_are_errors_and_not_answers() -> None:
    seen = load.parse(_output(wrong=3), client_cpu_us=0)
    assert (seen.ok, seen.errors) == (97, 3)


def test_a_request_without_an_answer_is_an_error() -> None:
    assert load.parse(_output(sent=104), client_cpu_us=0).errors == 4


def test_a_broken_connection_is_counted_once_for_its_request() -> None:
    assert load.parse(_output(sent=104, socket_errors=4), client_cpu_us=0).errors == 4


def test_a_refused_connection_is_an_error_though_nothing_was_sent() -> None:
    assert load.parse(_output(socket_errors=2), client_cpu_us=0).errors == 2


def test_a_late_answer_is_an_error() -> None:
    assert load.parse(_output(timeouts=1), client_cpu_us=0).errors == 1


def test_output_without_a_result_is_refused_with_what_was_printed() -> None:
    with pytest.raises(BenchError, match="unable to connect"):
        load.parse("unable to connect to 127.0.0.1:1\n", client_cpu_us=0)


@pytest.mark.parametrize("kind", [Kind.PLAIN, Kind.STREAM])
def test_the_request_is_whole_http_with_a_body_of_the_stated_length(kind: Kind) -> None:
    target = Target("http://127.0.0.1:8080/plain/v1", "some-model", "kf_token")
    head, _, body = load.request_bytes(target, Case(kind, 1)).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /plain/v1/chat/completions HTTP/1.1"
    assert "Host: 127.0.0.1:8080" in lines
    assert f"Content-Length: {len(body)}" in lines
    assert "Authorization: Bearer kf_token" in lines
    content = json.loads(body)
    assert content["model"] == "some-model"
    assert content.get("stream", False) is kind.streams


def test_without_a_token_there_is_no_authorization() -> None:
    assert b"Authorization" not in load.request_bytes(Target("http://127.0.0.1:1/v1", "m"), Case(Kind.PLAIN, 1))


def test_a_target_does_not_show_its_token() -> None:
    assert "kf_token" not in repr(Target("http://127.0.0.1:1/v1", "m", "kf_token"))


def test_percentiles_are_values_that_occurred() -> None:
    values = list(range(1, 101))
    assert [first_token.percentile(values, rank) for rank in (50, 90, 99)] == [50, 90, 99]
    assert first_token.percentile([7], 99) == 7
    assert first_token.percentile([3, 1, 2], 50) == 2
    assert first_token.percentile([], 50) == 0


def test_cases_are_chosen_by_name() -> None:
    assert cases_named("stream-64,first-token-1") == (Case(Kind.STREAM, 64), Case(Kind.FIRST_TOKEN, 1))


def test_an_unknown_case_is_named_beside_the_known_ones() -> None:
    with pytest.raises(BenchError, match=r"plain-2.*plain-1"):
        cases_named("plain-1,plain-2")
