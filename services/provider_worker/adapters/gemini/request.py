"""Translates an OpenAI chat request to a GenerateContentRequest.

Beside OpenAI's fields a caller may use Gemini's own, in Google's spelling or in snake case: `cached_content`,
`safety_settings`, `thinking_config`, `top_k`, `media_resolution`, `labels`; at the top level, in `google`, or in
`extra_body.google` as in Google's OpenAI layer. Source: the Gemini API reference, `GenerateContentRequest` and
`GenerationConfig`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from services.provider_worker.adapters.gemini.content import MediaRules
from services.provider_worker.adapters.gemini.conversation import ConversationTranslator
from services.provider_worker.adapters.gemini.models import combines_tools, takes_json_schema
from services.provider_worker.adapters.gemini.schema import fill_enumerations, openapi_schema
from services.provider_worker.adapters.gemini.thinking import thinking_config
from services.provider_worker.adapters.gemini.tools import ToolTranslator
from services.provider_worker.adapters.gemini.unsupported import UnsupportedFields, bad_field
from services.provider_worker.adapters.openai_format.identifiers import IdentifierRule
from services.provider_worker.adapters.openai_format.prepared import ChatRules, PreparedChat
from services.provider_worker.adapters.openai_format.sampling import StopRules, fit_stop
from services.provider_worker.adapters.response.json_text import JsonObject, as_object, as_objects, as_text

_SAME = {
    "temperature": "temperature",
    "top_p": "topP",
    "seed": "seed",
    "max_tokens": "maxOutputTokens",
    "max_completion_tokens": "maxOutputTokens",
}
"""OpenAI field -> equivalent field of `generationConfig`. Of the two limits the newer one comes last and wins."""

_NATIVE = {
    "cached_content": "cachedContent",
    "safety_settings": "safetySettings",
    "labels": "labels",
}
_NATIVE_GENERATION = {"top_k": "topK", "thinking_config": "thinkingConfig", "media_resolution": "mediaResolution"}
_BY_GOOGLES_NAME = {google: ours for ours, google in (_NATIVE | _NATIVE_GENERATION).items()}

_UNSUPPORTED: Mapping[str, tuple[tuple[object, ...], str]] = {
    "parallel_tool_calls": ((True,), "the model may always call several functions at once."),
    "logit_bias": (({},), "there is no bias per token."),
    "store": ((False,), "nothing is stored at the provider."),
    "user": ((), "there is no field for the end user."),
    "safety_identifier": ((), "there is no field for the end user."),
    "prompt_cache_key": ((), "prompts are cached by their beginning; for an explicit cache use `cached_content`."),
    "prompt_cache_retention": (("in_memory",), "for a cache with a lifetime use `cached_content`."),
    "prediction": ((), "there are no predicted outputs."),
    "verbosity": (("medium",), "say in the prompt how long the answer should be."),
    "audio": ((), "speech is not available over this interface."),
}
"""OpenAI's fields without a counterpart: the values that ask for nothing, and what to do instead."""

_HANDLED = frozenset(
    {
        "model", "messages", "stream", "stream_options", "stop", "presence_penalty", "frequency_penalty", "logprobs",
        "top_logprobs", "n", "tools", "tool_choice", "response_format", "reasoning_effort", "service_tier", "modalities",
        "metadata", "web_search_options", "google", "extra_body",
    }
)  # fmt: skip

CHAT_RULES = ChatRules(function_name=IdentifierRule(64, characters="a-zA-Z0-9_.-", first="a-zA-Z_"), schema_name=None)
"""Source: the Gemini API reference, `FunctionDeclaration.name`, and the API's error "Invalid function name. Must start with a
letter or an underscore"."""
_STOP_RULES = StopRules(most=5)
"""Source: the Gemini API reference, `GenerationConfig.stopSequences`: "up to 5"."""
_MOST_CANDIDATES = 8
_TIERS = {"default": "standard", "flex": "flex", "priority": "priority"}
_RESOLUTIONS = {"low": "MEDIA_RESOLUTION_LOW", "high": "MEDIA_RESOLUTION_HIGH"}
_LABEL = re.compile(r"[a-z0-9_-]{0,63}")
_MOST_LABELS = 64
"""Source: the Vertex AI documentation, "Add labels to API calls"."""


@dataclass(frozen=True, slots=True)
class GeminiTarget:
    """The model and API that the request is for."""

    model: str
    rules: MediaRules
    continues_answers: bool
    """Whether the conversation may end with the beginning of the model's answer. Vertex answers "Requests ending with a model
    turn are not supported" for Gemini 3; AI Studio takes them."""
    takes_labels: bool
    """Whether requests can carry labels (Vertex, for billing)."""


