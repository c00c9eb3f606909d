"""A secret is found in whatever form it is written, and nothing else is."""

import base64
import pickle
import secrets
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.secret import Secret
from services.provider_worker.redaction.secret_forms import MARK, MIN_CHARACTERS, RUN, SecretForms
from tests.support.canary.searcher import Canary, Searcher
from tests.support.canary.written_forms import WRITTEN_FORMS
from tests.support.repository.files import ROOT

PASSPHRASE = "correct-horse.battery~staple+42"
KEYS = {
    "passphrase": PASSPHRASE,
    "OpenAI": "sk-proj-" + secrets.token_urlsafe(48),
    "Azure": secrets.token_hex(16),
    "AWS": secrets.token_urlsafe(25) + "+/" + secrets.token_urlsafe(5),
    "JWT": ".".join(("eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9", secrets.token_urlsafe(90), secrets.token_urlsafe(64))),
    "short": "pa55word",
    "quoting": "a\"b\\c%41d&amp;e<f>g'h/i",
}
WORDS = (ROOT / "docs" / "security.md").read_text()


@pytest.mark.parametrize("write", WRITTEN_FORMS.values(), ids=WRITTEN_FORMS)
@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
@pytest.mark.parametrize("around", [("", ""), ("the key ", " is wrong"), ('{"a":"', '\\n"}'), ("x=", "&y=%20")])
def test_every_form_is_replaced_by_a_mark(key: str, write: Callable[[str], str], around: tuple[str, str]) -> None:
    forms = SecretForms([Secret(key)])
    before, after = around
    for clean in (forms.redact(f"{before}{write(key)}{after}"), forms.redact_message(f"{before}{write(key)}{after}")):
        assert MARK in clean
        assert clean.startswith(before)
        assert clean.endswith(after)
        assert write(key) not in clean
    if len(key) >= 24 and key.replace("-", "").isalnum():
        searcher = Searcher([Canary("key", key)])
        assert not searcher.found(forms.redact(f"{before}{write(key)}{after}").encode())


SPELLED_OUT: Mapping[str, Callable[[str], str]] = {
    "spaced": " ".join,
    "with hyphens": "-".join,
    "in groups": lambda key: " ".join(key[at : at + 4] for at in range(0, len(key), 4)),
    "bytes of a dump": lambda key: " ".join(f"{code:02x}" for code in key.encode()),
    "bytes with colons": lambda key: ":".join(f"{code:02X}" for code in key.encode()),
    "quoted-printable": lambda key: "".join(f"={code:02X}" for code in key.encode()),
    "reversed": lambda key: key[::-1],
    "other case": str.swapcase,
    "title case": str.title,
    "base64 twice": lambda key: base64.b64encode(base64.b64encode(key.encode())).decode(),
    "base64 of a header": lambda key: base64.b64encode(b"Basic " + base64.b64encode(f"user:{key}".encode())).decode(),
}
TWICE = (SPELLED_OUT["base64 twice"], SPELLED_OUT["base64 of a header"])
"""Searched for in errors only."""


@pytest.mark.parametrize("write", SPELLED_OUT.values(), ids=SPELLED_OUT)
@pytest.mark.parametrize("name", ["passphrase", "OpenAI", "Azure", "AWS", "JWT"])
def test_a_key_that_is_spelled_out_is_replaced_in_names_and_errors(name: str, write: Callable[[str], str]) -> None:
    forms = SecretForms([Secret(KEYS[name])])
    searched = [text for key in (KEYS[name], write(KEYS[name])) if len(text := _letters(key)) >= 12]
    written = f"<{write(KEYS[name])}>"
    for clean in (forms.redact_message(written), *([] if write in TWICE else [forms.redact_name(written)])):
        assert MARK in clean
        assert clean.startswith("<")
        assert clean.endswith(">")
        rest = _letters(clean.replace(MARK, "|"))
        assert not any(text[at : at + len(text) // 2] in rest for text in searched for at in range(len(text) // 2))


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.lower()))


@pytest.mark.parametrize("key", ["a-b-c-d-e-f-1", "deepseek", "anthropic-key"])
def test_names_that_share_a_word_with_a_key_stay(key: str) -> None:
    forms = SecretForms([Secret(key)])
    for model in ("deepseek-chat", "anthropic/claude", "abcdef", "a b c", WORDS[:200]):
        assert forms.redact_name(model) == model


PROSE = "Some answer of several lines.\nIt is longer than any name.\n" * 10
BREAKABLE = [name for name in KEYS if name not in ("short", "quoting")]


@pytest.mark.parametrize("name", BREAKABLE)
@pytest.mark.parametrize("case", [str.lower, str.upper])
def test_a_key_in_other_case_is_replaced(name: str, case: Callable[[str], str]) -> None:
    forms = SecretForms([Secret(KEYS[name])])
    assert forms.redact(f"{PROSE}{case(KEYS[name])}\n") == f"{PROSE}{MARK}\n"


