"""Converts one candidate of an answer to the message or the deltas of an OpenAI choice.

Beside OpenAI's own fields a choice carries what a follow-up turn or a display needs of Google's:

- `reasoning_content`: the thought summaries, if they were requested.
- `reasoning_details`: thought signatures, in the form that OpenRouter introduced: `{"type": "reasoning.encrypted", "format":
  "google-gemini-v1", "data": <signature>}` with `content_start` and `content_end`, the characters of `content` that were signed
  (none if Google signs an empty part), or with `id`, the signed tool call; `{"type": "reasoning.text", …, "text",
  "signature"}` for a signed thought.
- `tool_calls[].extra_content.google.thought_signature`: the same on the call itself, as in Google's own OpenAI layer.
- `images`: `image_url` parts with data URLs. `content_parts`: Google's parts of other kinds (executed code), unchanged.
- `native_finish_reason`, and `extra_content.google` of the choice: grounding, citations and safety ratings, unchanged.
"""

import math

from services.provider_worker.adapters.response.arguments import first_object
from services.provider_worker.adapters.response.json_text import JsonObject, as_object, as_objects, as_text, render

SIGNATURE_FORMAT = "google-gemini-v1"

_FINISH = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "ESCALATION": "content_filter",
    "JAILBREAK": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
}
"""`Candidate.finishReason` -> OpenAI's finish reason. Any other means that the model ended by itself. That includes
malformed calls, which leave the caller an answer without calls, paid for like any other; `native_finish_reason` keeps
them apart."""

