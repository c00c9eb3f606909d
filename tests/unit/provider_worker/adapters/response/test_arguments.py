"""The arguments of a tool call stay one JSON object, wherever its text is cut and whatever follows it."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.provider_worker.adapters.response.arguments import ArgumentsFilter, first_object

VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(alphabet='a"\\{}[]\n é', max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text('k"\\{}', max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text('k"\\{}', max_size=3), VALUES, max_size=4)
CUTS = st.lists(st.integers(0, 200), max_size=6)
AFTER = st.sampled_from(["", '""', "{}", " \n", "null", '{"b":2}', "}", '"', "garbage\\"])


def filtered(text: str, cuts: list[int]) -> tuple[str, ArgumentsFilter]:
    bounds = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    kept = ArgumentsFilter()
    passed = "".join(kept.feed(text[start:end]) for start, end in pairwise(bounds))
    return passed + kept.take_rest(), kept


@given(OBJECTS, CUTS, AFTER, st.sampled_from([None, 1]))
def test_a_complete_object_passes_and_nothing_after_it(
    value: dict[str, object], cuts: list[int], after: str, indent: int | None
) -> None:
    text = json.dumps(value, indent=indent)
    passed, kept = filtered(text, cuts)
    assert json.loads(passed) == value
    assert kept.complete
    if value:
        passed, _ = filtered(text + after, [*cuts, len(text)])
        assert json.loads(passed) == value
        assert first_object(text) == text
        assert json.loads(first_object(text + after)) == value


TEXTS = st.text().filter(lambda text: text.strip() and not text.strip().startswith(("{", '"', "null")))
"""Neither blank, which is no arguments, nor perhaps arguments that were encoded twice."""


@given(st.one_of(st.integers(), st.lists(VALUES), TEXTS).map(json.dumps))
def test_what_is_no_object_is_left_alone(text: str) -> None:
    kept = ArgumentsFilter()
    assert kept.feed(text) + kept.take_rest() == text
    assert first_object(text) == text
    assert not kept.complete


@given(OBJECTS, st.integers(1, 50))
def test_an_object_that_is_cut_off_passes_as_it_came(value: dict[str, object], end: int) -> None:
    text = json.dumps(value)[:-1][:end]
    passed, kept = filtered(text, [1, 2])
    assert passed == text
    assert not kept.complete


@pytest.mark.parametrize(
    "text", ['{"a":"\\n"}', '{"a":"\\\\"}', '{"a":"\\"}"}', '{"\\u0041":"b"}', '{"a":"\\\\\\n","b":{}}']
)
def test_an_escape_that_is_cut_ends_with_its_own_character(text: str) -> None:
    kept = ArgumentsFilter()
    assert "".join(map(kept.feed, text)) == text
    assert kept.complete
    assert kept.feed(text) == ""


@pytest.mark.parametrize("before", ["", " ", '""', "null", "{}", "{ }", "{}{}"])
def test_what_stands_for_no_arguments_yet_is_replaced(before: str) -> None:
    kept = ArgumentsFilter()
    assert kept.feed(before) == ""
    assert kept.feed('{"a":1}') == '{"a":1}'
    assert kept.take_rest() == ""


def test_many_empty_objects_take_no_stack_and_little_time() -> None:
    assert first_object("{}" * 200_000) == "{}"
    assert first_object("{ }" * 200_000 + '{"a":1}') == '{"a":1}'
    assert first_object("{" * 200_000) == "{" * 200_000


WHOLE = '{"a":1,"city":"Paris","l":[1,{"b":2},{"c":"x\\"y"}],"n":{"a":1}}'


@pytest.mark.parametrize("first", range(1, len(WHOLE)))
def test_pieces_that_repeat_all_before_them_are_joined_once(first: int) -> None:
    kept = ArgumentsFilter()
    pieces = [WHOLE[:end] for end in range(first, len(WHOLE) + 1)]
    assert "".join(kept.feed(piece) for piece in [*pieces, WHOLE]) + kept.take_rest() == WHOLE


@pytest.mark.parametrize("first", range(1, len(WHOLE)))
def test_the_whole_after_a_first_piece_is_its_rest(first: int) -> None:
    kept = ArgumentsFilter()
    passed = kept.feed(WHOLE[:first]) + kept.feed(WHOLE)
    assert passed + kept.take_rest() == WHOLE
    assert kept.complete
    assert kept.take_rest() == ""


@pytest.mark.parametrize(
    "pieces",
    [
        ('{"a":', '{"a":1}}'),
        ('{"a":', '{"a":1', "}}"),
        ('{"a":', '{"a":1}', "}"),
        ('{"a":', '{"a":{"a":', "1}}}"),
        ('{"a":[1,', '{"a":[1,2]}]}'),
        ('{"l":[', '{"l":[]}]}'),
        ('{"', '{": 1}'),
        ('{"a":"', '{"a":"'[:1], '"}'),
    ],
)
def test_an_object_inside_one_that_begins_alike_is_no_repetition(pieces: tuple[str, ...]) -> None:
    kept = ArgumentsFilter()
    assert "".join(map(kept.feed, pieces)) == "".join(pieces)
    assert kept.complete


@pytest.mark.parametrize("nothing", ['""', "null", ' "" ', "\nnull"])
def test_a_null_or_an_empty_text_is_the_empty_object(nothing: str) -> None:
    assert first_object(nothing) == "{}"


@given(OBJECTS, CUTS, st.integers(1, 3))
def test_an_object_in_a_text_is_the_object(value: dict[str, object], cuts: list[int], times: int) -> None:
    text = json.dumps(value)
    for _ in range(times):
        text = json.dumps(text)
    passed, kept = filtered(text, cuts)
    assert json.loads(passed) == json.loads(first_object(text)) == value
    assert kept.complete


@pytest.mark.parametrize("text", ['"Paris"', '"[1]"', '"{"', '"{\\"a\\":', '"\\ud800"', '"' * 3000])
def test_a_text_without_an_object_passes_as_it_came(text: str) -> None:
    passed, kept = filtered(text, list(range(9)))
    assert passed == first_object(text) == text
    assert not kept.complete


def test_a_long_text_is_not_held_back_for_ever() -> None:
    kept = ArgumentsFilter()
    pieces = ['"', *["x" * 1000] * 400]
    assert sum(len(kept.feed(piece)) for piece in pieces) == sum(map(len, pieces))
