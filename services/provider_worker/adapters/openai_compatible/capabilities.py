"""What a provider of the OpenAI family takes of a request, declared as data.

Only what a provider's own documentation or its recorded answers say it cannot do is declared: everything else passes through, and
the provider answers for itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType


class StreamUsage(StrEnum):
    """How a provider is brought to report the tokens of a stream."""

    ASK = "ask"
    """By `stream_options.include_usage`; without it a stream has nothing to bill by."""
    ALWAYS = "always"
    """It reports by itself and need not know `stream_options`, which are left out."""


@dataclass(frozen=True, slots=True)
class ChatCapabilities:
    """What chat completions take. The names are those of the OpenAI API reference, `POST /v1/chat/completions`."""

    refused: frozenset[str] = frozenset()
    """Parameters that it cannot take. One that is null, or says what happens anyway (`NEUTRAL`), is left out and not refused."""
    renames: Mapping[str, str] = field(default_factory=dict)
    """OpenAI's name of a parameter -> the provider's, with the same meaning."""
    refused_parts: frozenset[str] = frozenset()
    """Types of content parts that it cannot take: `image_url`, `input_audio`, `file`."""
    image_links: bool = True
    """Whether an image may be a link; else it has to be a `data:` URL."""
    response_formats: frozenset[str] | None = None
    """The types of `response_format` that it takes; null is all of them."""
    developer_role: bool = True
    """Whether it knows the role `developer`; else such a message goes as `system`, the role's older name."""
    audio_as_text: bool = False
    """Whether an `input_audio` part holds the base64 text itself, and not an object with `data` and `format`."""
    logprobs_as_count: bool = False
    """Whether `logprobs` is the number of alternatives, which OpenAI calls `top_logprobs`."""
    stream_usage: StreamUsage = StreamUsage.ASK

    @property
    def inspects_messages(self) -> bool:
        """Whether anything depends on what stands inside the messages."""
        return bool(self.refused_parts) or not self.image_links or not self.developer_role or self.audio_as_text


@dataclass(frozen=True, slots=True)
class EmbeddingCapabilities:
    """What embeddings take. The names are those of the OpenAI API reference, `POST /v1/embeddings`."""

    refused: frozenset[str] = frozenset()
    renames: Mapping[str, str] = field(default_factory=dict)
    token_input: bool = True
    """Whether `input` may be token ids in place of text."""
    encoding_format: bool = True
    """Whether it knows `encoding_format`; else it gives numbers, which are encoded for a caller who asked for base64."""


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
"""Parameter -> the values that ask for nothing but OpenAI's own default. Null is one for every parameter."""


def is_neutral(name: str, value: object, *, has_tools: bool) -> bool:
    """Whether a parameter asks for nothing special, so that leaving it out changes nothing."""
    if value is None or value in NEUTRAL.get(name, ()):
        return True
    # Without tools there is none to choose; with tools this keeps the model from calling one, which is not the default.
    return name in ("tool_choice", "function_call") and value == "none" and not has_tools
