"""A provider key in any part of a request appears in no response, log line or telemetry, not even in part."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from fastapi import FastAPI
from fastapi.telemetry import get_telemetry_data
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from keyferry.contracts.key import KeyTest
from keyferry.contracts.service import ErrorCode, Refusal
from keyferry.contracts.topology import KEY_ADD, KEY_EDIT, KEY_ROTATE, KEY_TRY
from keyferry.runtime.process.logs import JsonFormatter
from services.console.bodies import AddKeyBody
from services.console.tenant_context import CurrentTenant
from services.console.validation import problem_from_faults
from tests.unit.console.surface import AUTHORIZED, KEY, Surface, error, stored

OWN = "/api/v1/provider-keys"
_WINDOW = 12
NEW = {"provider": "openai", "label": "main", "key": KEY}


def leaks(text: str) -> bool:
    """Return whether `text` contains any 12 characters of the key's random part."""
    secret = KEY.removeprefix("sk-proj-")
    return any(secret[at : at + _WINDOW] in text for at in range(len(secret) - _WINDOW + 1))


@contextmanager
def capture_log() -> Iterator[list[str]]:
    """Collect every line that the process would log at DEBUG or above, as it would be written."""
    lines: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    listener = Listener()
    listener.setFormatter(JsonFormatter("console"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(listener)
    root.setLevel(logging.DEBUG)
    for name in ("httpx", "httpcore"):  # the test's own client
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        yield lines
    finally:
        root.removeHandler(listener)
        root.setLevel(level)


PLACES = {
    "a field of another name": {**NEW, "kee": KEY},
    "the name of a field": {**NEW, KEY: "x"},
    "the name of a provider's field": {**NEW, "fields": {KEY: "x"}},
    "the value of a provider's field": {"provider": "bedrock", "label": "x", "key": KEY, "fields": {"region": KEY}},
    "the key, in a document": {**NEW, "key": f'{{"key":"{KEY}"}}'},
    "the key, with spaces": {**NEW, "key": f"{KEY} {KEY}"},
    "the key, with a line end": {**NEW, "key": f"{KEY}\r\n"},
    "the key, beyond ASCII": {**NEW, "key": f"{KEY}é"},
    "the key, too long": {**NEW, "key": KEY * 400},
    "the key, in a list": {**NEW, "key": [KEY]},
    "the key, in an object": {**NEW, "key": {"text": KEY}},
    "both forms": {**NEW, "sealed": "AAAA"},
    "the sealed form, as if it were sealed": {"provider": "openai", "label": "main", "sealed": KEY},
    "the sealed form, long": {"provider": "openai", "label": "main", "sealed": KEY * 4},
    "the sealed form": {"provider": "openai", "label": "main", "sealed": f"{KEY}!"},
    "a sibling is missing": {"key": KEY},
    "a sibling is wrong": {**NEW, "priority": "high"},
    "the provider": {**NEW, "provider": KEY},
    "the label, which is too long": {**NEW, "label": KEY * 3},
    "the base URL": {**NEW, "base_url": f"https://{KEY}@example.com/v1"},
    "the base URL's query": {**NEW, "base_url": f"https://example.com/v1?key={KEY}"},
    "the amount": {**NEW, "monthly_limit_usd": KEY},
    "the date": {**NEW, "expires_at": KEY},
    "the priority": {**NEW, "priority": KEY},
    "the models": {**NEW, "allowed_models": KEY},
    "a model with a space": {**NEW, "allowed_models": [f"{KEY} x"]},
    "the switch": {**NEW, "save_untested": KEY},
    "the whole body": KEY,
    "a list": [KEY],
}


@pytest.mark.parametrize("place", PLACES)
async def test_rejected_request_is_not_repeated(place: str) -> None:
    surface = Surface()
    body = PLACES[place]
    with capture_log() as lines:
        answers = [await surface.ask("POST", path, body) for path in (OWN, f"{OWN}/test", f"{OWN}/key_0001/rotate")]
        answers.append(await surface.ask("PATCH", f"{OWN}/key_0001", body))
    for answer in answers:
        assert answer.status_code in (400, 404, 422, 503)
        error(answer)
    assert answers[0].status_code in (400, 422)
    output = "".join([*(f"{answer.text}{answer.headers}" for answer in answers), *lines])
    assert not leaks(output)
    assert not any(leaks(request.encode().decode()) for _, request in surface.bus.asked)


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (f'{{"provider":"openai","key":"{KEY}",}}', {"content-type": "application/json"}),
        (f'{{"key":"{KEY}"', {"content-type": "application/json"}),
        (json.dumps(NEW), {"content-type": "text/plain"}),
        (json.dumps(NEW), {"content-type": "application/x-www-form-urlencoded"}),
        (json.dumps(NEW), {}),
        (f"key={KEY}", {"content-type": "application/x-www-form-urlencoded"}),
        (json.dumps(NEW).encode("utf-16"), {"content-type": "application/json"}),
        (f'{{"key":"{KEY}","priority":{"9" * 5000}}}', {"content-type": "application/json"}),
        (b"\xff" + KEY.encode(), {"content-type": "application/json"}),
        ("", {"content-type": "application/json"}),
        (f'{{"key":"{KEY}","label":"\\ud800","provider":"openai"}}', {"content-type": "application/json"}),
    ],
)
async def test_unreadable_body_is_not_repeated(content: str | bytes, headers: dict[str, str]) -> None:
    surface = Surface()
    with capture_log() as lines:
        answer = await surface.ask("POST", OWN, headers={**headers, **AUTHORIZED}, content=content)
    assert error(answer)[0] in (400, 422)
    assert not leaks(answer.text + "".join(lines))


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "path",
    [
        f"{OWN}/{KEY}",
        f"{OWN}/key_{KEY}",
        f"{OWN}/{KEY}/test",
        f"/api/v1/{KEY}",
        f"/api/v1/ops/tenants/{KEY}/provider-keys",
        f"{OWN}?key={KEY}",
        f"{OWN}?{KEY}=1",
        f"{OWN}?after={KEY}",
        f"{OWN}?limit={KEY}",
        f"/api/v1/models?filter={KEY}",
        f"/api/v1/models?tier={KEY}",
        f"/api/v1/audit?after={KEY}",
    ],
)
async def test_path_is_not_repeated(method: str, path: str) -> None:
    surface = Surface()
    surface.store(stored())
    with capture_log() as lines:
        answer = await surface.ask(method, path)
    error(answer)
    assert not leaks(f"{answer.text}{answer.headers}{''.join(lines)}")


