"""The file of chains by use case: what it has, and what it is refused for."""

import re

import pytest

from keyferry.contracts.fallback import UseCase
from services.router.fallback.chains import InvalidChains, read_chains
from tests.support.repository.files import ROOT
from tests.support.router.keys_and_prices import catalog

TEXT = (ROOT / "services" / "router" / "fallback" / "chains.toml").read_text(encoding="utf-8")


def is_model(name: str) -> bool:
    return catalog().resolve(name).model is not None


def test_there_is_a_chain_for_every_use_case_and_its_models_are_in_the_catalog() -> None:
    chains = read_chains(TEXT, is_model)
    assert set(chains) == set(UseCase)
    assert all(len(chain.models) >= 3 and len(set(chain.models)) == len(chain.models) for chain in chains.values())


def test_a_chain_continues_with_the_one_that_it_names_each_model_once() -> None:
    chains = read_chains(TEXT, is_model)
    chat, general = chains["chat"].models, chains["general"].models
    assert chat[: len(chat) - len(general)] == ("gpt-5-mini", "claude-haiku-4-5", "gemini-2.5-flash", "mistral-medium")
    assert set(general) <= set(chat)


def test_the_models_of_the_long_context_chain_take_a_million_tokens() -> None:
    for name in read_chains(TEXT, is_model)["long-context"].models:
        model = catalog().resolve(name).model
        assert model is not None
        assert (model.context_tokens or 0) >= 1_000_000


def test_every_model_of_the_privacy_chain_has_an_offering_inside_the_eu() -> None:
    chain = read_chains(TEXT, is_model)["privacy"]
    assert chain.eu_only
    for name in chain.models:
        assert any(offering.eu for offering in catalog().resolve(name).offerings), name


@pytest.mark.parametrize(
    ("pattern", "replacement", "message"),
    [
        (r"reviewed = .*", "", "reviewed"),
        (r"\[chains\.code\]", "[chains.cooking]", "cooking"),
        (r"(?s)\[chains\.budget\].*?(?=\[chains\.privacy\])", "", "there is no chain budget"),
        (r'"codestral"', '"codestral", "gpt-99"', "names gpt-99, which is not in the catalog"),
        (r'"codestral"', '"codestral", "codestral"', "names a model twice"),
        (r'("codestral"\])', r'\1\nthen = "chat"', None),
        (r'("deepseek-chat"\])', r'\1\nthen = "chat"', "general -> chat -> general loop"),
        (r'("codestral"\])', r'\1\nthen = "code"', "code -> code loop"),
        (r"eu_only = true", 'eu_only = true\nthen = "general"', "privacy stays inside the EU, and general"),
        (r"eu_only = true", "eu_only = true\nzero_retention = true", "zero_retention"),
        (r'models = \["claude-sonnet-4-5", "gpt-5", "gemini', 'models = []\nx = ["', "x"),
        (r"\[chains\.code\]", "[chains.code", "not TOML"),
    ],
)
def test_a_broken_file_is_refused_with_the_fault(pattern: str, replacement: str, message: str | None) -> None:
    changed, count = re.subn(pattern, replacement, TEXT, count=1)
    assert count == 1
    if message is None:
        read_chains(changed, is_model)
        return
    with pytest.raises(InvalidChains, match=re.escape(message)):
        read_chains(changed, is_model)
