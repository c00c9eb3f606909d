"""Requests for retired models and at retired providers: refused with the way out, or served by the replacement, and said so."""

from dataclasses import replace
from typing import Any

import pytest

from keyferry.contracts.failure import FailureClass
from keyferry.contracts.key import KeyFacts
from keyferry.contracts.preferences import GivenPreferences, SavePreferences
from keyferry.contracts.provider_edits import AddedProvider, ProviderEntry, install_providers
from keyferry.contracts.providers import PROVIDERS
from keyferry.contracts.route import DropReason
from services.router.catalog.lookup import Catalog
from services.router.catalog.overlay import compose_strictly, providers_in_force
from services.router.planning.context import Plan
from services.router.planning.plan import leads_nowhere, plan
from services.router.preferences.validation import InvalidPreferences, check_preferences
from tests.support.router.catalog_edits import NOW, Operator, model
from tests.support.router.keys_and_prices import key_facts, platform_key
from tests.support.router.retired import asking, context_with
from tests.support.router.rule_sets import rule, tenant_rules
from tests.support.router.saved_preferences import in_force, saved


@pytest.fixture
def operator() -> Operator:
    return Operator()


def planned(operator: Operator, name: str, *keys: KeyFacts, **request: Any) -> Plan:
    return plan(asking(name, **request), context_with(operator.editor.catalog, *keys))


KEYS = (platform_key("openai", "key_openai"), platform_key("mistral", "key_mistral"))


@pytest.mark.parametrize(
    "name", ["second", "two", "openai/second", "openai/second-1", "mistral/two", "second-1-2026-01-31"]
)
def test_a_retired_model_is_refused_under_all_of_its_names(operator: Operator, name: str) -> None:
    operator.retire("second", "third")
    made = planned(operator, name, *KEYS)
    assert made.refusal is not None
    assert made.refusal.failure_class is FailureClass.NOT_FOUND
    assert made.refusal.message == "the operator has retired the model second: use third"
    assert [candidate.reason for candidate in made.candidates][-1] is DropReason.MODEL_RETIRED
    assert leads_nowhere(name, context_with(operator.editor.catalog, *KEYS))


def test_without_a_replacement_the_refusal_names_none(operator: Operator) -> None:
    operator.retire("second")
    refusal = planned(operator, "second", *KEYS).refusal
    assert refusal is not None
    assert refusal.message == "the operator has retired the model second"


@pytest.mark.parametrize("name", ["second", "two", "mistral/second"])
def test_a_replacement_that_answers_says_what_it_replaces(operator: Operator, name: str) -> None:
    operator.retire("second", "third", serve=True)
    made = planned(operator, name, *KEYS)
    assert made.refusal is None
    first = made.candidates[made.order[0]]
    assert (first.provider, first.model, first.replaces) == ("mistral", "third", "second")
    assert first.detail.endswith("; third stands in for second, which is retired")


def test_a_replacement_does_not_answer_at_a_provider_that_lacks_it(operator: Operator) -> None:
    operator.retire("second", "third", serve=True)
    refusal = planned(operator, "openai/second", *KEYS).refusal
    assert refusal is not None
    assert "use third" in refusal.message


def test_a_client_token_that_may_use_the_retired_model_may_use_its_replacement_for_it(operator: Operator) -> None:
    operator.retire("second", "third", serve=True)
    assert planned(operator, "second", *KEYS, allowed_models=["second"]).refusal is None
    direct = planned(operator, "third", *KEYS, allowed_models=["second"]).refusal
    assert direct is not None
    assert direct.failure_class is FailureClass.POLICY


def test_a_tenants_own_deployment_of_that_name_stays_its_own(operator: Operator) -> None:
    operator.save(model("deployed", "azure/deployed", "openai/deployed"))
    operator.retire("deployed")
    made = planned(operator, "azure/deployed", key_facts("azure", "key_azure"))
    assert made.refusal is None


def test_offerings_of_a_retired_provider_are_dropped_with_the_reason(operator: Operator) -> None:
    retired = ProviderEntry(
        name="mistral", retired=True, reason="too slow", revision=1, changed_at=NOW, changed_by="operator"
    )
    operator.providers["mistral"] = retired
    made = planned(operator, "second", *KEYS)
    dropped = [candidate for candidate in made.candidates if candidate.provider == "mistral"]
    assert [candidate.reason for candidate in dropped] == [DropReason.PROVIDER_RETIRED]
    assert dropped[0].detail == "the operator has retired the provider Mistral: too slow"
    assert made.candidates[made.order[0]].provider == "openai"
    alone = planned(operator, "third", *KEYS).refusal
    assert alone is not None
    assert alone.failure_class is FailureClass.POLICY
    assert "the operator has retired the provider Mistral: too slow" in alone.message


def test_the_name_of_an_added_provider_asks_for_its_models() -> None:
    added = AddedProvider(title="Lab", base_url="https://lab.example/v1")
    entry = ProviderEntry(name="lab", added=added, revision=1, changed_at=NOW, changed_by="operator")
    catalog: Catalog = compose_strictly([model("m", "lab/one")], (), providers_in_force([entry]))
    install_providers(PROVIDERS, [entry])
    try:
        made = plan(asking("lab/m"), context_with(catalog, platform_key("lab", "key_lab")))
        unlisted = plan(asking("lab/other"), context_with(catalog, platform_key("lab", "key_lab")))
    finally:
        install_providers(PROVIDERS, ())
    assert [(made.candidates[index].provider, made.candidates[index].model) for index in made.order] == [("lab", "one")]
    assert unlisted.refusal is not None
    assert "the platform's keys are for models of the catalog only" in unlisted.refusal.message
    assert "lab" not in PROVIDERS


def test_a_chain_with_a_retired_model_goes_on_with_its_next_step(operator: Operator) -> None:
    """A retirement touches no rule: those that name the model stay as they were published."""
    operator.retire("second", "first")
    rules = tenant_rules(rule("old", [{"model": "second"}, {"model": "third"}], operation="x"))
    facts = replace(context_with(operator.editor.catalog, *KEYS), rules=rules)
    made = plan(asking("first", operation="x"), facts)
    assert [made.candidates[index].model for index in made.order] == ["third"]
    assert DropReason.MODEL_RETIRED in {candidate.reason for candidate in made.candidates}


def test_a_saved_default_that_is_retired_is_passed_over_with_the_reason(operator: Operator) -> None:
    operator.retire("second", "third")
    facts = replace(context_with(operator.editor.catalog, *KEYS), preferences=in_force(saved(default_model="second")))
    made = plan(asking("default"), facts)
    assert [made.candidates[index].model for index in made.order] == ["first"], "the catalog's default"
    (passed_over,) = [considered for considered in made.models if not considered.planned]
    assert passed_over.model == "second"
    assert "the operator has retired the model second: use third" in passed_over.detail


def test_a_retired_model_is_not_saved_as_a_default(operator: Operator) -> None:
    operator.retire("second", "third")
    facts = context_with(operator.editor.catalog, *KEYS)
    command = SavePreferences(tenant="acme", preferences=GivenPreferences(default_model="second"))
    with pytest.raises(InvalidPreferences, match="default_model: the operator has retired the model second: use third"):
        check_preferences(command, (), lambda _: facts)
