"""Embeddings through Cohere's `v2/embed`.

Source of the shapes: Cohere's API reference, "Embed" of API v2.
"""

from collections.abc import Mapping

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import Where
from services.provider_worker.adapters.adapter import Answer, bad_request
from services.provider_worker.adapters.cohere.errors import failure_of_document
from services.provider_worker.adapters.openai_format.embeddings import (
    build_embedding_list,
    read_dimensions,
    read_encoding,
    read_texts,
    read_vectors,
)
from services.provider_worker.adapters.openai_format.fields import CallerFields
from services.provider_worker.adapters.response.errors import failure_of_invalid_body, invalid_response
from services.provider_worker.adapters.response.json_text import (
    JsonObject,
    as_object,
    parse_leading_object,
)
from services.provider_worker.adapters.response.usage_counts import CountReader
from services.provider_worker.adapters.usage_report import report_of_prompt


def build_embedding_body(run: AttemptRun, fields: CallerFields) -> tuple[JsonObject, str]:
    """Build the body of `v2/embed`, and return with it the requested encoding.

    Floats are always requested, and encoded here if the caller wants base64: not every Cohere model has that type.
    Raises RefusedByAdapter for what Cohere does not support.
    """
    encoding = read_encoding(fields)
    body: JsonObject = {"model": run.model, "texts": read_texts(fields), "embedding_types": ["float"]}
    body["input_type"] = fields.take("input_type") or "search_document"
    dimensions = read_dimensions(fields)
    if dimensions is not None:
        body["output_dimension"] = dimensions
    types = fields.take("embedding_types")
    if types is not None and types != ["float"]:
        raise bad_request(
            "The gateway supports `embedding_types` of `float` only; use `encoding_format` for base64.",
            "embedding_types",
        )
    body |= fields.take_native(("truncate", "max_tokens", "priority", "output_dimension"))
    fields.reject_rest()
    return body, encoding


def read_embeddings(run: AttemptRun, notes: Mapping[str, str], content: bytes) -> Answer:
    """Return the result of a `v2/embed` response."""
    document = parse_leading_object(content)
    if document is None:
        return Answer(failure=failure_of_invalid_body(content))
    value = document.get("embeddings")
    vectors = read_vectors(as_object(value).get("float")) if isinstance(value, dict) else read_vectors(value)
    if vectors is None:
        return Answer(
            failure=failure_of_document(document, Where.HTTP_200_BODY)
            or invalid_response("The provider's response holds no embeddings, or embeddings of different lengths.")
        )
    meta = as_object(document.get("meta"))
    counts = CountReader()
    # Cohere adds no instructions to embeddings, so billed tokens equal the tokens read.
    tokens = counts.read(as_object(meta.get("tokens")), "input_tokens")
    if tokens is None:
        tokens = counts.read(as_object(meta.get("billed_units")), "input_tokens")
    report = report_of_prompt(tokens, counts.implausible)
    try:
        body = build_embedding_list(run, vectors, notes, report)
    except ValueError:
        return Answer(
            failure=invalid_response("The provider's embeddings hold a number that does not fit a 32-bit float.")
        )
    return Answer(body=body, usage=report)