async def test_credential_is_not_repeated() -> None:
    with capture_log() as lines:
        answer = await Surface().ask("GET", OWN, headers={"authorization": f"Bearer {KEY}"})
    assert error(answer)[0] == 401
    assert not leaks(f"{answer.text}{answer.headers}{''.join(lines)}")


@pytest.mark.parametrize("code", list(ErrorCode))
async def test_accepted_key_appears_only_sealed(code: ErrorCode) -> None:
    """Also if the vault refuses, fails or is unreachable: its requests contain the key only sealed."""
    surface = Surface()
    surface.store(stored())
    with capture_log() as lines:
        for subject in (KEY_ADD, KEY_ROTATE, KEY_TRY, KEY_EDIT):
            surface.bus.answers(subject, Refusal(code=code, message="no"))
        refused = [
            await surface.ask("POST", OWN, NEW),
            await surface.ask("POST", f"{OWN}/test", {"provider": "openai", "key": KEY}),
            await surface.ask("POST", f"{OWN}/key_0001/rotate", {"key": KEY}),
        ]
        surface.bus.answers(KEY_ADD, stored())
        stored_now = await surface.ask("POST", OWN, NEW)
    assert stored_now.status_code == 201
    assert len(surface.bus.asked) == 9
    assert not leaks("".join([*(f"{a.text}{a.headers}" for a in [*refused, stored_now]), *lines]))
    assert not any(leaks(request.encode().decode()) for _, request in surface.bus.asked)


async def test_defect_leaks_neither_to_the_client_nor_to_the_log() -> None:
    def broken(_: object) -> KeyTest:
        raise RuntimeError(f"this text holds {KEY}")

    surface = Surface()
    surface.bus.answers(KEY_TRY, broken)
    with capture_log() as lines:
        answer = await surface.ask("POST", f"{OWN}/test", {"provider": "openai", "key": KEY})
    assert error(answer) == (500, "internal_error", None)
    assert any("RuntimeError" in line for line in lines), "the defect is in the log"
    assert answer.headers["x-request-id"] in "".join(lines)
    assert not leaks(answer.text + "".join(lines))


async def test_fastapi_passes_nothing_to_telemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default FastAPI passes each body and its validation errors to any telemetry processor in the process."""
    kept: list[object] = []
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("opentelemetry.trace.get_tracer_provider", lambda: provider)

    async def looking(context: CurrentTenant, body: AddKeyBody) -> dict[str, str]:
        kept.append(get_telemetry_data())
        return {}

    async def bare(body: AddKeyBody) -> dict[str, str]:
        kept.append(get_telemetry_data())
        return {}

    surface = Surface(adapt=lambda app: app.add_api_route("/api/v1/looking", looking, methods=["POST"]))
    monkeypatch.setattr("services.console.tenant_context.is_allowed", lambda *_: True)
    assert (await surface.ask("POST", "/api/v1/looking", NEW)).status_code == 200
    assert kept == [None]
    assert exporter.get_finished_spans() == ()

    usual = FastAPI()
    usual.add_api_route("/bare", bare, methods=["POST"])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=usual), base_url="http://bare.test") as client:
        assert (await client.post("/bare", json=NEW)).status_code == 200
    assert leaks(repr(kept[1])), "the default would keep it: this test can fail"


async def test_fastapi_default_response_would_repeat_the_key() -> None:
    """Without the validation error handler there is a leak, and the tests in this file would find it."""
    usual = FastAPI()

    async def add(body: AddKeyBody) -> None:
        """Never reached."""

    usual.add_api_route("/add", add, methods=["POST"])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=usual), base_url="http://bare.test") as client:
        answer = await client.post("/add", json={"key": KEY})
    assert answer.status_code == 422
    assert leaks(answer.text)


def test_only_known_field_names_are_repeated() -> None:
    for name, output in (
        ("label", "label"),
        ("monthly_limit_usd", "monthly_limit_usd"),
        (KEY, "…"),
        ("hf_A1", "…"),
        ("a" * 41, "…"),
    ):
        problem = problem_from_faults([{"type": "extra_forbidden", "loc": ("body", name), "msg": f"what {name} says"}])
        assert problem.param == output
        assert problem.message == f"{output}: there is no such field"


@pytest.mark.parametrize(("method", "action"), [("POST", "/test"), ("POST", "/revert"), ("DELETE", ""), ("PATCH", "")])
async def test_a_key_of_small_letters_and_digits_in_the_path_reaches_no_service(method: str, action: str) -> None:
    surface = Surface()
    key = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
    response = await surface.ask(method, f"{OWN}/{key}{action}", {"label": "a"} if method == "PATCH" else None)
    assert response.status_code == 404
    assert key not in response.text
    assert surface.bus.asked == []