@pytest.mark.parametrize("name", BREAKABLE)
@pytest.mark.parametrize(
    "line_break", ["\n", "\r\n", "\n    ", "\r\n  ", "\\n", "\\\\n", "&#10;", "\N{ZERO WIDTH SPACE}"]
)
def test_a_key_is_replaced_wherever_one_line_break_divides_it(name: str, line_break: str) -> None:
    key = KEYS[name]
    forms = SecretForms([Secret(key)])
    for form in (key, base64.b64encode(key.encode()).decode().rstrip("=")):
        for at in range(1, len(form), 1 + len(form) // 40):
            clean = forms.redact(f"{PROSE}key: {form[:at]}{line_break}{form[at:]}, {PROSE}")
            assert clean.startswith(f"{PROSE}key: {MARK}"), at
            assert clean.endswith(f", {PROSE}")


@pytest.mark.parametrize("length", [64, 70, 72, 76])
@pytest.mark.parametrize("name", BREAKABLE)
def test_a_key_in_the_lines_of_an_encoded_document_is_replaced(name: str, length: int) -> None:
    key = KEYS[name]
    forms = SecretForms([Secret(key)])
    for before in range(90):
        encoded = base64.b64encode(f"{'x' * before}{key}{'y' * 30}".encode()).decode()
        lines = "\n".join(encoded[at : at + length] for at in range(0, len(encoded), length))
        assert MARK in forms.redact(f"{PROSE}{lines}\n{PROSE}")


ESCAPES = ("%{:02X}", "%{:02x}", "\\u00{:02x}", "\\\\u00{:02X}", "\\x{:02x}", "&#{};", "&#x{:x};", "%25{:02x}")


@given(st.lists(st.none() | st.sampled_from(ESCAPES), min_size=len(PASSPHRASE), max_size=len(PASSPHRASE)))
def test_each_character_may_be_written_in_its_own_way(escapes: list[str | None]) -> None:
    written = "".join(
        character if escape is None else escape.format(ord(character))
        for escape, character in zip(escapes, PASSPHRASE, strict=True)
    )
    forms = SecretForms([Secret(PASSPHRASE)])
    assert forms.redact(f"<{written}>") == f"<{MARK}>"
    assert forms.redact_message(f"<{written}>") == f"<{MARK}>"


@pytest.mark.parametrize("name", [name for name in KEYS if name not in ("short", "quoting")])
def test_three_quarters_of_a_key_are_replaced_and_a_half_is_not_in_answers(name: str) -> None:
    key = KEYS[name]
    forms = SecretForms([Secret(key)])
    length = len(key)
    for start in (0, length // 8, length // 4):
        piece = key[start : start + -(-3 * length // 4)]
        assert forms.redact(f"<{piece}>") == f"<{MARK}>"
    assert forms.redact(key[: length // 2]) == key[: length // 2]


@given(st.integers(0, len(PASSPHRASE) - RUN), st.sampled_from([str, str.upper, str.lower]))
def test_a_run_of_a_key_is_replaced_in_errors(start: int, case: Callable[[str], str]) -> None:
    forms = SecretForms([Secret(PASSPHRASE)])
    run = case(PASSPHRASE[start : start + RUN])
    assert forms.redact_message(f"<{run}>") == f"<{MARK}>"
    assert forms.redact_message(f"<{run[1:]}>") == f"<{run[1:]}>"


@pytest.mark.parametrize(
    "key",
    [
        "",
        "x",
        "sk",
        "EMPTY",
        "none",
        "ollama",
        "sk-1234",
        "lm-studio",
        "NOT-NEEDED",
        "00000000",
        "xxxxxxxxxxxxxxxxxxxx",
    ],
)
def test_placeholders_and_short_keys_are_not_searched_for(key: str) -> None:
    forms = SecretForms([Secret(key)])
    text = f"{key} is {key}"
    assert not forms
    assert forms.redact(text) == forms.redact_message(text) == text


@pytest.mark.parametrize("key", ["deepseek", "swordfish", "anthropic-key", "12345678901234567890"])
def test_a_key_that_is_a_word_or_a_number_stays_in_answers_and_not_in_errors(key: str) -> None:
    forms = SecretForms([Secret(key)])
    assert forms.redact(f"a {key} b") == f"a {key} b"
    assert forms.redact_message(f"a {key} b") == f"a {MARK} b"


@pytest.mark.parametrize("name", [name for name in KEYS if name != "short"])
def test_ordinary_text_stays_as_it_is(name: str) -> None:
    """Random digits hold a run of eight of a key now and then, which is replaced in errors: one in some hundred such texts."""
    forms = SecretForms([Secret(KEYS[name])])
    for text in (WORDS, secrets.token_urlsafe(50_000), secrets.token_hex(50_000)):
        assert forms.redact(text) == text
    assert forms.redact_message(WORDS) == WORDS


@given(st.text())
def test_any_text_stays_as_it_is(text: str) -> None:
    forms = SecretForms([Secret(PASSPHRASE)])
    assert forms.redact(text) == forms.redact_message(text) == text


def test_several_secrets_are_searched_for_at_once() -> None:
    forms = SecretForms([Secret("x"), Secret(KEYS["Azure"]), Secret(KEYS["OpenAI"])])
    assert forms.redact(f"{KEYS['OpenAI']}, {KEYS['Azure']}") == f"{MARK}, {MARK}"


def test_forms_cannot_be_printed_or_pickled() -> None:
    forms = SecretForms([Secret(PASSPHRASE)])
    assert PASSPHRASE not in f"{forms} {forms!r}"
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(forms)
    assert MIN_CHARACTERS == 8
