"""What of a request and its answer is stored: texts of whole and streamed answers, bounded, redacted in the worker."""

import json

from keyferry.contracts.content import MAX_CHARACTERS
from keyferry.contracts.tenancy import ContentPolicy
from services.provider_worker.content.capture import ContentCapture

MESSAGES = [{"role": "user", "content": "I am kim@example.com"}]
BODY = json.dumps({"model": "m", "messages": MESSAGES}).encode()


def chunk(text: str | None = None, index: int = 0, **delta: object) -> bytes:
    return json.dumps({"choices": [{"index": index, "delta": {"content": text, **delta}}]}).encode()


def whole(**message: object) -> bytes:
    return json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", **message}}]}).encode()


def test_a_whole_answer_is_its_text() -> None:
    content = ContentCapture(ContentPolicy.FULL, 7, BODY).finish(whole(content="Hello kim@example.com"))
    assert json.loads(content.request) == MESSAGES
    assert content.answer == "Hello kim@example.com"
    assert not content.request_cut
    assert not content.answer_cut


def test_a_streamed_answer_is_put_together_by_choice() -> None:
    capture = ContentCapture(ContentPolicy.FULL, 7, BODY)
    capture.add([chunk("Hel"), chunk("Bon", 1)])
    capture.add([chunk("lo"), chunk("jour", 1), chunk(None), b"no JSON", b'{"choices": 3}'])
    assert capture.finish(b"").answer == "Hello\nBonjour"


def test_calls_of_tools_are_part_of_the_answer() -> None:
    call = {"function": {"name": "look_up", "arguments": '{"city": "Bonn"}'}}
    assert (
        "look_up" in ContentCapture(ContentPolicy.FULL, 7, BODY).finish(whole(content=None, tool_calls=[call])).answer
    )
    capture = ContentCapture(ContentPolicy.FULL, 7, BODY)
    capture.add([chunk(tool_calls=[call]), chunk(tool_calls=[{"function": {"arguments": "!"}}])])
    assert capture.finish(b"").answer == '\nlook_up: {"city": "Bonn"}!'


def test_redacted_content_has_neither_side_of_the_conversation_in_clear() -> None:
    content = ContentCapture(ContentPolicy.REDACTED, 7, BODY).finish(whole(content="Hello kim@example.com"))
    assert "kim@example.com" not in content.request + content.answer
    assert content.answer == "Hello [redacted e-mail]"


def test_long_texts_are_cut_and_marked() -> None:
    long = json.dumps({"messages": [{"role": "user", "content": "x" * (2 * MAX_CHARACTERS)}]}).encode()
    content = ContentCapture(ContentPolicy.FULL, 7, long).finish(whole(content="y" * (MAX_CHARACTERS + 1)))
    assert (len(content.request), content.request_cut) == (MAX_CHARACTERS, True)
    assert (len(content.answer), content.answer_cut) == (MAX_CHARACTERS, True)


def test_a_stream_without_end_holds_no_more_memory_than_is_stored() -> None:
    capture = ContentCapture(ContentPolicy.FULL, 7, BODY)
    for _ in range(100):
        capture.add([chunk("z" * 60_000)])
    content = capture.finish(b"")
    assert content.answer_cut
    assert sum(map(len, capture._chunks)) < 5_000_000


def test_what_no_table_and_no_json_can_hold_is_replaced() -> None:
    body = b'{"messages": [{"content": "a\\u0000b\\ud800c"}]}'
    content = ContentCapture(ContentPolicy.FULL, 7, body).finish(whole(content="a\x00\n"))
    assert content.decode(content.encode()) == content
    assert "\x00" not in content.answer
    assert content.answer.endswith("\n")


def test_a_body_that_is_no_chat_is_kept_as_text() -> None:
    content = ContentCapture(ContentPolicy.FULL, 7, b"\xff[1,").finish(b"\xfe")
    assert content.request.endswith("[1,")
    assert content.answer == "\ufffd"
