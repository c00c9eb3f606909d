"""What an OpenAI-compatible provider supports of a request, declared as data.

Only what a provider's documentation or its recorded responses say it does not support is declared: everything else
passes through, and the provider answers for itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType


class StreamUsage(StrEnum):
    """How a provider is made to report the token usage of a stream."""

    ASK = "ask"
    """By `stream_options.include_usage`; without it a stream reports nothing to bill by."""
    ALWAYS = "always"
    """It reports by itself; `stream_options`, which it may not know, are left out."""


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

    @property
    def inspects_messages(self) -> bool:
        """Whether anything depends on the content of the messages."""
        return bool(self.refused_parts) or not self.image_links or not self.developer_role or self.audio_as_text


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
