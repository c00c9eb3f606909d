"""The OpenAI request bodies, as far as their types can be checked before any provider is chosen.

Source: the OpenAI API reference, `POST /v1/chat/completions` and `POST /v1/embeddings`. Known parameters have their types
checked so that a mistake is a 400 here and not a provider's bill; parameters that are not listed pass through, since
OpenAI-compatible providers add their own. The body itself is forwarded as the caller's bytes: the models only look at it.
"""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr, StringConstraints

from keyferry.contracts.text import RequestedModel

Number = StrictInt | StrictFloat
T = TypeVar("T")
List = Annotated[list[T], Field(fail_fast=True)]
"""A list of which only the first wrong item is reported: a body can have millions of them."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True, frozen=True)


class ContentPart(_Body):
    """A part of a message's content: text, image, audio or file."""

    type: StrictStr


class ChatMessage(_Body):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: StrictStr | List[ContentPart] | None = None
    name: StrictStr | None = None
    tool_call_id: StrictStr | None = None
    tool_calls: List[dict[str, Any]] | None = None


class StreamOptions(_Body):
    """Options of a stream."""

    include_usage: StrictBool | None = None


class ChatCompletionBody(_Body):
    """A chat completion request body."""

    model: RequestedModel
    messages: Annotated[List[ChatMessage], Field(min_length=1)]
    stream: StrictBool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[Number, Field(ge=0, le=2)] | None = None
    top_p: Annotated[Number, Field(ge=0, le=1)] | None = None
    n: Annotated[StrictInt, Field(ge=1, le=128)] | None = None
    max_tokens: Annotated[StrictInt, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[StrictInt, Field(ge=1)] | None = None
    stop: StrictStr | List[StrictStr] | None = None
    presence_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = None
    logprobs: StrictBool | None = None
    top_logprobs: Annotated[StrictInt, Field(ge=0, le=20)] | None = None
    seed: StrictInt | None = None
    tools: List[dict[str, Any]] | None = None
    tool_choice: StrictStr | dict[str, Any] | None = None
    parallel_tool_calls: StrictBool | None = None
    response_format: dict[str, Any] | None = None
    user: StrictStr | None = None
    metadata: Annotated[dict[str, StrictStr], Field(fail_fast=True)] | None = None


TokenId = Annotated[StrictInt, Field(ge=0)]
Text = Annotated[StrictStr, StringConstraints(min_length=1)]
MAX_EMBEDDING_INPUTS = 2048
"""OpenAI's largest batch."""


class EmbeddingBody(_Body):
    """An embeddings request body: `input` is a text, texts, the token ids of one text, or such lists."""

    model: RequestedModel
    input: (
        Text
        | Annotated[List[Text], Field(min_length=1, max_length=MAX_EMBEDDING_INPUTS)]
        | Annotated[List[TokenId], Field(min_length=1)]
        | Annotated[
            List[Annotated[List[TokenId], Field(min_length=1)]], Field(min_length=1, max_length=MAX_EMBEDDING_INPUTS)
        ]
    )
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[StrictInt, Field(ge=1)] | None = None
    user: StrictStr | None = None
