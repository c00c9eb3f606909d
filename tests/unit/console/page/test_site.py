"""How the page is served: its document, files, encodings, what is not there, and what needs no credential."""

import re
import shutil
from pathlib import Path

import httpx
import pytest

from services.console.page.files import PageFiles
from services.console.sign_in.failures import MESSAGES, SignInFailure, describe_failure, failure_address
from tests.support.built_page import PROGRAM, STYLE, write_page
from tests.unit.console.surface import API_URL, AUTHORIZED, Surface, error

HTML = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.fixture
def surface(tmp_path: Path) -> Surface:
    return Surface(page_dir=write_page(tmp_path / "dist"))


def nonce_of(answer: httpx.Response) -> str:
    [nonce] = re.findall(r"'nonce-([^']+)'", answer.headers["content-security-policy"])
    return str(nonce)


async def get(surface: Surface, path: str, **headers: str) -> httpx.Response:
    return await surface.ask("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    "path", ["/", "/t/acme/usage", "/t/acme/requests/req_1", "/ops/health", "/sign-in", "/welcome", "/auditing"]
)
async def test_every_address_of_the_page_gets_its_document(surface: Surface, path: str) -> None:
    answer = await get(surface, path, **HTML)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "camera=()" in answer.headers["permissions-policy"]
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert f"connect-src 'self' {API_URL};" in policy
    assert f'nonce="{nonce_of(answer)}"' in answer.text
    assert f'"api_url":"{API_URL}"' in answer.text
    assert surface.bus.asked == []


async def test_no_two_documents_have_the_same_nonce(surface: Surface) -> None:
    answers = [await get(surface, "/") for _ in range(20)]
    nonces = {nonce_of(answer) for answer in answers}
    assert len(nonces) == 20
    assert all(len(nonce) >= 22 for nonce in nonces), "128 bits at least"
    assert len({answer.text.replace(nonce_of(answer), "") for answer in answers}) == 1


async def test_a_program_that_asks_for_no_page_gets_none(surface: Surface) -> None:
    for path in ("/nothing", "/t/acme/usage", "/favicon.ico"):
        for headers in ({}, {"accept": "application/json"}, {"accept": "image/avif,*/*"}, {"accept": "text/html;q=0"}):
            assert error(await get(surface, path, **headers)) == (404, "unknown_url", None)


async def test_files_are_kept_for_a_year_and_compressed(surface: Surface) -> None:
    plain = await get(surface, "/assets/app-3c4d.js", accept_encoding="identity")
    assert (plain.status_code, plain.text) == (200, PROGRAM)
    assert plain.headers["content-type"] == "text/javascript; charset=utf-8"
    assert plain.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert plain.headers["vary"] == "accept-encoding"
    assert "content-encoding" not in plain.headers
    zipped = await get(surface, "/assets/app-3c4d.js", accept_encoding="gzip")
    assert (zipped.headers["content-encoding"], zipped.text) == ("gzip", PROGRAM)
    assert int(zipped.headers["content-length"]) < len(PROGRAM)
    head = await surface.ask("HEAD", "/assets/app-3c4d.js", headers={"accept-encoding": "br, gzip"})
    assert (head.headers["content-encoding"], head.content) == ("br", b"")
    assert int(head.headers["content-length"]) == len(PROGRAM) + len("brotli of ")
    assert len({answer.headers["etag"] for answer in (plain, zipped, head)}) == 3
    small = await get(surface, "/assets/app-1a2b.css", accept_encoding="br, gzip")
    assert (small.text, small.headers["content-type"]) == (STYLE, "text/css; charset=utf-8")
    assert not {"vary", "content-encoding"} & set(small.headers)


async def test_a_file_without_a_digest_in_its_name_is_asked_for_again(surface: Surface) -> None:
    icon = await get(surface, "/favicon.svg")
    assert (icon.headers["cache-control"], icon.headers["content-type"]) == ("no-cache", "image/svg+xml")
    again = await get(surface, "/favicon.svg", if_none_match=icon.headers["etag"])
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", icon.headers["etag"])
    assert (await get(surface, "/favicon.svg", if_none_match='"other"')).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        *("/assets/", "/assets/nothing.js", "/assets/app-3c4d.js.br", "/assets/app-3c4d.js.gz", "/assets/app-3c4d.js/"),
        *("/assets/../index.html", "/assets/..%2findex.html", "/assets/%2e%2e/%2e%2e/secret", "/assets//app-3c4d.js"),
        *("/assets/\\..\\secret", "/assets/app-3c4d.js%00", "/assets/secret.js"),
    ],
)
async def test_nothing_but_files_of_the_page_is_under_assets(tmp_path: Path, path: str) -> None:
    folder = write_page(tmp_path / "dist")
    (tmp_path / "secret").write_text("kept")
    (folder / "assets" / "secret.js").symlink_to(tmp_path / "secret")
    surface = Surface(page_dir=folder)
    sent: list[dict[str, object]] = []

    async def send(message: object) -> None:
        assert isinstance(message, dict)
        sent.append(message)

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    # Not by a client, which would resolve such a path before it sends it.
    raw = httpx.URL(f"http://console.test{path}").raw_path if "%" in path else path.encode()
    scope = {
        "type": "http",
        "method": "GET",
        "path": httpx.QueryParams(f"p={path}")["p"] if "%" in path else path,
        "raw_path": raw,
        "query_string": b"",
        "headers": [(b"accept", b"text/html")],
    }
    await surface.middleware(scope, receive, send)
    assert sent[0]["status"] == 404
    assert b"kept" not in b"".join(bytes(each.get("body", b"")) for each in sent[1:])  # type: ignore[call-overload]  # bytes


