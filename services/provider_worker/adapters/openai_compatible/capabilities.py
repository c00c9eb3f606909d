"""What an OpenAI-compatible provider supports of a request, declared as data.

Only what a provider's documentation or its recorded responses say it does not support is declared: everything else
passes through, and the provider answers for itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from services.provider_worker.adapters.openai_compatible.message_rules import MessageRules
from services.provider_worker.adapters.openai_format.identifiers import IdentifierRule
from services.provider_worker.adapters.openai_format.prepared import ChatRules
from services.provider_worker.adapters.openai_format.sampling import StopRules
from services.provider_worker.adapters.response.json_text import JsonObject


class StreamUsage(StrEnum):
    """How a provider is made to report the token usage of a stream."""

    ASK = "ask"
    """By `stream_options.include_usage`; without it a stream reports nothing to bill by."""
    ALWAYS = "always"
    """It reports by itself; `stream_options`, which it may not know, are left out."""


HOSTED = ChatRules(call_id=IdentifierRule(64, characters="a-zA-Z0-9_.:-"))
"""For providers that document no rule of their own for ids: those that every one is known to take."""


FOUR_STOPS = StopRules(most=4)
"""OpenAI's rule. Source: the OpenAI API reference, `stop`: "up to 4 sequences"."""
AS_IS = ChatRules(
    function_name=None,
    schema_name=None,
    pairs_tool_results=False,
    plain_tool_schemas=False,
    takes_cache_control=True,
    takes_thinking_parts=True,
    takes_audio=True,
)
"""For servers whose rules are not known."""


@dataclass(frozen=True, slots=True)
class ModelDifferences:
    """How one model differs from the provider's others. The fields are as in `ChatCapabilities`."""

    refused: frozenset[str] = frozenset()
    renames: Mapping[str, str] = field(default_factory=dict)
    dropped: frozenset[str] = frozenset()
    """Parameters that have no effect beside the others, and that the provider answers 400 to."""
    thinks: bool = False
    """Whether it thinks before this answer."""


@dataclass(frozen=True, slots=True)
class ChatCapabilities:
    """What chat completions support. The names are those of the OpenAI API reference, `POST /v1/chat/completions`."""

    refused: frozenset[str] = frozenset()
    """Unsupported parameters. One that is null or asks for the default (`NEUTRAL`) is left out instead of refused."""
    renames: Mapping[str, str] = field(default_factory=dict)
    """OpenAI's name of a parameter -> the provider's, with the same meaning."""
    refused_parts: frozenset[str] = frozenset()
    """Unsupported types of content parts: `image_url`, `input_audio`, `file`."""
    image_links: bool = True
    """Whether an image may be a link; else it has to be a `data:` URL."""
    response_formats: frozenset[str] | None = None
    """The supported types of `response_format`; null means all."""
    developer_role: bool = True
    """Whether it knows the role `developer`; else such a message is sent as `system`, the role's older name."""
    audio_as_text: bool = False
    """Whether an `input_audio` part holds the base64 text itself, not an object with `data` and `format`."""
    logprobs_as_count: bool = False
    """Whether `logprobs` is the number of alternatives, which OpenAI calls `top_logprobs`."""
    stream_usage: StreamUsage = StreamUsage.ASK
    chat: ChatRules = HOSTED
    messages: MessageRules = field(default_factory=MessageRules)
    stops: StopRules = FOUR_STOPS
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Parameter, by the caller's name -> the least and the greatest value, where they differ from OpenAI's."""
    user_id_characters: int | None = None
    """The most characters of `user`, `safety_identifier` and `prompt_cache_key`; longer ones are hashed."""
    efforts: frozenset[str] | None = None
    """The values of `reasoning_effort` that any of its models takes, if not all."""
    image_types: frozenset[str] | None = None
    """Media types of images in `data:` URLs, if not all."""
    strict_schemas: bool = False
    """Whether `strict` holds only for schemas that close every object and require every property."""
    by_model: Callable[[JsonObject, str], ModelDifferences] | None = None
    """What depends on the model, from the caller's body and the model's name."""

    @property
    def inspects_messages(self) -> bool:
        """Whether anything depends on the content of the messages."""
        return (
            bool(self.refused_parts)
            or not self.image_links
            or not self.developer_role
            or self.audio_as_text
            or self.image_types is not None
        )


@dataclass(frozen=True, slots=True)
class EmbeddingCapabilities:
    """What embeddings support. The names are those of the OpenAI API reference, `POST /v1/embeddings`."""

    refused: frozenset[str] = frozenset()
    renames: Mapping[str, str] = field(default_factory=dict)
    token_input: bool = True
    """Whether `input` may be token ids in place of text."""
    encoding_format: bool = True
    """Whether it knows `encoding_format`; else it returns numbers, which are encoded if base64 was requested."""


NEUTRAL: Mapping[str, tuple[object, ...]] = MappingProxyType(
    {
        "n": (1,),
        "temperature": (1,),
        "top_p": (1,),
        "stop": ([],),
        "logprobs": (False,),
        "top_logprobs": (0,),
        "logit_bias": ({},),
        "frequency_penalty": (0,),
        "presence_penalty": (0,),
        "tools": ([],),
        "functions": ([],),
        "tool_choice": ("auto",),
        "function_call": ("auto",),
        "parallel_tool_calls": (True,),
        "response_format": ({"type": "text"},),
        "modalities": (["text"],),
        "metadata": ({},),
        "store": (False,),
        "service_tier": ("auto", "default"),
        "verbosity": ("medium",),
    }
)
"""Parameter -> the values that ask only for OpenAI's own default. Null is neutral for every parameter."""


def is_neutral(name: str, value: object, *, has_tools: bool) -> bool:
    """Return whether a parameter asks for nothing special, so that leaving it out changes nothing."""
    if value is None or value in NEUTRAL.get(name, ()):
        return True
    # Without tools `none` changes nothing; with tools it keeps the model from calling one, which is not the default.
    return name in ("tool_choice", "function_call") and value == "none" and not has_tools