_FINISH_NUMBERS = ("FINISH_REASON_UNSPECIFIED", "STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "OTHER")
"""`Candidate.FinishReason` by number, which Google's clients write in place of the name (`generative_service.proto`)."""

_METADATA = {
    "groundingMetadata": "grounding_metadata",
    "urlContextMetadata": "url_context_metadata",
    "citationMetadata": "citation_metadata",
    "safetyRatings": "safety_ratings",
    "finishMessage": "finish_message",
}


def openai_finish_reason(word: str, *, calls_tools: bool) -> str:
    """Return OpenAI's finish reason for a `finishReason`. Google sends STOP when the model calls functions."""
    reason = _FINISH.get(word.upper(), "stop")
    return "tool_calls" if reason == "stop" and calls_tools else reason


class GeminiCandidate:
    """Converts one candidate. `call_id_prefix` starts the ids of calls without one, as from Gemini 2.5 and Vertex."""

    def __init__(self, call_id_prefix: str) -> None:
        self.has_output = False
        """Whether any output has arrived: text, thoughts, a call, an image."""
        self.finish_word: str | None = None
        self._prefix = call_id_prefix
        self._call_ids: set[str] = set()
        self._characters = 0

    @property
    def finish_reason(self) -> str | None:
        """OpenAI's finish reason, once Google has sent one."""
        if self.finish_word is None:
            return None
        return openai_finish_reason(self.finish_word, calls_tools=bool(self._call_ids))

    def delta(self, candidate: JsonObject) -> JsonObject:
        """Return what `candidate`, complete or a piece of a stream, adds.

        Raises ValueError if a call is nested too deeply.
        """
        word = candidate.get("finishReason")
        if type(word) is int:
            word = _FINISH_NUMBERS[word] if 0 <= word < len(_FINISH_NUMBERS) else str(word)
        if isinstance(word, str) and word and word != "FINISH_REASON_UNSPECIFIED":
            self.finish_word = word
        delta: JsonObject = {}
        for part in as_objects(as_object(candidate.get("content")).get("parts")):
            self._add(part, delta)
        self.has_output = self.has_output or bool(delta)
        return delta

    def _add(self, part: JsonObject, delta: JsonObject) -> None:
        text, call = part.get("text"), part.get("functionCall")
        signature = as_text(part.get("thoughtSignature"))
        if isinstance(call, dict):
            self._add_call(call, signature, delta)
        elif isinstance(text, str):
            self._add_text(text, bool(part.get("thought")), signature, delta)
        else:
            _add_other(part, delta)
            if signature:
                _append(delta, "reasoning_details", _encrypted_detail(signature, self._span(0)))

    def _add_text(self, text: str, thought: bool, signature: str, delta: JsonObject) -> None:
        name = "reasoning_content" if thought else "content"
        if text:
            delta[name] = as_text(delta.get(name)) + text
        if thought and signature:
            detail: JsonObject = {"type": "reasoning.text", "format": SIGNATURE_FORMAT, "text": text}
            _append(delta, "reasoning_details", detail | {"signature": signature})
            return
        if not thought:
            self._characters += len(text)
        if signature:
            _append(delta, "reasoning_details", _encrypted_detail(signature, self._span(len(text))))

    def _span(self, characters: int) -> JsonObject:
        """Return the position of the last `characters` of the content."""
        return {"content_start": self._characters - characters, "content_end": self._characters}

    def _add_call(self, call: JsonObject, signature: str, delta: JsonObject) -> None:
        index = len(self._call_ids)
        call_id = as_text(call.get("id"))
        if not call_id or call_id in self._call_ids:
            call_id = f"{self._prefix}_{index}"
        self._call_ids.add(call_id)
        args = call.get("args")
        arguments = first_object(args) if isinstance(args, str) and args else render(as_object(args)).decode()
        piece: JsonObject = {
            "index": index,
            "id": call_id,
            "type": "function",
            "function": {"name": as_text(call.get("name")), "arguments": arguments},
        }
        if signature:
            piece["extra_content"] = {"google": {"thought_signature": signature}}
            _append(delta, "reasoning_details", _encrypted_detail(signature, {"id": call_id}))
        _append(delta, "tool_calls", piece)


def extra_content(candidate: JsonObject) -> JsonObject:
    """Return `{"extra_content": {"google": …}}` for a choice: grounding, citations, ratings; empty without any."""
    found = {ours: value for name, ours in _METADATA.items() if (value := candidate.get(name))}
    return {"extra_content": {"google": found}} if found else {}


def openai_logprobs(candidate: JsonObject) -> JsonObject | None:
    """Convert Google's `logprobsResult` to OpenAI's `logprobs` object; null if there is none."""
    result = as_object(candidate.get("logprobsResult"))
    chosen = as_objects(result.get("chosenCandidates"))
    if not chosen:
        return None
    tops = as_objects(result.get("topCandidates"))
    content: list[object] = []
    for position, token in enumerate(chosen):
        top = as_objects(tops[position].get("candidates")) if position < len(tops) else []
        content.append(_build_logprob(token) | {"top_logprobs": [_build_logprob(other) for other in top]})
    return {"content": content, "refusal": None}


def _build_logprob(token: JsonObject) -> JsonObject:
    text, logprob = as_text(token.get("token")), token.get("logProbability")
    number = isinstance(logprob, int | float) and not isinstance(logprob, bool) and math.isfinite(logprob)
    # Google's JSON omits zeros: a missing value means certainty.
    return {
        "token": text,
        "logprob": logprob if number else 0.0 if logprob is None else -9999.0,
        "bytes": list(text.encode("utf-8", "replace")),
    }


def _add_other(part: JsonObject, delta: JsonObject) -> None:
    blob = as_object(part.get("inlineData"))
    media_type, data = as_text(blob.get("mimeType")), as_text(blob.get("data"))
    if media_type.startswith("image/") and data:
        image: JsonObject = {"type": "image_url", "image_url": {"url": f"data:{media_type};base64,{data}"}}
        _append(delta, "images", image)
        return
    rest = {name: value for name, value in part.items() if name not in ("thought", "thoughtSignature") and value}
    if rest:
        _append(delta, "content_parts", rest)


def _encrypted_detail(signature: str, place: JsonObject) -> JsonObject:
    return {"type": "reasoning.encrypted", "format": SIGNATURE_FORMAT, "data": signature} | place


def _append(delta: JsonObject, name: str, item: JsonObject) -> None:
    items = delta.setdefault(name, [])
    if isinstance(items, list):
        items.append(item)
