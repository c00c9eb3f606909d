"""Bodies that are made to cost: huge numbers, numbers that are none, depth, and many values get a clear refusal."""

import pytest

from tests.unit.console.surface import AUTHORIZED, Surface

OWN = "/api/v1"
LARGEST_BODY = 256 * 1024
VALUES = {
    "100,000 digits": b"9" * 100_000,
    "a negative number of 100,000 digits": b"-" + b"9" * 100_000,
    "100,000 decimal places": b"0." + b"3" * 100_000,
    "1e999": b"1e999",
    "an exponent of 100,000 digits": b"1e" + b"9" * 100_000,
    "NaN": b"NaN",
    "-Infinity": b"-Infinity",
    "depth of 100,000": b"[" * 100_000 + b"]" * 100_000,
    "depth of 100,000 without an end": b'{"a":' * 20_000,
    "100,000 nodes": b"[" + b"0," * 100_000 + b"0]",
    "80,000 objects": b"[" + b"{}," * 80_000 + b"{}]",
    "20,000 names": b"{" + b",".join(b'"n%d":0' % number for number in range(20_000)) + b"}",
    "one name 20,000 times": b"{" + b'"n":0,' * 20_000 + b'"n":0}',
}
ROUTES = (
    ("POST", "/budgets", b'{"scope": "tenant", "window": {"rolling_hours": %s}, "limit_usd": "5"}'),
    ("POST", "/budgets", b'{"scope": "tenant", "window": {"calendar": "day"}, "limit_usd": %s}'),
    ("POST", "/client-tokens", b'{"label": "x", "limits": {"rpm": %s}}'),
    ("POST", "/client-tokens", b'{"label": %s}'),
    ("PUT", "/preferences", b'{"scope": "tenant", "preferences": {"temperature": %s}}'),
    ("POST", "/feedback", b'{"request_id": "req_1", "rating": %s}'),
    ("PUT", "/routing/rules/draft", b'{"rules": %s}'),
    ("POST", "/client-tokens", b'{"unknown": %s}'),
    ("POST", "/client-tokens", b"%s"),
)


@pytest.mark.parametrize("value", list(VALUES))
async def test_a_body_that_is_made_to_cost_is_refused_before_a_service_is_asked(value: str) -> None:
    surface = Surface()
    for method, path, body in ROUTES:
        content = body % VALUES[value]
        assert len(content) <= LARGEST_BODY
        headers = {**AUTHORIZED, "content-type": "application/json"}
        response = await surface.ask(method, OWN + path, headers=headers, content=content)
        assert response.status_code in (400, 422), f"{method} {path}: {response.status_code} {response.text[:300]}"
        error = response.json()["error"]
        assert error["code"] in ("invalid_json", "invalid_value", "unknown_field")
        assert len(response.content) < 3000, "what was sent is not repeated"
    assert surface.bus.asked == []
