"""Every answer of the HTTP server has the headers that keep a browser from making more of it than data."""

import pytest

from keyferry.runtime.http.security_headers import SECURITY_HEADERS
from tests.support.servers.http_service import PATIENT, http_service

PREFLIGHT = b"Origin: https://page.example\r\nAccess-Control-Request-Method: POST\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"200"),
        (b"GET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", None),
        (b"OPTIONS / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + PREFLIGHT + b"\r\n", None),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20_000 + b"\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"no request\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00", b"400"),
    ],
)
async def test_every_answer_has_the_security_headers(request_bytes: bytes, status: bytes | None) -> None:
    async with http_service(PATIENT) as service:
        answer = await service.exchange(request_bytes)
    head = answer.partition(b"\r\n\r\n")[0]
    assert status is None or head.split(b" ")[1] == status
    lines = head.lower().split(b"\r\n")[1:]
    for name, value in SECURITY_HEADERS:
        assert lines.count(f"{name}: {value}".encode()) == 1
    assert not [line for line in lines if line.startswith((b"server:", b"set-cookie:", b"x-powered-by:"))]
