"""The list of accepted survivors: well-formed, about code that exists, and compared with what a run finds."""

import tomllib
from pathlib import Path

import pytest

from tests.mutation.survivors import (
    Accepted,
    Change,
    change_of,
    changes_only_phrasing,
    parse_accepted,
    review,
    surviving_mutants,
)
from tests.support.repository.files import ROOT

MUTATION = ROOT / "tests" / "mutation"
ACCEPTED = parse_accepted((MUTATION / "accepted.toml").read_text())
SETTINGS = tomllib.loads((MUTATION / "mutmut.toml").read_text())["tool"]["mutmut"]
MUTATED = """
def x_cost__mutmut_orig(count):
    total = count + 1
    return total


def x_cost__mutmut_1(count):
    total = count - 1
    return total


def x_round__mutmut_orig(amount, places=12):
    return amount


def x_round__mutmut_1(amount, places=13):
    return amount


class Tariff:
    def xǁTariffǁ_rate__mutmut_orig(self):
        return self.base

    def xǁTariffǁ_rate__mutmut_2(self):
        return None
"""
CHANGE = Change("services/a/cost.py", "cost", "total = count + 1", "total = count - 1")


def in_repository(path: str) -> Path:
    return ROOT / ("shared" if path.startswith("keyferry/") else "") / path


def test_what_is_changed_and_the_tests_that_are_run_exist() -> None:
    for path in (*SETTINGS["source_paths"], *SETTINGS["pytest_add_cli_args_test_selection"]):
        assert in_repository(path).exists(), path


@pytest.mark.parametrize("entry", ACCEPTED, ids=lambda entry: f"{entry.change.function}: {entry.change.after}")
def test_an_accepted_survivor_is_about_code_that_exists(entry: Accepted) -> None:
    change = entry.change
    assert change.file.removeprefix("shared/") in SETTINGS["source_paths"]
    source = " ".join(line.strip() for line in (ROOT / change.file).read_text().splitlines())
    assert change.before in source, "the code has changed: remove the entry, and run `make mutants`"
    assert f"def {change.function.rpartition('.')[2]}(" in source
    assert len(entry.reason.split()) >= 3


def test_no_survivor_is_accepted_twice() -> None:
    assert len({entry.change for entry in ACCEPTED}) == len(ACCEPTED)


@pytest.mark.parametrize(
    "text", ["[[accepted]]", '[[accepted]]\nfile = "a"\nfunction = "f"\nbefore = "x"\nafter = "y"\nreason = " "\n']
)
def test_an_entry_without_a_reason_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="an accepted survivor has file, function, before, after and reason"):
        parse_accepted(text)


def test_what_no_test_detected_or_reached_survives() -> None:
    results = (
        "    a.x_f__mutmut_1: survived\n    a.x_f__mutmut_2: no tests\n    a.x_f__mutmut_3: timeout\nnoise: here\n"
    )
    assert surviving_mutants(results) == ["a.x_f__mutmut_1", "a.x_f__mutmut_2"]


def test_a_mutant_that_was_not_tried_is_an_error() -> None:
    with pytest.raises(ValueError, match="was not tried: not checked"):
        surviving_mutants("    a.x_f__mutmut_1: not checked\n")


def test_a_change_is_identified_by_its_function_and_its_lines() -> None:
    assert change_of("services.a.cost.x_cost__mutmut_1", "services/a/cost.py", MUTATED) == CHANGE
    default = change_of("services.a.cost.x_round__mutmut_1", "services/a/cost.py", MUTATED)
    assert (default.before, default.after) == ("def round(amount, places=12):", "def round(amount, places=13):")
    method = change_of("services.a.cost.xǁTariffǁ_rate__mutmut_2", "services/a/cost.py", MUTATED)
    assert method == Change("services/a/cost.py", "Tariff._rate", "return self.base", "return None")


@pytest.mark.parametrize(
    ("before", "after", "rephrased"),
    [
        ('raise Refused("no such key")', 'raise Refused("XXno such keyXX")', True),
        ('raise Refused("no such key")', 'raise Refused("NO SUCH KEY")', True),
        ('raise Refused("no such key")', "raise Refused(None)", False),
        ('return "priced"', 'return "PRICED"', False),
        ('check("priced", "no such key")', 'check("PRICED", "no such key")', False),
        ("total = count + 1", "total = count - 1", False),
    ],
)
def test_only_the_phrasing_of_a_sentence_is_no_rule(before: str, after: str, rephrased: bool) -> None:
    assert changes_only_phrasing(Change("a.py", "f", before, after)) is rephrased


def test_a_survivor_is_new_unless_it_is_accepted() -> None:
    other = Change("services/a/cost.py", "cost", "return total", "return None")
    accepted = Accepted(other, "nobody uses the total")
    assert review([CHANGE], []) == ([CHANGE], [])
    assert review([CHANGE, other], [accepted]) == ([CHANGE], [])
    assert review([], [accepted]) == ([], [accepted])
