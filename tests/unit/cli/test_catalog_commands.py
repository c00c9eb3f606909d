"""What the commands about models and prices make of their options, before anything is sent."""

import pytest

from keyferry.cli.model_options import as_document, given_fields, parse_offering
from keyferry.cli.prices import parse_moment
from keyferry.cli.problem import Problem
from keyferry.contracts.catalog import CatalogModel
from tests.support.router.catalog_edits import model


@pytest.mark.parametrize(
    ("text", "offering"),
    [
        ("openai/gpt-5", {"provider": "openai", "upstream": "gpt-5"}),
        ("openrouter/openai/gpt-5", {"provider": "openrouter", "upstream": "openai/gpt-5"}),
        ("openai/ft:gpt-4o:acme::1", {"provider": "openai", "upstream": "ft:gpt-4o:acme::1"}),
        ("vertex/g,region=europe,eu", {"provider": "vertex", "upstream": "g", "region": "europe", "eu": True}),
    ],
)
def test_an_offering_is_parsed(text: str, offering: dict[str, object]) -> None:
    assert parse_offering(text) == offering


@pytest.mark.parametrize(
    "text", ["", "openai", "openai/", "openai/m,", "openai/m,us", "openai/m,region", "openai/m,EU"]
)
def test_an_offering_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(Problem, match="an offering must read PROVIDER/MODEL"):
        parse_offering(text)


def test_only_options_that_are_given_become_fields() -> None:
    options = {
        "title": "T",
        "maker": None,
        "best_for": (),
        "aliases": ("a", "b"),
        "default": False,
        "model_class": "budget",
    }
    assert given_fields(options) == {"title": "T", "aliases": ["a", "b"], "class": "budget"}


def test_a_model_that_is_read_and_saved_again_is_the_same() -> None:
    saved = model("m", "openai/m", "vertex/m", context_tokens=10, recommended=["coding"], aliases=["n"])
    assert CatalogModel.model_validate(as_document(saved)) == saved


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("2027-01-01", "2027-01-01T00:00:00+00:00"),
        ("2027-01-01 12:30:00Z", "2027-01-01T12:30:00+00:00"),
        ("2027-01-01T12:30+02:00", "2027-01-01T10:30:00+00:00"),
    ],
)
def test_a_moment_is_read_as_the_list_shows_it(text: str, parsed: str) -> None:
    assert parse_moment(text).isoformat() == parsed


@pytest.mark.parametrize("text", ["", "tomorrow", "2027-13-01", "0001-01-01T00:00+14:00"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(Problem, match="is not a time"):
        parse_moment(text)
