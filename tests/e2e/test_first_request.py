"""What a new user does first, on the system as `make up` leaves it."""

import json
import urllib.request

import httpx

from tests.support.system.keyferry_system import KeyferrySystem


def test_a_streamed_echo_comes_word_by_word_with_its_usage(system: KeyferrySystem) -> None:
    stream = system.openai().chat.completions.create(
        model="echo",
        messages=[{"role": "user", "content": "one two three"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    words = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert "".join(word or "" for word in words) == "one two three"
    assert sum(1 for word in words if word) > 1
    usage = chunks[-1].usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (3, 3, 6)


def test_the_usage_chunk_comes_only_when_asked_for(system: KeyferrySystem) -> None:
    stream = system.openai().chat.completions.create(
        model="echo", messages=[{"role": "user", "content": "hi"}], stream=True
    )
    assert all(chunk.choices for chunk in stream)


def test_a_whole_echo_says_where_it_came_from(system: KeyferrySystem) -> None:
    raw = system.openai().chat.completions.with_raw_response.create(
        model="echo", messages=[{"role": "user", "content": "hello"}]
    )
    assert raw.parse().choices[0].message.content == "hello"
    assert raw.headers["x-request-id"].startswith("req_")
    assert raw.headers["x-keyferry-provider"] == "echo"
    assert raw.headers["x-keyferry-credential"] == "none"
    assert raw.headers["x-keyferry-attempts"] == "1"


def test_the_ledger_has_exactly_one_row_with_its_cost(system: KeyferrySystem) -> None:
    raw = system.openai().chat.completions.with_raw_response.create(
        model="echo",
        messages=[{"role": "user", "content": "hello world"}],
        extra_headers={"X-Operation": "research", "x-keyferry-tags": "lead_id=42, team=blue"},
    )
    rows = system.attempts(raw.headers["x-request-id"])
    assert len(rows) == 1
    record = rows[0]["record"]
    assert record["outcome"] == "completed"
    assert record["token_usage"]["input"] == 2
    assert record["token_usage"]["output"] == 2
    assert record["usage_source"] == "reported"
    assert record["operation"] == "research"
    assert record["tags"] == {"lead_id": "42", "team": "blue"}
    assert rows[0]["pricing"] == "priced"
    assert float(rows[0]["cost_usd"]) > 0
    assert len(rows[0]["trace_id"]) == 32


def test_a_caller_s_trace_continues_into_the_ledger(system: KeyferrySystem) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    raw = system.openai().chat.completions.with_raw_response.create(
        model="echo",
        messages=[{"role": "user", "content": "x"}],
        extra_headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"},
    )
    assert system.attempts(raw.headers["x-request-id"])[0]["trace_id"] == trace


def test_models_lists_the_echo(system: KeyferrySystem) -> None:
    client = system.openai()
    assert "echo" in {model.id for model in client.models.list().data}
    assert client.models.retrieve("echo").id == "echo"


def test_health_and_readiness(system: KeyferrySystem) -> None:
    with urllib.request.urlopen(f"{system.http_url}/healthz") as answer:
        assert json.load(answer) == {"status": "ok"}
    assert httpx.get(f"{system.http_url}/readyz").json() == {"status": "ready", "waiting_for": []}


def test_explain_shows_route_cost_and_row(system: KeyferrySystem) -> None:
    output = system.cli("chat", "hello", "--explain")
    assert output.startswith("hello")
    for word in ("echo", "cost", "req_", "att_"):
        assert word in output, output


def test_doctor_finds_nothing_wrong(system: KeyferrySystem) -> None:
    system.cli("doctor")
