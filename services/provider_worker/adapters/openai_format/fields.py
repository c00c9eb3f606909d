"""The top-level fields of a caller's body: each is translated, rejected by name, or dropped and reported if the tenant allows.

Source of the names and of their neutral values: the OpenAI API reference, "Create chat completion" and "Create
embeddings".
"""

from collections.abc import Mapping

from keyferry.contracts.chat import AttemptRun
from services.provider_worker.adapters.adapter import bad_request
from services.provider_worker.adapters.openai_format.prepared import ChatRules, PreparedChat, prepare_chat
from services.provider_worker.adapters.response.json_text import JsonObject, parse_object, render

_NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "n": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "store": (False,),
    "parallel_tool_calls": (True,),
    "modalities": (["text"],),
    "service_tier": ("auto", "default"),
    "verbosity": ("medium",),
    "tool_choice": ("auto", "none"),
    "encoding_format": ("float",),
}
"""Values that ask for the default. Null, and an empty text, list or object, are neutral for every field."""

_OWN = frozenset({"model", "stream", "stream_options"})
"""Fields that the gateway itself has already read."""


class CallerFields:
    """One caller's body, field by field. `provider` is the provider's name in messages."""

    def __init__(self, run: AttemptRun, body: bytes, provider: str, rules: ChatRules | None = None) -> None:
        """Parse `body`, and prepare the chat in it within `rules`. Raises RefusedByAdapter, as for what is no JSON object."""
        document = parse_object(body)
        if document is None:
            raise bad_request("The request body is not a JSON object.", None)
        self.provider = provider
        self.dropped: list[str] = []
        """What was left out, in the order in which it was found."""
        self._may_drop = run.drop_unsupported
        self._taken = set(_OWN)
        prepared = (
            PreparedChat(document)
            if rules is None
            else prepare_chat(
                document,
                rules,
                lambda field, why: self.drop_or_reject(field, f"{provider} does not support `{field}`: {why}"),
            )
        )
        self._document = prepared.document
        self.message_paths: list[str] = prepared.paths
        """The names of the messages, as the caller numbered them."""
        self.notes: Mapping[str, str] = prepared.notes
        """What the reader of the answer needs to know of the request."""

    def take(self, name: str) -> object:
        """Return the value of a field that the caller of this method translates; null if it is absent or empty."""
        self._taken.add(name)
        value = self._document.get(name)
        return None if _is_empty(value) else value

    def drop_or_reject(self, param: str, what: str | None = None) -> None:
        """Drop `param` if the tenant allows it. Raises RefusedByAdapter if not; `what` explains more than its name."""
        if self._may_drop:
            if param not in self.dropped:
                self.dropped.append(param)
            return
        reason = what or f"{self.provider} does not support `{param}`."
        raise bad_request(
            f"{reason} Leave it out, or have your operator allow dropping unsupported fields.", param[:100]
        )

    def reject_rest(self) -> None:
        """Reject or drop every field that was not taken and asks for something."""
        for name, value in self._document.items():
            # Compared with its type: 1 and true are equal in Python and not in JSON.
            neutral = any(type(value) is type(one) and value == one for one in _NEUTRAL.get(name, ()))
            zero = name in ("presence_penalty", "frequency_penalty") and value == 0
            if name not in self._taken and not (neutral or zero or _is_empty(value)):
                self.drop_or_reject(name)

    def take_native(self, names: tuple[str, ...]) -> JsonObject:
        """Return the provider's own fields in the caller's body, to be sent unchanged."""
        return {name: value for name in names if (value := self.take(name)) is not None}


def render_body(document: JsonObject) -> bytes:
    """Render the body to send. Raises RefusedByAdapter if it is nested too deeply."""
    try:
        return render(document)
    except ValueError:
        raise bad_request("The request body is nested too deeply.", None) from None


def _is_empty(value: object) -> bool:
    return value is None or value == "" or value == [] or value == {}
