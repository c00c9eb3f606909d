"""The typed client with which a tenant's own programs call Keyferry over the bus.

    async with connect_with_credentials("crm.credentials.json") as client:
        answer = await client.chat(model="echo", messages=[{"role": "user", "content": "hello"}])
        async with client.stream(model="echo", messages=[{"role": "user", "content": "hello"}]) as stream:
            async for delta in stream:
                print(delta.text, end="")
        print(stream.answer.usage)
        embedded = await client.embed(model="some-embedding-model", input=["one text", "another"])

`keyferry services create` writes the credentials file. Leaving a stream early, or cancelling the task that waits for an answer,
stops the provider's work. `keyferry.client.testing` has a fake with the same behaviour for tests of such programs.
"""

from keyferry.client.client import Client
from keyferry.client.connection import connect, connect_with_credentials
from keyferry.client.errors import (
    ERRORS,
    BadRequest,
    BudgetExceeded,
    Cancelled,
    CannotConnect,
    ContentFiltered,
    ContextTooLong,
    CreditExhausted,
    Indeterminate,
    Internal,
    KeyferryError,
    LimitReached,
    ModelNotFound,
    NotAllowed,
    Overloaded,
    ProviderFailed,
    ProviderKeyRefused,
    QuotaExhausted,
    RateLimited,
    TimedOut,
    Truncated,
    Unavailable,
    Unreachable,
)
from keyferry.client.prepared_request import RoutingOptions
from keyferry.client.results import ChatAnswer, CompletionUsage, Delta, Embeddings, Route, ToolCall, ToolCallPiece
from keyferry.client.stream import ChatStream

__all__ = [
    "ERRORS",
    "BadRequest",
    "BudgetExceeded",
    "Cancelled",
    "CannotConnect",
    "ChatAnswer",
    "ChatStream",
    "Client",
    "CompletionUsage",
    "ContentFiltered",
    "ContextTooLong",
    "CreditExhausted",
    "Delta",
    "Embeddings",
    "Indeterminate",
    "Internal",
    "KeyferryError",
    "LimitReached",
    "ModelNotFound",
    "NotAllowed",
    "Overloaded",
    "ProviderFailed",
    "ProviderKeyRefused",
    "QuotaExhausted",
    "RateLimited",
    "Route",
    "RoutingOptions",
    "TimedOut",
    "ToolCall",
    "ToolCallPiece",
    "Truncated",
    "Unavailable",
    "Unreachable",
    "connect",
    "connect_with_credentials",
]
