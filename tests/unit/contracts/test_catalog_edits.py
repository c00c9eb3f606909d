"""What an operator may write into models and providers: bounded, on one line, and no key."""

from typing import Any

import pytest
from pydantic import ValidationError

from keyferry.contracts.catalog import CatalogModel
from keyferry.contracts.catalog_edits import CatalogEntry, RetireModel, SaveCatalogModel
from keyferry.contracts.provider_edits import SaveProvider

MODEL: dict[str, Any] = {
    "id": "m",
    "maker": "Maker",
    "title": "M",
    "description": "A model.",
    "best_for": ["tests"],
    "class": "budget",
    "capabilities": ["chat"],
    "tier": "free",
    "offerings": [{"provider": "openai", "upstream": "m-1"}],
}
PROVIDER: dict[str, Any] = {"name": "lab", "title": "The Lab", "base_url": "https://lab.example/v1"}
KEY = "sk-proj-abcdefghijklmnop0123456789ABCDEF"
BAD_LINES = ["", "nul\x00", "two\nlines", "\ud800", "x" * 301, KEY, "\u202e"]
BAD_NAMES = ["", "two words", "nul\x00", "é", "x" * 201, KEY]


@pytest.mark.parametrize("field", ["maker", "title", "description"])
@pytest.mark.parametrize("value", BAD_LINES, ids=range(len(BAD_LINES)))
def test_a_line_about_a_model_is_plain(field: str, value: str) -> None:
    with pytest.raises(ValidationError):
        CatalogModel.model_validate(MODEL | {field: value})
    with pytest.raises(ValidationError):
        CatalogModel.model_validate(MODEL | {"best_for": [value]})


@pytest.mark.parametrize("value", BAD_NAMES, ids=range(len(BAD_NAMES)))
def test_a_name_of_a_model_is_printable_ascii_and_no_key(value: str) -> None:
    for changes in (
        {"id": value},
        {"aliases": [value]},
        {"offerings": [{"provider": "openai", "upstream": value}]},
    ):
        with pytest.raises(ValidationError):
            CatalogModel.model_validate(MODEL | changes)
    with pytest.raises(ValidationError):
        RetireModel(id=value)
    with pytest.raises(ValidationError):
        RetireModel(id="m", replacement=value)


@pytest.mark.parametrize(
    "changes",
    [
        {"context_tokens": 0},
        {"context_tokens": -1},
        {"context_tokens": 10**12},
        {"context_tokens": "many"},
        {"max_output_tokens": 1.5},
        {"dimensions": 0},
        {"tier": "gold"},
        {"class": "huge"},
        {"capabilities": []},
        {"capabilities": ["flying"]},
        {"offerings": []},
        {"offerings": [{"provider": "Open AI", "upstream": "m"}]},
        {"offerings": [{"provider": "openai", "upstream": "m", "region": "EU!"}]},
        {"offerings": [{"provider": "openai", "upstream": "m", "price": "1"}]},
        {"offerings": [{"provider": "openai", "upstream": "m"}] * 51},
        {"aliases": [f"a{n}" for n in range(51)]},
        {"best_for": ["x"] * 21},
        {"recommended": ["two words"]},
        {"colour": "red"},
    ],
)
def test_a_model_with_a_wrong_field_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SaveCatalogModel.model_validate({"model": MODEL | changes})


@pytest.mark.parametrize(
    "changes",
    [
        *({"title": value} for value in BAD_LINES),
        {"name": "Lab"},
        {"name": "a.b"},
        {"name": "x" * 64},
        {"base_url": KEY},
        {"api": "soap"},
        {"prefixes": ["s"]},
        {"prefixes": ["two words"]},
        {"prefixes": ["ab"] * 11},
        {"test_model": "two words"},
        {"eu": "perhaps"},
        {"colour": "red"},
    ],
)
def test_a_provider_with_a_wrong_field_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SaveProvider.model_validate(PROVIDER | changes)


def test_an_entry_of_the_view_comes_back_as_it_was() -> None:
    values = {"id": "m", "model": MODEL, "revision": 3, "changed_at": "2026-11-29T12:00:00Z", "changed_by": "operator"}
    entry = CatalogEntry.model_validate(values)
    assert CatalogEntry.decode(entry.encode()) == entry


@pytest.mark.parametrize("value", ["yes", "true", 1])
def test_a_mark_is_true_or_false_and_nothing_like_it(value: object) -> None:
    """Whether an offering is in the European Union must not depend on what a parser takes for true."""
    offering = {"provider": "openai", "upstream": "m-1", "eu": value}
    with pytest.raises(ValidationError):
        CatalogModel.model_validate(MODEL | {"offerings": [offering]})
    with pytest.raises(ValidationError):
        CatalogModel.model_validate(MODEL | {"default": value})