async def test_the_digest_and_the_document_are_no_files(surface: Surface) -> None:
    for path in ("/.digest", "/index.html", "/index.html.br"):
        assert error(await get(surface, path)) == (404, "unknown_url", None)
    opened = await get(surface, "/index.html", **HTML)
    assert "__CSP_NONCE__" not in opened.text


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["/", "/assets/app-3c4d.js", "/t/acme/usage"])
async def test_other_methods_are_refused(surface: Surface, method: str, path: str) -> None:
    answer = await surface.ask(method, path, headers=HTML, content=b"x" * 1000)
    assert error(answer) == (405, "method_not_allowed", None)
    assert answer.headers["allow"] == "GET, HEAD"


async def test_head_is_answered_like_get_without_a_body(surface: Surface) -> None:
    for path in ("/", "/favicon.svg"):
        head, whole = await surface.ask("HEAD", path, headers={}), await get(surface, path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == whole.headers["content-length"]


async def test_the_page_needs_no_credential_and_takes_no_notice_of_one(surface: Surface) -> None:
    for headers in ({}, AUTHORIZED, {"authorization": "Bearer wrong"}, {"cookie": "sid=kfs_wrong"}):
        assert (await get(surface, "/", **headers)).status_code == 200
    surface.waiting.append("the bus (NATS)")
    assert (await get(surface, "/")).status_code == 200, "it says by itself that the API is away"
    assert error(await get(surface, "/api/v1/session", **HTML))[0] == 401, "the API answers browsers as well"


@pytest.mark.parametrize("path", ["/", "/t/acme/usage"])
async def test_without_a_page_browsers_are_shown_what_to_do(path: str) -> None:
    answer = await get(Surface(), path, **HTML)
    assert answer.status_code == 503
    assert "<code>make page</code>" in answer.text
    assert 'http-equiv="refresh"' in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none';")
    assert answer.headers["retry-after"] == "3"
    assert (await Surface().ask("HEAD", "/", headers={})).content == b""


async def test_without_a_page_a_failed_sign_in_is_explained_and_nothing_repeated() -> None:
    for code in SignInFailure:
        answer = await get(Surface(), failure_address(code, "/t/acme"), **HTML)
        assert 'role="alert"' in answer.text
    for query in ("error=%3Cscript%3E", "error=", "", "error=refused_by_me", "error=refused%00"):
        answer = await get(Surface(), f"/sign-in?{query}", **HTML)
        assert answer.status_code == 503
        assert "alert" not in answer.text


def test_every_code_of_a_failed_sign_in_has_a_text() -> None:
    assert set(MESSAGES) == set(SignInFailure)
    assert all(describe_failure(code.value) for code in SignInFailure)
    assert failure_address(SignInFailure.REFUSED, "/") == "/sign-in?error=refused"
    address = failure_address(SignInFailure.REFUSED, "/t/acme?a=1&error=x")
    assert address == "/sign-in?error=refused&return_to=%2Ft%2Facme%3Fa%3D1%26error%3Dx"


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


async def test_a_new_page_is_served_without_a_restart_and_files_of_the_one_before_with_it(tmp_path: Path) -> None:
    clock, folder = Clock(), tmp_path / "dist"
    files = PageFiles(folder, {}, clock)
    assert await files.current() is None
    write_page(folder)
    assert await files.current() is None, "looked at once a second"
    clock.seconds = 1.1
    page = await files.current()
    assert page is not None
    for number, name in enumerate(("app-new1.js", "app-new2.js"), start=2):
        made = write_page(tmp_path / "dist.new", name=name, digest=str(number))
        shutil.rmtree(folder)
        clock.seconds += 1.1
        assert await files.current() is not None, "the one before, as long as there is no other"
        made.rename(folder)
        clock.seconds += 1.1
        page = await files.current()
        assert page is not None
        assert f"/assets/{name}" in page.files
    assert page is not None
    assert {"/assets/app-new1.js", "/assets/app-new2.js"} <= page.files.keys()
    assert "/assets/app-3c4d.js" not in page.files, "of the last two pages only"


async def test_half_a_page_is_not_served(tmp_path: Path) -> None:
    clock, folder = Clock(), write_page(tmp_path / "dist")
    (folder / "assets" / "app-3c4d.js").unlink()
    files = PageFiles(folder, {}, clock)
    assert await files.current() is None
    (folder / "assets" / "app-3c4d.js").write_text(PROGRAM)
    clock.seconds = 1.1
    assert await files.current() is not None
    (folder / "index.html").write_bytes(b"\xff\xfe")
    clock.seconds = 2.2
    assert await files.current() is not None, "the last whole one"
