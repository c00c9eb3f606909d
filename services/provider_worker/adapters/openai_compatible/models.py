"""How models of one provider differ in what a request may hold, derived from their names. Pure.

Sources: the OpenAI guide to reasoning models and the model pages ("Unsupported parameter: 'max_tokens' is not supported
with this model. Use 'max_completion_tokens' instead"), the xAI guide to reasoning ("presencePenalty, frequencyPenalty and
stop parameters are not supported by reasoning models"), the Groq guide to reasoning, the DeepSeek guide to thinking.
"""

import re

from services.provider_worker.adapters.openai_compatible.capabilities import ModelDifferences
from services.provider_worker.adapters.response.json_text import JsonObject, as_object

_REASONING = re.compile(r"(?:^|/)(?:o\d|gpt-5)(?!.*chat)")
_SAMPLES_WITHOUT_EFFORT = re.compile(r"(?:^|/)gpt-5\.[1-9]")
_NO_REASONING = re.compile(r"(?:^|/)(?:gpt-3\.5|gpt-4|chatgpt-4o)")
_SAMPLING = frozenset(
    {"temperature", "top_p", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "logit_bias"}
)
_NO_STOP = re.compile(r"(?:^|/)(?:o3|o4-mini|gpt-5)")
_GROK_REASONING = re.compile(r"grok-(?:3-mini|4|code)(?!.*non-reasoning)")
_GROK_EFFORT = re.compile(r"grok-3-mini|grok-4[.-]([3-9]|[12]\d)(?!\d)(?!.*non-reasoning)")
_SEARCHES = re.compile(r"search-preview|search-api")
_GROQ_NO_REASONING = re.compile(r"llama|gemma|whisper|mixtral|allam|kimi-k2-instruct")
_GROQ_EFFORTS = {"qwen3": ("none", "default"), "gpt-oss": ("low", "medium", "high")}
"""Source: the Groq guide to reasoning, "Options for reasoning effort"."""
_GROQ_TIERS = ("auto", "on_demand", "flex", "performance")
_DEEPSEEK_THINKS = re.compile(r"reasoner|-v4|-r1")


def openai_differences(document: JsonObject, model: str) -> ModelDifferences:
    """Return how a model of OpenAI's differs. An Azure deployment counts as the model that it is named after."""
    effort = document.get("reasoning_effort")
    if not _REASONING.search(model):
        none = frozenset[str]()
        refused = frozenset({"reasoning_effort"}) if _NO_REASONING.search(model) else none
        return ModelDifferences(refused | (_SAMPLING | {"n"} if _SEARCHES.search(model) else none))
    samples = _SAMPLES_WITHOUT_EFFORT.search(model) and effort in (None, "none")
    refused = frozenset[str]() if samples else _SAMPLING
    if _NO_STOP.search(model):
        refused |= {"stop"}
    if effort in _efforts_refused(model):
        refused |= {"reasoning_effort"}
    return ModelDifferences(refused, {"max_tokens": "max_completion_tokens"}, thinks=True)


def _efforts_refused(model: str) -> tuple[str, ...]:
    """Return the efforts that a reasoning model of OpenAI's does not take.

    Source: the OpenAI API reference, `reasoning_effort`, and the API's error "Unsupported value: 'reasoning_effort' does not
    support 'minimal' with this model. Supported values are: 'none', 'low', 'medium', and 'high'".
    """
    if re.search(r"gpt-5-pro", model):
        return ("none", "minimal", "low", "medium", "xhigh")
    if _SAMPLES_WITHOUT_EFFORT.search(model):
        return ("minimal", "xhigh") if re.search(r"gpt-5\.1(?!-codex-max)", model) else ("minimal",)
    if "gpt-5" in model:
        return ("none", "xhigh")
    return ("none", "minimal", "xhigh")


def xai_differences(document: JsonObject, model: str) -> ModelDifferences:
    """Return how a Grok model differs."""
    refused = frozenset[str]()
    if _GROK_REASONING.search(model):
        refused |= {"presence_penalty", "frequency_penalty", "stop"}
    if "grok" in model and not _GROK_EFFORT.search(model):
        refused |= {"reasoning_effort"}
    return ModelDifferences(refused)


def groq_differences(document: JsonObject, model: str) -> ModelDifferences:
    """Return how a model at Groq differs."""
    refused = frozenset[str]()
    if _GROQ_NO_REASONING.search(model) and "deepseek-r1" not in model:
        refused |= {"reasoning_effort"}
    if document.get("service_tier") not in (None, *_GROQ_TIERS):
        refused |= {"service_tier"}
    effort = document.get("reasoning_effort")
    if effort is not None and any(name in model and effort not in takes for name, takes in _GROQ_EFFORTS.items()):
        refused |= {"reasoning_effort"}
    if document.get("tools") and as_object(document.get("response_format")).get("type") == "json_object":
        # "json mode cannot be combined with tool/function calling"
        refused |= {"response_format"}
    return ModelDifferences(refused)


def mistral_differences(document: JsonObject, model: str) -> ModelDifferences:
    """Return what a request to Mistral cannot hold: "top_p must be 1 when using greedy sampling"."""
    return ModelDifferences(dropped=frozenset({"top_p"} if document.get("temperature") == 0 else ()))


def deepseek_differences(document: JsonObject, model: str) -> ModelDifferences:
    """Return whether a DeepSeek model thinks: by its name, or because the request turns it on."""
    own = as_object(document.get("thinking")).get("type")
    effort = document.get("reasoning_effort")
    asked = own == "enabled" or (own is None and effort not in (None, "none"))
    thinks = own != "disabled" and (asked or (_DEEPSEEK_THINKS.search(model) is not None and effort != "none"))
    forced = document.get("tool_choice") not in (None, "auto", "none")
    return ModelDifferences(frozenset({"tool_choice"}) if thinks and forced else frozenset(), thinks=thinks)
