"""Ratings of answers: what callers say about them, their sums by tenant, model and operation, and how they change ranks. Pure."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, Strict
from pydantic_core import PydanticCustomError

from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import Operation, ProviderName, Reference, TenantId
from keyferry.contracts.text import BIGINT_MAX, Count, Identifier, Line, Moment, Ordinal, Refusing, clean

LOWEST, HIGHEST = 1, 5
MAX_RATERS = 20
"""Most ratings of one answer: names of raters are not checked, and one answer must not count more than what was reviewed."""
MAX_COMMENT_CHARACTERS = 1000
MAX_RATED_MODELS = 2000
"""Sums of one tenant that are published: those with most ratings."""
_LONGEST_READ = 20_000
"""Characters of a comment that are looked at; longer ones are refused at once."""
_WORDS = {"up": HIGHEST, "down": LOWEST}


def _read_stars(value: Any) -> Any:
    return _WORDS.get(value, value) if isinstance(value, str) else value


def _clean_comment(value: Any) -> Any:
    if not isinstance(value, str) or len(value) > _LONGEST_READ:
        return value
    if len(value) > MAX_COMMENT_CHARACTERS:
        raise PydanticCustomError("text", f"Input should be a text of at most {MAX_COMMENT_CHARACTERS} characters")
    return clean(value.strip(), MAX_COMMENT_CHARACTERS)


Stars = Annotated[int, Strict(), Field(ge=LOWEST, le=HIGHEST), BeforeValidator(_read_stars)]
"""1 to 5, the best; `up` is 5 and `down` is 1."""
Comment = Annotated[str, BeforeValidator(_clean_comment), Refusing(MAX_COMMENT_CHARACTERS, no_key=True, visible=True)]
"""What a person says about an answer: made one line without unsafe characters, and refused if it may hold a key."""


class SaveFeedback(Command):
    """Rate the answer to a request. A later rating of the same request by the same rater replaces the earlier one."""

    tenant: TenantId
    request_id: Identifier
    rating: Stars
    rater: Reference = "operator"
    """Who rates: a member, or a program of the tenant."""
    operation: Operation | None = None
    """What the request was for, where it did not say so itself."""
    comment: Comment | None = None


class Feedback(Message):
    """A rating as it is stored."""

    tenant: TenantId
    request_id: Identifier
    rater: Reference
    rating: Stars
    operation: Operation | None = None
    """What the rating counts for; null counts for the model in general."""
    provider: ProviderName
    """Which provider has answered."""
    model: Line
    """The provider's name for the model that has answered."""
    comment: Comment | None = None
    rated_at: Moment
    replaced: bool = False
    """Whether it has replaced an earlier rating by the same rater."""


class RatedModel(Message):
    """The sum of a tenant's ratings of one model for one operation."""

    provider: ProviderName
    model: Line
    """The provider's name for it."""
    operation: Operation | None = None
    ratings: Ordinal
    stars: Annotated[int, Field(ge=1, le=BIGINT_MAX)]
    """The sum of the ratings."""


class TenantRatings(Message):
    """All sums of a tenant, and its entry in the view."""

    tenant: TenantId
    models: list[RatedModel] = Field(max_length=MAX_RATED_MODELS)


class ListFeedback(Command):
    """Request the sums of a tenant's ratings."""

    tenant: TenantId


class PreviewFeedback(Command):
    """Ask how a tenant's ratings would change the ranks of models, whether or not the tenant lets them."""

    tenant: TenantId
    operation: Operation | None = None
    """Null previews the ratings of all operations together."""


class PreviewedModel(Message):
    """A model's quality and rank without and with the tenant's ratings."""

    model: Line
    quality: Count | None = None
    """0 to 100, from the reviewed file; null if the file knows none."""
    rank: Ordinal | None = None
    ratings: Count = 0
    """How many of the tenant's ratings were considered."""
    learned_quality: Count | None = None
    learned_rank: Ordinal | None = None


class FeedbackPreview(Message):
    """The rated models, and those whose rank would change because of them; best first by the learned quality."""

    tenant: TenantId
    applied: bool
    """Whether the tenant's requests are routed by the learned quality now."""
    models: list[PreviewedModel]
