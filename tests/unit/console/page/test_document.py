"""What is put into the page's document, and the policy under which browsers show it."""

import base64
import hashlib
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.console.page.document import content_security_policy, encode_config, make_document
from services.console.page.encoding import choose_encoding, matches
from services.console.page.paths import is_page
from tests.support.built_page import INDEX, SCRIPT


def hash_of(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def test_only_inline_programs_have_a_hash() -> None:
    document = make_document(INDEX, {})
    assert document.script_hashes == (hash_of(SCRIPT),)


def test_a_hash_is_of_what_a_browser_reads() -> None:
    html = "<SCRIPT >\r\nlet a;\r\n</SCRIPT ><script nonce='x'>two</script><script src=/a.js></script>"
    assert make_document(html + "<script type=module>x</script>", {}).script_hashes == (
        hash_of("\nlet a;\n"),
        hash_of("two"),
        hash_of("x"),
    )


def test_config_and_nonce_are_filled_in() -> None:
    html = make_document(INDEX, {"api_url": "http://127.0.0.1:8400", "version": "0.1.0"}).render("n0nce").decode()
    assert '<meta property="csp-nonce" nonce="n0nce">' in html
    assert "__" not in html
    [config] = re.findall(r'id="console-config">(.*?)</script>', html)
    assert json.loads(config) == {"api_url": "http://127.0.0.1:8400", "version": "0.1.0"}


@given(st.text())
def test_no_config_can_leave_its_element(text: str) -> None:
    encoded = encode_config({"version": text})
    assert not set("<>&\u2028\u2029") & set(encoded)
    assert json.loads(encoded) == {"version": text}


def test_a_config_that_ends_a_script_stays_data() -> None:
    html = make_document(INDEX, {"version": "</script><script>alert(1)</script><!--"}).render("n").decode()
    assert "alert(1)</script>" not in html
    assert "<!--" not in html


def test_the_policy_has_no_unsafe_word() -> None:
    policy = content_security_policy("n0nce", (hash_of(SCRIPT),), "http://127.0.0.1:8400")
    directives = dict(part.split(" ", 1) for part in policy.split("; "))
    assert directives == {
        "default-src": "'none'",
        "script-src": f"'self' {hash_of(SCRIPT)}",
        "style-src": "'self' 'nonce-n0nce'",
        "img-src": "'self' data:",
        "font-src": "'self'",
        "connect-src": "'self' http://127.0.0.1:8400",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
        "object-src": "'none'",
    }
    assert "connect-src 'self';" in content_security_policy("n", (), None)


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        (None, None),
        ("", None),
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "br"),
        ("GZIP;q=0.5", "gzip"),
        ("br;q=0, gzip", "gzip"),
        ("br;q=0.000,gzip;q=0", None),
        ("br;q=nonsense", None),
        ("identity", None),
        ("xbr, brotli", None),
    ],
)
def test_the_first_encoding_that_the_client_takes_is_chosen(accepted: str | None, expected: str | None) -> None:
    assert choose_encoding(accepted, ("br", "gzip")) == expected
    assert choose_encoding(accepted, ()) is None


@pytest.mark.parametrize(
    ("given_tags", "expected"),
    [(None, False), ('"a"', True), ('W/"a"', True), ('"b", "a"', True), ('"b"', False), ("a", False), ("*", True)],
)
def test_a_known_tag_matches(given_tags: str | None, expected: bool) -> None:
    assert matches(given_tags, '"a"') is expected


def test_the_page_has_every_address_but_those_of_the_api() -> None:
    for path in ("/", "/assets/x.js", "/t/acme/usage", "/ops/health", "/sign-in", "/apis", "/authors", "/v10", "//api"):
        assert is_page(path), path
    for path in ("/api", "/api/v1", "/api/", "/auth", "/auth/login", "/healthz", "/readyz", "/v1/models"):
        assert not is_page(path), path