class RequestTranslator:
    """Translates one request body. Every method raises RefusedByAdapter for what it cannot translate."""

    def __init__(self, target: GeminiTarget, unsupported: UnsupportedFields) -> None:
        self._target = target
        self._unsupported = unsupported
        self._generation: JsonObject = {}
        self._request: JsonObject = {}

    def request(self, prepared: PreparedChat) -> JsonObject:
        """Return the GenerateContentRequest for the caller's chat."""
        # Null means absent, as everywhere in OpenAI's API.
        body = {name: value for name, value in prepared.document.items() if value is not None}
        conversation = ConversationTranslator(self._target.model, self._target.rules, self._unsupported).read(
            prepared.messages, prepared.paths
        )
        last = conversation.turns[-1]
        if last.role == "assistant" and not self._target.continues_answers:
            raise bad_field(last.path, "Vertex continues no answer with this model; end `messages` with the user's.")
        self._request["contents"] = conversation.contents
        if conversation.system:
            self._request["systemInstruction"] = {"parts": conversation.system}
        for step in (
            self._translate_sampling,
            self._translate_ends,
            self._translate_tools,
            self._translate_response_format,
            self._translate_effort,
            self._translate_image_detail,
            self._translate_service_fields,
            self._handle_other_fields,
        ):
            step(body)
        self._add_native(self._find_native_fields(body))
        if self._generation:
            self._request["generationConfig"] = self._generation
        return self._request

    def _translate_sampling(self, body: JsonObject) -> None:
        for name, google in _SAME.items():
            if name in body:
                self._generation[google] = body[name]
        for name, google in (("presence_penalty", "presencePenalty"), ("frequency_penalty", "frequencyPenalty")):
            # Models without penalties reject even zero.
            if body.get(name):
                self._generation[google] = body[name]
        if body.get("logprobs"):
            self._generation["responseLogprobs"] = True
            if body.get("top_logprobs"):
                self._generation["logprobs"] = body["top_logprobs"]
        elif body.get("top_logprobs"):
            raise bad_field("top_logprobs", "it needs `logprobs` to be true.")

    def _translate_ends(self, body: JsonObject) -> None:
        """Translate what ends an answer, and how many answers there are."""
        seed = self._generation.get("seed")
        if isinstance(seed, int) and not -(2**31) <= seed < 2**31:
            self._unsupported.drop_or_reject("seed", "it must be an integer of 32 bits.")
            del self._generation["seed"]
        stop, count = body.get("stop"), body.get("n", 1)
        sequences = stop if isinstance(stop, list) else [] if stop is None else [stop]
        stops = fit_stop(sequences, _STOP_RULES, self._unsupported.drop_or_reject)
        if stops:
            self._generation["stopSequences"] = stops
        if isinstance(count, int) and count > _MOST_CANDIDATES:
            self._unsupported.drop_or_reject("n", f"at most {_MOST_CANDIDATES} answers are possible.")
        elif count != 1:
            self._generation["candidateCount"] = count

    def _translate_tools(self, body: JsonObject) -> None:
        reader = ToolTranslator(self._target.model, self._unsupported)
        tools = reader.tools(body.get("tools"))
        config = reader.config(body.get("tool_choice"))
        calls_functions = any("functionDeclarations" in tool for tool in tools)
        search = body.get("web_search_options")
        if search is not None:
            for name, value in as_object(search).items():
                if value is not None and (name, value) != ("search_context_size", "medium"):
                    self._unsupported.drop_or_reject(
                        f"web_search_options.{name[:80]}", "Google's search takes no options."
                    )
            if calls_functions and not combines_tools(self._target.model):
                self._unsupported.drop_or_reject(
                    "web_search_options", "before Gemini 3 it excludes functions in `tools`."
                )
            else:
                tools.append({"googleSearch": {}})
        if tools:
            self._request["tools"] = tools
        if config is not None and calls_functions:
            self._request["toolConfig"] = config
        elif body.get("tool_choice") not in (None, "auto", "none"):
            raise bad_field("tool_choice", "there is no function to choose; send `tools`.")

    def _translate_response_format(self, body: JsonObject) -> None:
        response_format = as_object(body.get("response_format"))
        kind = response_format.get("type")
        if "response_format" not in body or kind == "text":
            return
        if kind not in ("json_object", "json_schema"):
            raise bad_field("response_format.type", "it must be text, json_object or json_schema.")
        if self._request.get("tools") and not combines_tools(self._target.model):
            self._unsupported.drop_or_reject("response_format", "before Gemini 3 it excludes `tools`; send either.")
            return
        self._generation["responseMimeType"] = "application/json"
        if kind == "json_schema":
            schema = as_object(response_format.get("json_schema")).get("schema")
            param = "response_format.json_schema.schema"
            if not isinstance(schema, dict):
                raise bad_field(param, "it must be a JSON schema.")
            schema = fill_enumerations(schema)
            if takes_json_schema(self._target.model):
                self._generation["responseJsonSchema"] = schema
            else:
                self._generation["responseSchema"] = openapi_schema(schema, param)

    def _translate_effort(self, body: JsonObject) -> None:
        if "reasoning_effort" in body:
            config = thinking_config(body["reasoning_effort"], self._target.model, self._unsupported)
            if config is not None:
                self._generation["thinkingConfig"] = config

    def _translate_image_detail(self, body: JsonObject) -> None:
        """Translate `image_url.detail`: models before Gemini 3 have one resolution for all media, so that is what is set."""
        details: dict[str, str] = {}
        for position, message in enumerate(as_objects(body.get("messages"))):
            parts = message.get("content")
            for number, part in enumerate(as_objects(parts) if isinstance(parts, list) else []):
                detail = as_text(as_object(part.get("image_url")).get("detail"))
                if detail not in ("", "auto"):
                    details.setdefault(detail, f"messages[{position}].content[{number}].image_url.detail")
        if not details:
            return
        first, *others = details
        for other in others:
            self._unsupported.drop_or_reject(details[other], "all images of a request have the same resolution.")
        if first in _RESOLUTIONS:
            self._generation["mediaResolution"] = _RESOLUTIONS[first]
        else:
            self._unsupported.drop_or_reject(details[first], "it must be auto, low or high.")

    def _translate_service_fields(self, body: JsonObject) -> None:
        tier = body.get("service_tier", "auto")
        if tier != "auto":
            if isinstance(tier, str) and tier in _TIERS:
                self._request["serviceTier"] = _TIERS[tier]
            else:
                self._unsupported.drop_or_reject("service_tier", "it must be auto, default, flex or priority.")
        modalities = body.get("modalities") or ["text"]
        if modalities != ["text"]:
            if isinstance(modalities, list) and all(modality in ("text", "image") for modality in modalities):
                self._generation["responseModalities"] = [str(modality).upper() for modality in modalities]
            else:
                self._unsupported.drop_or_reject("modalities", "answers are text, or text and images.")
        metadata = body.get("metadata")
        if metadata:
            self._translate_metadata(metadata)

    def _translate_metadata(self, metadata: object) -> None:
        labels = as_object(metadata)
        fits = 0 < len(labels) <= _MOST_LABELS and all(
            isinstance(value, str) and _LABEL.fullmatch(name) and _LABEL.fullmatch(value) and name[:1].isalpha()
            for name, value in labels.items()
        )
        if self._target.takes_labels and fits:
            self._request["labels"] = labels
        elif self._target.takes_labels:
            self._unsupported.drop_or_reject(
                "metadata",
                f"labels are lower-case letters, digits, `-` and `_`, 63 at most, and no more than {_MOST_LABELS}.",
            )
        else:
            self._unsupported.drop_or_reject("metadata", "requests carry no metadata; only Vertex has labels.")

    def _handle_other_fields(self, body: JsonObject) -> None:
        """Drop or reject fields without a counterpart, and unknown fields."""
        for name, (neutral, advice) in _UNSUPPORTED.items():
            if name in body and body[name] not in neutral:
                self._unsupported.drop_or_reject(name, advice)
        known = _HANDLED | _SAME.keys() | _UNSUPPORTED.keys() | _NATIVE.keys() | _NATIVE_GENERATION.keys()
        self._unsupported.reject_unknown(name for name in body if name not in known and name not in _BY_GOOGLES_NAME)

    def _find_native_fields(self, body: JsonObject) -> JsonObject:
        """Return Gemini's own fields of the body, by our names."""
        found = {_BY_GOOGLES_NAME.get(name, name): value for name, value in body.items()}
        extra = as_object(body.get("extra_body"))
        self._unsupported.reject_unknown(f"extra_body.{name}" for name in extra if name != "google")
        for prefix, google in (("google", body.get("google")), ("extra_body.google", extra.get("google"))):
            for name, value in as_object(google).items():
                ours = _BY_GOOGLES_NAME.get(name, name)
                if ours in _NATIVE or ours in _NATIVE_GENERATION:
                    found[ours] = value
                else:
                    self._unsupported.reject_unknown([f"{prefix}.{name}"])
        return found

    def _add_native(self, fields: JsonObject) -> None:
        for name, google in _NATIVE.items():
            if fields.get(name):
                self._request[google] = fields[name]
        for name, google in _NATIVE_GENERATION.items():
            if fields.get(name) is None:
                continue
            if name == "thinking_config" and "thinkingConfig" in self._generation:
                raise bad_field("thinking_config", "it says the same as `reasoning_effort`; send one of them.")
            self._generation[google] = fields[name]
