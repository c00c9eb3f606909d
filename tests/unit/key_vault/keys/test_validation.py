"""Validation before a key's test, and masking."""

from datetime import timedelta
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from keyferry.contracts.key import KeyStatus
from keyferry.contracts.providers import PROVIDERS, check_format
from keyferry.contracts.secret import Secret
from keyferry.contracts.service import ErrorCode
from services.key_vault.database.errors import RequestRejected
from services.key_vault.keys import validation
from tests.unit.key_vault.keys.stored_keys import key

OPENAI = "sk-proj-" + "Zq7" * 12 + "A9f2"


@pytest.mark.parametrize(
    ("provider", "text", "says"),
    [
        ("openai", "", "empty"),
        ("openai", "sk-\x00abc", "spaces, line breaks or characters outside ASCII"),
        ("openai", "sk-abc\r\nX-Evil: 1", "spaces, line breaks"),
        ("openai", " sk-abc", "spaces"),
        ("openai", "sk-äbc", "outside ASCII"),
        ("vertex", '{"type":"service_account"}', "credentials file"),
        ("vertex", '{"type": "service_account"}', "credentials file"),
        ("azure", "-----BEGIN PRIVATE KEY-----\nMIIE", "private key"),
        ("custom", "a" * 16_385, "more than 16384 characters"),
    ],
)
def test_implausible_key_is_rejected_without_repeating_it(provider: str, text: str, says: str) -> None:
    with pytest.raises(RequestRejected, match=says) as refused:
        validation.check_plausible(provider, Secret(text))
    assert refused.value.code is ErrorCode.INVALID
    assert "nothing was stored" in refused.value.message
    assert not text or text not in refused.value.message


@pytest.mark.parametrize(
    ("provider", "text", "says"),
    [
        ("openai", "sk-ant-api03-abcdef", "looks like a key of Anthropic, not of OpenAI"),
        ("anthropic", "sk-proj-abcdef", "looks like a key of OpenAI, not of Anthropic"),
        ("anthropic", "sk-abcdef", "looks like a key of OpenAI or DeepSeek, not of Anthropic"),
        ("mistral", "gsk_abcdef", "looks like a key of Groq, not of Mistral"),
        ("openai", "abcdef", "start with sk-…"),
        ("groq", '"gsk_abc"', "in quotes"),
    ],
)
def test_unusual_form_is_taken_with_a_warning(provider: str, text: str, says: str) -> None:
    validation.check_plausible(provider, Secret(text))
    warning = validation.warn_of_format(provider, Secret(text))
    assert warning is not None
    assert says in warning
    assert text not in warning


@pytest.mark.parametrize(
    ("provider", "text"),
    [
        ("deepseek", "sk-0123456789abcdef0123456789abcdef"),
        ("gemini", "AQ.Ab8RN6Example"),
        ("gemini", "AIzaSyExample"),
        ("vertex", "AIzaSyExample"),
        ("vertex", "AQ.Ab8RN6Example"),
        ("vertex", "ya29.a0Example"),
        ("openai", "sk-proj-abc"),
        ("openai", "sk-svcacct-abc"),
        ("openai", "sk-0123456789abcdef0123456789abcdef"),
        ("anthropic", "sk-ant-api03-abc"),
        ("anthropic", "sk-ant-oat01-abc"),
        ("openrouter", "sk-or-v1-abc"),
        ("together", "tgp_v1_abc"),
        ("together", "0123456789abcdef" * 4),
        ("fireworks", "fw_abc"),
        ("fireworks", "Zq7" * 16),
        ("mistral", "Zq7" * 10),
        ("cohere", "Zq7" * 13),
        ("deepinfra", "Zq7" * 10),
        ("perplexity", "pplx-abc"),
        ("huggingface", "hf_abc"),
        ("xai", "xai-abc"),
        ("groq", "gsk_abc"),
        ("azure", "0123456789abcdef" * 2),
        ("azure", "sk-abc"),
        ("bedrock", "ABSKQmVkcm9jaw"),
        ("bedrock", "bedrock-api-key-YmVkcm9jaw"),
        ("bedrock", "AKIAEXAMPLE:secret/with+signs"),
        ("bedrock", "ASIAEXAMPLE:secret:token"),
        ("custom", "sk-ant-abc"),
        ("vllm", "anything"),
        ("ollama", "anything"),
        ("llamacpp", "anything"),
    ],
)
def test_keys_as_the_providers_issue_them_raise_no_warning(provider: str, text: str) -> None:
    assert check_format(provider, text) is None


@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=80),
    st.sampled_from(list(PROVIDERS)),
)
def test_no_prefix_is_reason_to_refuse_a_key(text: str, provider: str) -> None:
    assume(not (text.startswith("{") and text.endswith("}")))
    validation.check_plausible(provider, Secret(text))


def test_any_length_is_plausible() -> None:
    for length in (1, 20, 500):
        validation.check_plausible("openai", Secret("sk-" + "a" * length))


def test_duplicate_key_is_named() -> None:
    with pytest.raises(RequestRejected, match=r"stored already, as key_9 \(spare, disabled\)"):
        validation.check_not_duplicate([key(key_id="key_9", label="spare", status=KeyStatus.DISABLED)])
    with pytest.raises(RequestRejected, match=r"the key that key_9 \(spare\) holds now"):
        validation.check_not_duplicate([key(key_id="key_9", label="spare")], "key_9")
    validation.check_not_duplicate([])


