"""Translates OpenAI's chat request to Anthropic's Messages API.

Source: both API references. Every field of the caller's is translated, neutral, or reported as unsupported: nothing is
dropped silently. Anthropic's own `thinking`, `top_k`, `cache_control` and `output_config` pass unchanged.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from keyferry.contracts.chat import AttemptRun
from services.provider_worker.adapters.anthropic.conversation import Conversation
from services.provider_worker.adapters.anthropic.models import claude_model
from services.provider_worker.adapters.anthropic.thinking import ThinkingTranslator
from services.provider_worker.adapters.anthropic.tools import ToolTranslator
from services.provider_worker.adapters.anthropic.unsupported import UnsupportedFields, bad_field
from services.provider_worker.adapters.openai_format.identifiers import IdentifierRule, opaque_user_id
from services.provider_worker.adapters.openai_format.prepared import ChatRules, prepare_chat
from services.provider_worker.adapters.openai_format.sampling import StopRules, fit_stop
from services.provider_worker.adapters.response.json_text import JsonObject, as_object, as_objects

_READ = frozenset(
    {
        "model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k",
        "stop", "tools", "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort", "thinking", "user",
        "safety_identifier", "metadata", "service_tier", "cache_control", "output_config",
    }
)  # fmt: skip
"""Fields that are translated."""

_NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "n": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "store": (False,),
    "modalities": (["text"],),
    "verbosity": ("medium",),
}
"""Values of OpenAI's fields that ask for nothing but Anthropic's default."""

_ADVICE: Mapping[str, str] = {
    "n": "Anthropic gives one answer to a request; ask several times.",
    "metadata": "Anthropic keeps no metadata but a `user_id`.",
    "seed": "Anthropic has no seed: its answers cannot be repeated.",
}
RULES = ChatRules(call_id=IdentifierRule(128), takes_cache_control=True, restores_thinking=True)
"""Source: Anthropic's Messages API reference, `tool_use.id` (`^[a-zA-Z0-9_-]+$`) and `tools[].name` (`^[a-zA-Z0-9_-]{1,64}$`)."""
_MOST_CACHE_MARKS = 4
"""Source: the API's error "A maximum of 4 blocks with cache_control may be provided"."""
STOP_RULES = StopRules(takes_blank=False)
"""Source: the API's error "stop_sequences: each stop sequence must contain non-whitespace"."""
MAX_USER_ID_CHARACTERS = 256
"""Source: Anthropic's Messages API reference, `metadata.user_id`: a UUID, hash or other opaque id, no name or address."""
_SERVICE_TIERS = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}


@dataclass(frozen=True, slots=True)
class MessagesRequest:
    """The body to send, the dropped fields, and the tool whose arguments are the answer, if there is one."""

    body: JsonObject
    dropped: tuple[str, ...]
    json_tool: str | None
    notes: Mapping[str, str]


def translate_request(run: AttemptRun, document: JsonObject) -> MessagesRequest:
    """Build the Messages request for the caller's `document`. Raises RefusedByAdapter naming the unsupported field."""
    unsupported = UnsupportedFields(drop=run.drop_unsupported)
    prepared = prepare_chat(
        document, RULES, lambda field, why: unsupported.drop_or_reject(field, f"Anthropic does not support it: {why}")
    )
    document = prepared.document
    for name, value in document.items():
        if name not in _READ and value not in (None, [], {}) and value not in _NEUTRAL.get(name, ()):
            unsupported.drop_or_reject(name, _ADVICE.get(name, f"Anthropic has no `{name}`."))
    model = claude_model(run.model)
    conversation = Conversation(unsupported)
    conversation.add_all(prepared.messages, prepared.paths)
    if conversation.prefilled is not None and not model.continues_answers:
        path = conversation.prefilled
        raise bad_field(path, f"This Claude model continues no answer of its own: end `messages` before `{path}`.")
    tools = ToolTranslator(model, unsupported)
    tools.read(document)
    if conversation.prefilled is not None and (tools.output_format is not None or tools.json_tool is not None):
        raise bad_field("response_format", "Claude cannot continue an answer as JSON: end `messages` with the user's.")
    thinking = ThinkingTranslator(model, unsupported)
    body: JsonObject = {"model": run.model, "messages": conversation.messages}
    body |= thinking.fields(document, forced_tool=tools.forced, unthinkable=_find_unthinkable(conversation))
    if conversation.system:
        body["system"] = conversation.system
    body |= tools.fields() or conversation.declare_called_tools()
    body |= _translate_stop(document, unsupported)
    body |= _translate_metadata(document, unsupported)
    body |= _translate_service_tier(document, unsupported)
    body |= _build_output_config(document, tools.output_format, thinking.effort)
    if document.get("cache_control") is not None:
        body["cache_control"] = document["cache_control"]
    _limit_cache_marks(body, unsupported)
    if run.stream:
        body["stream"] = True
    return MessagesRequest(body, unsupported.dropped, tools.json_tool, prepared.notes)


