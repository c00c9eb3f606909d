"""A secret is found across the pieces of a text, and nearly every piece passes at once."""

import base64
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.secret import Secret
from services.provider_worker.redaction.escapes import EscapeBudget
from services.provider_worker.redaction.joined_text import JoinedText
from services.provider_worker.redaction.secret_forms import HEAD, MARK, SecretForms
from tests.support.canary.written_forms import WRITTEN_FORMS

KEY = "correct-horse.battery~staple+42"
FORMS = SecretForms([Secret(KEY)])


def fed(pieces: list[str]) -> tuple[list[str], str]:
    joined = JoinedText(FORMS, EscapeBudget())
    return [joined.feed(piece) for piece in pieces], joined.flush()


def cut(text: str, places: list[int]) -> list[str]:
    edges = [0, *sorted({place % (len(text) + 1) for place in places}), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(edges)]


texts = st.text(st.sampled_from("abcor-e%&\\ \n2ü"), max_size=12)


@given(
    texts,
    texts,
    st.sampled_from(list(WRITTEN_FORMS.values())),
    st.lists(st.integers(0, 10**6), max_size=20),
    st.booleans(),
)
def test_a_key_that_is_cut_anywhere_is_redacted(before, after, write, places, every) -> None:  # type: ignore[no-untyped-def]
    text = f"{before}|{write(KEY)}|{after}"
    passed, rest = fed(list(text) if every else cut(text, places))
    clean = "".join(passed) + rest
    assert MARK in clean
    # At most the few characters before the first that give a form away are passed on.
    plain = FORMS.redact(text)
    prefix, suffix = plain.split(MARK)
    assert clean.startswith(prefix)
    assert clean.endswith(suffix)
    assert len(clean) <= len(plain) + (HEAD - 1) * 12


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\n  ", "\\n"])
def test_a_key_is_redacted_wherever_a_line_break_divides_it(line_break: str) -> None:
    for form in (KEY, base64.b64encode(KEY.encode()).decode()[: len(KEY) * 8 // 6]):
        for at in range(1, len(form)):
            text = f"a\n|{form[:at]}{line_break}{form[at:]}|\nb"
            for pieces in (list(text), cut(text, list(range(0, len(text), 5))), [text]):
                passed, rest = fed(pieces)
                before, after = ("".join(passed) + rest).split(MARK)
                assert after == "|\nb"
                shown = before.removeprefix("a\n|").replace("\\n", "").translate(dict.fromkeys(b"\r\n \\"))
                assert form.startswith(shown)
                assert len(shown) < HEAD


@pytest.mark.parametrize("case", [str.lower, str.upper])
def test_a_key_in_other_case_is_redacted(case) -> None:  # type: ignore[no-untyped-def]
    written = case("Key-" + KEY)
    joined = JoinedText(SecretForms([Secret("Key-" + KEY)]), EscapeBudget())
    assert MARK in "".join(map(joined.feed, ["the ", *written, "."])) + joined.flush()


@given(st.text(), st.lists(st.integers(0, 10**6), max_size=20))
def test_any_other_text_arrives_whole(text: str, places: list[int]) -> None:
    passed, rest = fed(cut(text, places))
    assert "".join(passed) + rest == text


@given(st.text(st.sampled_from("corret-hs.b%2d\\u06&#;x"), max_size=60), st.lists(st.integers(0, 10**6), max_size=20))
def test_text_that_only_begins_like_the_key_arrives_whole(text: str, places: list[int]) -> None:
    passed, rest = fed(cut(text, places))
    assert "".join(passed) + rest == text


@pytest.mark.parametrize(
    "piece", ["c", "co", "cor", "a cor", "50%", "AT&", "a\\", "correct horse", "C", "orrect-horse", "Y29"]
)
def test_a_piece_that_does_not_look_like_the_key_passes_at_once(piece: str) -> None:
    assert fed([piece]) == ([piece], "")


@pytest.mark.parametrize("form", [KEY, KEY.encode().hex(), base64.b64encode(KEY.encode()).decode()])
def test_only_what_may_be_the_key_is_held_back(form: str) -> None:
    joined = JoinedText(FORMS, EscapeBudget())
    assert joined.feed(f"so {form[:6]}") == "so "
    assert joined.holds
    assert joined.feed(" and on") == f"{form[:6]} and on"
    assert not joined.holds
    assert not joined.found


def test_a_key_that_the_end_of_its_text_cuts_off_counts_as_found() -> None:
    joined = JoinedText(FORMS, EscapeBudget())
    joined.feed(f"so {KEY[: len(KEY) * 2 // 3]}")
    assert not joined.found
    assert joined.flush() == MARK
    assert joined.found


def test_text_behind_the_key_follows_it() -> None:
    assert fed(["it is correct-", "horse.battery~", "staple+42, I", " think"]) == (
        ["it is ", "", f"{MARK}, I", " think"],
        "",
    )


def test_the_key_twice_and_then_its_beginning() -> None:
    passed, rest = fed(list(f"{KEY}{KEY} {KEY[:8]}"))
    assert "".join(passed) + rest == f"cor{MARK}cor{MARK} {KEY[:8]}"


def test_the_end_of_the_text_may_not_hold_half_of_a_key() -> None:
    assert fed([f"= {KEY[: len(KEY) // 2]}"]) == (["= "], MARK)
    assert fed([f"= {KEY[:11]}"]) == (["= "], KEY[:11])


@pytest.mark.parametrize("filler", ["\\", "\x00", "\\u005c"])
def test_what_is_held_back_is_bounded(filler: str) -> None:
    joined = JoinedText(FORMS, EscapeBudget())
    joined.feed("corr")
    for _ in range(2_000):
        joined.feed(filler)
    assert len(joined.flush()) < 2_000


def test_a_text_with_more_escapes_than_the_budget_is_searched_as_it_is() -> None:
    budget = EscapeBudget(100)
    joined = JoinedText(FORMS, budget)
    assert joined.feed(f"{KEY} {'%41' * 200}") == f"{MARK} {'%41' * 200}"
    written = WRITTEN_FORMS["percent-encoded in full"](KEY)
    assert JoinedText(FORMS, budget).feed(written) == MARK
