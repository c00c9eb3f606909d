"""What an attempt carries of the preferences: defaults for the body, where it may be processed, and the site for OpenRouter."""

from typing import Any

from keyferry.contracts.chat import AttemptRun, BodyDefaults, ChatRequest
from keyferry.contracts.preferences import SavedPreferences
from services.router.decide import FreshIds, decide
from tests.support.router.keys_and_prices import at_own_address, platform_key
from tests.support.router.saved_preferences import saved
from tests.unit.router.preferences.test_plan import OPENAI, OPENROUTER, context_of

REQUEST: dict[str, Any] = {
    "request_id": "req_1",
    "tenant": "acme",
    "stream": False,
    "deadline_ms": 60_000,
    "start_by_unix_ms": 4_000_000_000_000,
}


def run_of(model: str, *facts: Any) -> AttemptRun:
    request = ChatRequest(**REQUEST, model=model)
    found = decide(request, context_of(*facts), FreshIds("dec_1", "att_1"), traceparent=None).run
    assert found is not None
    return found


def test_without_preferences_an_attempt_carries_none() -> None:
    run = run_of("gpt-4o", OPENAI)
    assert (run.body_defaults, run.residency, run.key_fields) == (None, None, {})


def test_no_more_tokens_are_added_than_the_model_can_answer_with() -> None:
    many: SavedPreferences = saved(max_tokens=128_000, temperature=0.5)
    limited = run_of("gpt-4o", OPENAI, many).body_defaults
    assert limited == BodyDefaults(temperature=0.5, max_tokens=16_384)
    few = run_of("gpt-4o", OPENAI, saved(max_tokens=1000)).body_defaults
    assert few == BodyDefaults(max_tokens=1000)
    cap = run_of("gpt-4o", OPENAI, saved(max_tokens_per_request=100_000)).body_defaults
    assert cap == BodyDefaults(max_tokens=16_384, most_tokens=100_000)


def test_an_attempt_says_where_it_may_be_processed_and_where_it_would_be() -> None:
    frankfurt = at_own_address(platform_key("bedrock", "key_1", fields={"region": "eu-central-1"}))
    residency = run_of("claude-haiku-4-5", frankfurt, saved(eu_only=True, allowed_regions=["eu"])).residency
    assert residency is not None
    assert (residency.eu_only, residency.eu, residency.region) == (True, True, "eu-central-1")
    assert residency.allowed_regions == [["eu"]]


def test_the_site_goes_to_openrouter_and_to_nobody_else() -> None:
    site = saved(openrouter_site_url="https://example.com", openrouter_site_name="Example")
    assert run_of("openrouter/openai/gpt-4o", OPENROUTER, site).key_fields == {
        "site_url": "https://example.com",
        "site_name": "Example",
    }
    assert run_of("openai/gpt-4o", OPENAI, site).key_fields == {}
    own = platform_key("openrouter", "key_openrouter", fields={"site_name": "Key's", "site_url": "https://key.example"})
    fields = run_of("openrouter/openai/gpt-4o", own, saved(openrouter_site_name="Example")).key_fields
    assert fields == {"site_name": "Example", "site_url": "https://key.example"}