def _limit_cache_marks(body: JsonObject, unsupported: UnsupportedFields) -> None:
    """Keep the marks of cached prefixes within Anthropic's number, unless it is exceeded and that is refused.

    The last ones of the conversation stay, which reach furthest, and those of the tools and the system before it.
    """
    turns = as_objects(body.get("messages"))
    said = [block for turn in turns for block in as_objects(turn["content"]) if "cache_control" in block]
    others = sum("cache_control" in block for name in ("tools", "system") for block in as_objects(body.get(name)))
    excess = len(said) + others + ("cache_control" in body) - _MOST_CACHE_MARKS
    if excess <= 0:
        return
    unsupported.drop_or_reject("cache_control", f"Anthropic takes at most {_MOST_CACHE_MARKS} blocks with it.")
    for block in [*said, *as_objects(body.get("system")), *as_objects(body.get("tools"))]:
        if excess and block.pop("cache_control", None) is not None:
            excess -= 1


def _find_unthinkable(conversation: Conversation) -> str | None:
    """Return why the model cannot be asked to think about this conversation, if it cannot."""
    if conversation.calls_without_thinking:
        return "The tool calls under way were made without thinking, and Claude cannot begin to think in between."
    if conversation.prefilled is not None:
        return "Claude cannot think where `messages` end with the beginning of its answer."
    return None


def _translate_stop(document: JsonObject, unsupported: UnsupportedFields) -> JsonObject:
    stop = document.get("stop")
    sequences = [stop] if isinstance(stop, str) else stop
    if sequences is not None and not isinstance(sequences, list):
        raise bad_field("stop", "`stop` must be a string or a list of strings.")
    fitted = fit_stop(sequences or [], STOP_RULES, unsupported.drop_or_reject)
    return {"stop_sequences": fitted} if fitted else {}


def _translate_metadata(document: JsonObject, unsupported: UnsupportedFields) -> JsonObject:
    metadata = as_object(document.get("metadata"))
    if any(name != "user_id" and value is not None for name, value in metadata.items()):
        unsupported.drop_or_reject("metadata", _ADVICE["metadata"])
    users = (metadata.get("user_id"), document.get("safety_identifier"), document.get("user"))
    user = next((user for user in users if user), None)
    return {} if user is None else {"metadata": {"user_id": opaque_user_id(str(user), MAX_USER_ID_CHARACTERS)}}


def _translate_service_tier(document: JsonObject, unsupported: UnsupportedFields) -> JsonObject:
    tier = document.get("service_tier")
    if tier is None:
        return {}
    known = _SERVICE_TIERS.get(tier) if isinstance(tier, str) else None
    if known is None:
        unsupported.drop_or_reject("service_tier", "Anthropic's service tiers are `auto` and `standard_only`.")
        return {}
    return {"service_tier": known}


def _build_output_config(document: JsonObject, output_format: JsonObject | None, effort: str | None) -> JsonObject:
    own = document.get("output_config")
    if own is not None and not isinstance(own, dict):
        raise bad_field("output_config", "`output_config` must be an object as in Anthropic's Messages API.")
    config: JsonObject = dict(own or {})
    if output_format is not None:
        config["format"] = output_format
    if effort is not None and config.get("effort") is None:
        config["effort"] = effort
    return {"output_config": config} if config else {}
