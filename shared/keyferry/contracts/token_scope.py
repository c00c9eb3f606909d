"""What a client token may be used for, besides its models. Pure."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from keyferry.contracts.browser_origin import BrowserOrigin
from keyferry.contracts.ids import ChosenModel, Operation

MAX_SCOPE_VALUES = 100


class ClientApi(StrEnum):
    """An API of the gateway that a client token can be limited to."""

    CHAT = "chat"
    """Chat completions."""
    EMBEDDINGS = "embeddings"
    MODELS = "models"
    """The list of models."""


AllowedModels = Annotated[list[ChosenModel], Field(min_length=1, max_length=1000)]
AllowedOperations = Annotated[list[Operation], Field(min_length=1, max_length=MAX_SCOPE_VALUES)]
"""Values of the header `X-Operation`."""
AllowedApis = Annotated[list[ClientApi], Field(min_length=1, max_length=len(ClientApi))]
AllowedOrigins = Annotated[list[BrowserOrigin], Field(min_length=1, max_length=MAX_SCOPE_VALUES)]

ClearableField = Literal["allowed_models", "allowed_operations", "allowed_apis", "allowed_origins", "expires_at"]
"""What can be taken away from a client token, so that it is not restricted in this way any more."""
SCOPES: Mapping[str, str] = {
    "allowed_models": "models",
    "allowed_operations": "operations",
    "allowed_apis": "APIs",
    "allowed_origins": "origins of web pages",
}
"""The fields that restrict what a token may do, and what they list."""
