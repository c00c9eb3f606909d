"""Thinking, answer length and sampling, which depend on each other on Claude.

Source: Anthropic's documentation of extended thinking (a budget of at least 1,024 tokens, below `max_tokens`; neither
temperature nor top_k beside it, top_p from 0.95; no forced tools), of adaptive thinking and of effort. OpenAI's efforts
have no counterpart in tokens; the budgets below are this adapter's choice.
"""

from services.provider_worker.adapters.anthropic.models import ClaudeModel
from services.provider_worker.adapters.anthropic.unsupported import UnsupportedFields, bad_field
from services.provider_worker.adapters.response.json_text import JsonObject, as_object

MIN_BUDGET_TOKENS = 1024
_BUDGET_TOKENS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 24_576, "max": 28_672}
_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
_LEAST_TOP_P = 0.95


class ThinkingTranslator:
    """Fills `max_tokens`, `thinking` and the sampling parameters of a request, and finds the effort."""

    def __init__(self, model: ClaudeModel, unsupported: UnsupportedFields) -> None:
        self.effort: str | None = None
        self._model = model
        self._unsupported = unsupported

    def fields(self, document: JsonObject, *, forced_tool: bool, unthinkable: str | None = None) -> JsonObject:
        """Return the fields of Anthropic's request for OpenAI's `document`. Raises RefusedByAdapter.

        `unthinkable` says why a model with a budget for thinking cannot think about this conversation.
        """
        max_tokens = _read_max_tokens(document)
        if max_tokens is not None and self._model.max_output_tokens is not None:
            # The model cannot write more, and the API rejects a higher limit.
            max_tokens = min(max_tokens, self._model.max_output_tokens)
        made: JsonObject = {"max_tokens": self._model.default_max_tokens if max_tokens is None else max_tokens}
        thinking = self._translate_thinking(document, made)
        if thinking is None and forced_tool and self._model.thinks_by_default and not self._model.always_thinks:
            # Thinking, on by default, forbids the forced tool, and the caller did not ask for thinking.
            thinking = {"type": self._model.thinking_off}
        elif _is_on(thinking) and (forced_tool or (unthinkable is not None and not _is_adaptive(thinking))):
            name = "thinking" if document.get("thinking") is not None else "reasoning_effort"
            forced = "Claude cannot think where a tool call or a JSON answer is forced."
            self._unsupported.drop_or_reject(name, forced if forced_tool else unthinkable or "")
            thinking, self.effort = None, None
            made["max_tokens"] = self._model.default_max_tokens if max_tokens is None else max_tokens
        if thinking is not None:
            made["thinking"] = thinking
        return made | self._translate_sampling(document, thinks=_is_on(thinking))

    def _translate_thinking(self, document: JsonObject, made: JsonObject) -> JsonObject | None:
        own, effort = document.get("thinking"), document.get("reasoning_effort")
        if own is None:
            return None if effort is None else self._translate_effort(effort, document, made)
        if not isinstance(own, dict):
            raise bad_field("thinking", "`thinking` must be an object as in Anthropic's Messages API.")
        if effort is not None:
            self._unsupported.drop_or_reject("reasoning_effort", "`thinking` says already how much Claude is to think.")
        budget = own.get("budget_tokens")
        if type(budget) is int and _read_max_tokens(document) is None and isinstance(made["max_tokens"], int):
            made["max_tokens"] = max(made["max_tokens"], budget + self._model.default_max_tokens // 8)
        if own.get("type") != "enabled":
            return own
        if self._model.thinks_adaptively_only:
            return {"type": "adaptive", "display": "summarized"}
        limit = made["max_tokens"]
        if type(budget) is not int or budget < MIN_BUDGET_TOKENS or (isinstance(limit, int) and budget >= limit):
            raise bad_field(
                "thinking.budget_tokens",
                f"`thinking.budget_tokens` must be at least {MIN_BUDGET_TOKENS} and less than `max_tokens`, here {limit}.",
            )
        return own

    def _translate_effort(self, effort: object, document: JsonObject, made: JsonObject) -> JsonObject | None:
        if effort == "none":
            return self._turn_off()
        if not isinstance(effort, str) or effort not in _EFFORTS:
            known = ", ".join(("none", *_EFFORTS))
            raise bad_field("reasoning_effort", f"`reasoning_effort` must be one of: {known}.")
        if not self._model.can_think:
            self._unsupported.drop_or_reject("reasoning_effort", "This Claude model cannot think before it answers.")
            return None
        if self._model.thinks_adaptively:
            return self._adapt(effort)
        limit = made["max_tokens"]
        if not isinstance(limit, int) or limit <= MIN_BUDGET_TOKENS:
            why = f"Thinking takes {MIN_BUDGET_TOKENS} tokens at least and the answer may have {limit}; allow it more."
            self._unsupported.drop_or_reject("reasoning_effort", why)
            return None
        # A fifth of the limit is left for the answer itself, if that leaves enough to think at all.
        budget = max(min(_BUDGET_TOKENS[effort], limit * 4 // 5), MIN_BUDGET_TOKENS)
        return {"type": "enabled", "budget_tokens": budget}

    def _turn_off(self) -> JsonObject | None:
        if self._model.always_thinks:
            self._unsupported.drop_or_reject(
                "reasoning_effort", "This Claude model always thinks; `low` is its least effort."
            )
            return None
        return {"type": self._model.thinking_off} if self._model.thinks_by_default else None

    def _adapt(self, effort: str) -> JsonObject | None:
        if effort == "xhigh" and not self._model.takes_highest_efforts:
            self._unsupported.drop_or_reject(
                "reasoning_effort", "This Claude model knows the efforts low, medium, high and max."
            )
            return None
        self.effort = _EFFORTS[effort]
        thinking: JsonObject = {"type": "adaptive"}
        if self._model.omits_thinking_text:
            thinking["display"] = "summarized"
        return thinking

    def _translate_sampling(self, document: JsonObject, *, thinks: bool) -> JsonObject:
        made: JsonObject = {}
        temperature, top_p = _read_number(document, "temperature"), _read_number(document, "top_p")
        top_k = document.get("top_k")
        if temperature not in (None, 1) and self._takes("temperature", thinks=thinks):
            if not 0 <= (temperature or 0) <= 1:
                self._unsupported.drop_or_reject("temperature", "Anthropic takes temperatures from 0 to 1.")
            else:
                made["temperature"] = document["temperature"]
        if top_p not in (None, 1) and self._takes_top_p(top_p, made, thinks=thinks):
            made["top_p"] = document["top_p"]
        if top_k is not None and self._takes("top_k", thinks=thinks):
            made["top_k"] = top_k
        return made

    def _takes(self, field: str, *, thinks: bool) -> bool:
        if not self._model.takes_sampling:
            self._unsupported.drop_or_reject(field, f"This Claude model takes no `{field}`.")
        elif thinks:
            self._unsupported.drop_or_reject(field, f"Claude takes no `{field}` while it thinks.")
        return self._model.takes_sampling and not thinks

    def _takes_top_p(self, top_p: float | None, made: JsonObject, *, thinks: bool) -> bool:
        if thinks and self._model.takes_sampling and top_p is not None and top_p >= _LEAST_TOP_P:
            return True
        if not self._takes("top_p", thinks=thinks):
            return False
        if "temperature" in made and self._model.takes_one_of_temperature_and_top_p:
            self._unsupported.drop_or_reject("top_p", "This Claude model takes either `temperature` or `top_p`.")
            return False
        return True


def _read_max_tokens(document: JsonObject) -> int | None:
    """Return the caller's own limit of the answer, in tokens. Raises RefusedByAdapter."""
    for name in ("max_completion_tokens", "max_tokens"):
        value = document.get(name)
        if value is not None:
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise bad_field(name, f"`{name}` must be a whole number above zero.")
            return value
    return None


def _read_number(document: JsonObject, name: str) -> float | None:
    value = document.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise bad_field(name, f"`{name}` must be a number.")
    return value


def _is_adaptive(thinking: JsonObject | None) -> bool:
    """Return whether earlier turns need no thinking of their own, as with adaptive thinking."""
    return as_object(thinking).get("type") == "adaptive"


def _is_on(thinking: JsonObject | None) -> bool:
    return as_object(thinking).get("type") in ("enabled", "adaptive")
