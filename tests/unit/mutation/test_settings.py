"""A run over some of the modules changes those alone, and is compared with their accepted survivors alone."""

import tomllib

import pytest

from tests.mutation.settings import is_within, only_changing
from tests.support.repository.files import ROOT

SETTINGS = (ROOT / "tests" / "mutation" / "mutmut.toml").read_text()
ALL = tomllib.loads(SETTINGS)["tool"]["mutmut"]


def paths_of(settings: str) -> list[str]:
    found: list[str] = tomllib.loads(settings)["tool"]["mutmut"]["source_paths"]
    return found


def test_only_the_named_files_and_folders_are_changed() -> None:
    settings = only_changing(["shared/keyferry/pricing", "services/usage_ledger/pricing.py"], SETTINGS)
    assert paths_of(settings) == [
        "keyferry/pricing/book.py",
        "keyferry/pricing/tariff.py",
        "services/usage_ledger/pricing.py",
    ]
    others = tomllib.loads(settings)["tool"]["mutmut"]
    assert others | {"source_paths": ALL["source_paths"]} == ALL


def test_without_names_all_are_changed() -> None:
    assert only_changing([], SETTINGS) == SETTINGS


def test_a_path_without_such_a_module_is_refused() -> None:
    with pytest.raises(ValueError, match="names no module in services/router/app"):
        only_changing(["services/router/app"], SETTINGS)


def test_a_folder_holds_what_is_below_it_and_not_what_begins_alike() -> None:
    assert is_within("services/usage_ledger/pricing.py", ["services/usage_ledger"])
    assert is_within("services/usage_ledger/pricing.py", [])
    assert not is_within("services/usage_ledger/pricing.py", ["services/usage_led", "shared"])
