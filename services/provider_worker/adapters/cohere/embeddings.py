"""Embeddings through Cohere's `v2/embed`."""

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import Where
from keyferry.contracts.usage import TokenUsage, UsageSource
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.adapters.cohere.errors import failure_of_document
from services.provider_worker.adapters.openai_format.embeddings import (
    dimensions_of,
    embedding_list,
    encoding_of,
    texts_of,
    vectors_in,
)
from services.provider_worker.adapters.openai_format.fields import CallerFields, bad_request
from services.provider_worker.adapters.openai_format.usage import count
from services.provider_worker.adapters.response.errors import no_object, unusable
from services.provider_worker.adapters.response.json_text import (
    JsonObject,
    as_object,
    parse_object,
)


def embed_body(run: AttemptRun, fields: CallerFields) -> tuple[JsonObject, str]:
    """The body of `v2/embed`, and the encoding that the caller wants. Raises RefusedByAdapter for what Cohere cannot do.

    Floats are asked for always, and packed here where the caller wants base64: not every model of Cohere's has that type.
    """
    encoding = encoding_of(fields)
    body: JsonObject = {"model": run.model, "texts": texts_of(fields), "embedding_types": ["float"]}
    body["input_type"] = fields.take("input_type") or "search_document"
    dimensions = dimensions_of(fields)
    if dimensions is not None:
        body["output_dimension"] = dimensions
    types = fields.take("embedding_types")
    if types is not None and types != ["float"]:
        raise bad_request(
            "The gateway asks Cohere for `embedding_types` of `float` only; use `encoding_format` for base64.",
            "embedding_types",
        )
    body |= fields.native(("truncate", "max_tokens", "priority", "output_dimension"))
    fields.refuse_rest()
    return body, encoding


def embed_answer(run: AttemptRun, encoding: str, content: bytes) -> Answer:
    """What an answer of `v2/embed` comes to."""
    document = parse_object(content)
    if document is None:
        return Answer(failure=no_object(content))
    given = document.get("embeddings")
    vectors = vectors_in(as_object(given).get("float")) if isinstance(given, dict) else vectors_in(given)
    if vectors is None:
        return Answer(
            failure=failure_of_document(document, Where.HTTP_200_BODY)
            or unusable("The provider's answer holds no embeddings, or embeddings of different lengths.")
        )
    meta = as_object(document.get("meta"))
    tokens = _embedded_tokens(as_object(meta.get("tokens")), as_object(meta.get("billed_units")))
    try:
        body = embedding_list(run, vectors, encoding, tokens)
    except ValueError:
        return Answer(failure=unusable("The provider's embeddings hold a number that is no 32-bit float."))
    return Answer(
        body=body,
        token_usage=TokenUsage(input=tokens or 0),
        usage_source=UsageSource.NONE if tokens is None else UsageSource.REPORTED,
    )


def _embedded_tokens(tokens: JsonObject, billed: JsonObject) -> int | None:
    """What was read. Embeddings have no instructions of Cohere's added, so what is billed is what was read."""
    read = count(tokens.get("input_tokens"))
    return count(billed.get("input_tokens")) if read is None else read