LAB = key(provider="custom").model_copy(update={"name": "lab", "base_url": "https://lab.example/v1"})


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        ({"base_url": "https://other.example/v1"}, ErrorCode.CONFLICT, "already stands for the server of key_1abc"),
        ({"provider": "vllm"}, ErrorCode.CONFLICT, "--name NAME"),
        ({"provider": "openai"}, ErrorCode.INVALID, "no server to name"),
        ({"name": "openai"}, ErrorCode.INVALID, "cannot be called openai"),
        ({"name": "auto"}, ErrorCode.INVALID, "cannot be called auto"),
    ],
)
def test_a_name_stands_for_one_server(changes: dict[str, str], code: ErrorCode, says: str) -> None:
    new = LAB.model_copy(update={"key_id": "key_2abc", **changes})
    with pytest.raises(RequestRejected, match=says) as refused:
        validation.check_server(new, [LAB])
    assert refused.value.code is code


def test_a_second_server_without_a_name_needs_one() -> None:
    first = LAB.model_copy(update={"name": None})
    new = first.model_copy(update={"key_id": "key_2abc", "base_url": "https://other.example/v1"})
    with pytest.raises(RequestRejected, match="custom, without a name, already stands for the server of key_1abc"):
        validation.check_server(new, [first])


@pytest.mark.parametrize(
    "changes",
    [
        {"key_id": "key_2abc"},
        {"key_id": "key_2abc", "name": "shop", "base_url": "https://other.example/v1"},
        {"key_id": "key_2abc", "name": None, "base_url": "https://other.example/v1"},
        {"base_url": "https://moved.example/v1"},
        {"key_id": "key_2abc", "name": None, "provider": "openai"},
    ],
    ids=["another key of the server", "another name", "no name", "the same key", "another provider"],
)
def test_different_names_and_several_keys_of_a_server_are_fine(changes: dict[str, str]) -> None:
    validation.check_server(LAB.model_copy(update=changes), [LAB])


@pytest.mark.parametrize(
    ("provider", "allowed", "listed", "unlisted"),
    [
        ("custom", ["llama", "lab/phi", "nosuch"], ["llama", "phi"], ["nosuch"]),
        ("custom", ["llama"], [], []),
        ("custom", None, ["llama"], []),
        ("openai", ["gpt-4o", "openai/gpt-4o-mini", "gpt-99"], ["gpt-4o", "gpt-4o-mini"], ["gpt-99"]),
        ("anthropic", ["claude-opus-4-5"], ["claude-opus-4-5-20251101"], []),
        ("together", ["llama-3.3-70b"], ["meta-llama/Llama-3.3-70B-Instruct-Turbo"], []),
    ],
)
def test_models_that_the_provider_does_not_list_are_found(
    provider: str, allowed: list[str] | None, listed: list[str], unlisted: list[str]
) -> None:
    name = "lab" if provider == "custom" else None
    found = key(provider=provider, allowed_models=allowed).model_copy(update={"models": listed, "name": name})
    assert validation.find_unlisted(found) == unlisted
    if provider == "custom" and unlisted:
        with pytest.raises(RequestRejected, match="does not list nosuch, so nothing was stored; it lists llama, phi"):
            validation.check_models(found)
    else:
        validation.check_models(found)


def test_a_key_is_tested_with_the_model_of_its_server() -> None:
    assert validation.choose_test_model(LAB.model_copy(update={"allowed_models": ["lab/llama"]})) == "llama"


def test_masked_key_shows_prefix_and_tail() -> None:
    assert validation.mask("openai", Secret(OPENAI)) == "sk-proj-…A9f2"
    assert validation.mask("openai", Secret("sk-" + "b" * 40 + "A9f2")) == "sk-…A9f2"
    assert validation.mask("custom", Secret("0123456789" * 4)) == "012…6789"


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=80), st.sampled_from(list(PROVIDERS)))
def test_at_most_a_third_of_a_key_is_shown(text: str, provider: str) -> None:
    shown = validation.mask(provider, Secret(text))
    head, _, tail = shown.partition("…") if "…" not in text else ("", "", "")
    assert len(head) + len(tail) <= len(text) // 3
    assert len(head) <= 8
    assert len(tail) <= 4
    assert text.startswith(head)
    assert text.endswith(tail)


def test_keys_are_listed_in_the_order_of_their_use() -> None:
    first = key(key_id="key_a", priority=10)
    heavy = key(key_id="key_b", weight=5)
    older = key(key_id="key_c").model_copy(update={"created_at": heavy.created_at - timedelta(days=1)})
    later = key(key_id="key_d")
    other = key(key_id="key_e", provider="anthropic", priority=1000)
    shuffled = [first, heavy, older, later, other]
    Random(7).shuffle(shuffled)
    assert [item.key_id for item in validation.sort_by_use(shuffled)] == ["key_e", "key_a", "key_b", "key_c", "key_d"]


def test_restricted_key_is_tested_with_an_allowed_model() -> None:
    assert validation.choose_test_model(key()) == PROVIDERS["openai"].test_model
    assert validation.choose_test_model(key(allowed_models=["openai/gpt-5", "gpt-4o"])) == "gpt-5"
    assert validation.choose_test_model(key(provider="azure")) is None
