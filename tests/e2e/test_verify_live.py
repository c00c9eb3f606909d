"""`make verify-live` against a double in the place of a provider: what it finds, and what it says without a key."""

import json
from collections.abc import Iterator
from decimal import Decimal

import pytest

from keyferry.cli.key_importing import VARIABLES
from keyferry.contracts.secret import Secret
from services.router.catalog.reading import read_models
from tests.live import __main__ as verify_live
from tests.live.checks import CheckFailed, CheckResult, ProviderChecks
from tests.live.providers import MODELS
from tests.support.providers.openai_double import crashed, fresh_key, good_reply
from tests.support.providers.upstream import ProviderRequest, Reply, pieces_of, usage
from tests.support.repository.files import ROOT
from tests.support.vault.keyed_system import KeyedSystem

pytestmark = pytest.mark.timeout(300)


def with_tools(request: ProviderRequest) -> Reply:
    """Call the tool of a request that has one, as OpenAI does."""
    if not request.body.get("tools"):
        return good_reply(request)
    function = {"name": "get_tide", "arguments": '{"harbour": "Hamburg"}'}
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
    }
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
        "usage": usage(30, 12),
    }
    return Reply(200, {"content-type": "application/json"}, pieces_of(json.dumps(body).encode()))


@pytest.fixture(scope="module")
def checks(keyed_system: KeyedSystem) -> Iterator[tuple[ProviderChecks, str]]:
    key = keyed_system.provider.issue()
    checks = ProviderChecks(keyed_system.system, "openai", Secret(key), MODELS["openai"])
    yield checks, key
    checks.close()


def test_a_provider_that_works_passes_every_check(
    checks: tuple[ProviderChecks, str], keyed_system: KeyedSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider_checks, key = checks
    monkeypatch.setattr("tests.support.providers.openai_double.good_reply", with_tools)
    mark = keyed_system.provider.mark()
    results = list(provider_checks.run())
    assert [(result.name, result.passed) for result in results] == [
        (name, True) for name in ("chat", "stream", "tools", "embedding", "fallback")
    ], results
    assert all(result.cost_usd > 0 for result in results)
    assert results[2].detail == "30 + 12 tokens"
    assert results[2].cost_usd == Decimal("0.0000117"), "30 * $0.15 + 12 * $0.60 per million"
    assert set(keyed_system.provider.keys_since(mark)) == {key}


def test_a_provider_that_fails_is_reported_by_check(
    checks: tuple[ProviderChecks, str], keyed_system: KeyedSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider_checks, key = checks
    monkeypatch.setattr("tests.live.checks._SECONDS", 3.0)
    keyed_system.provider.deny(key, crashed)
    try:
        found: CheckResult = next(provider_checks.run())
    finally:
        keyed_system.provider.deny(key, None)
    assert (found.name, found.passed) == ("chat", False)
    assert "HTTP 5" in found.detail
    assert key not in found.detail


def test_a_key_that_the_provider_refuses_is_named_without_being_shown(keyed_system: KeyedSystem) -> None:
    key = fresh_key()
    with pytest.raises(CheckFailed, match="the key is not accepted") as refused:
        ProviderChecks(keyed_system.system, "mistral", Secret(key), MODELS["mistral"])
    assert key not in str(refused.value)


def test_without_a_key_it_says_which_variables_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert verify_live.main([], {"HOME": "/"}) == 2
    printed = capsys.readouterr().err
    assert "nothing was verified" in printed
    assert all(name in printed for names in VARIABLES.values() for name in names)


@pytest.mark.parametrize(
    "arguments", [["nobody"], ["--model", "openai"], ["--model", "nobody=x"], ["--model", "openai="]]
)
def test_a_wrong_command_line_is_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        verify_live.main(arguments, {"OPENAI_API_KEY": fresh_key()})


def test_every_provider_with_a_variable_is_verified_with_models_of_the_catalog() -> None:
    folder = ROOT / "services" / "router" / "catalog" / "models"
    catalog = {
        model.id: model for model in read_models({path.name: path.read_text() for path in folder.glob("*.toml")})
    }
    assert MODELS.keys() == VARIABLES.keys()
    for provider, models in MODELS.items():
        for name in filter(None, (models.chat, models.embedding)):
            assert provider in {offering.provider for offering in catalog[name].offerings}, f"{provider} has no {name}"
