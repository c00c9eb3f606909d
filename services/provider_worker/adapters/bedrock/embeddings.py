"""Embeddings through InvokeModel, whose bodies differ by model family.

Source of the shapes: the AWS documentation, "Amazon Titan Embeddings text" and "Cohere Embed models". Both report their
token count in the response header `x-amzn-bedrock-input-token-count`.
"""

from collections.abc import Mapping

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import FailureClass, Where
from services.provider_worker.adapters.adapter import Answer, bad_request
from services.provider_worker.adapters.bedrock.errors import failure_of_document
from services.provider_worker.adapters.openai_format.embeddings import (
    build_embedding_list,
    read_dimensions,
    read_encoding,
    read_texts,
    read_vectors,
)
from services.provider_worker.adapters.openai_format.fields import CallerFields
from services.provider_worker.adapters.response.errors import make_failure
from services.provider_worker.adapters.response.json_text import JsonObject, as_object, parse_leading_object
from services.provider_worker.adapters.response.usage_counts import CountReader
from services.provider_worker.adapters.usage_report import report_of_prompt

_COUNT_HEADER = "x-amzn-bedrock-input-token-count"


def build_embedding_body(run: AttemptRun, fields: CallerFields) -> tuple[JsonObject, str]:
    """Build the body of InvokeModel, and return with it the requested encoding.

    Raises RefusedByAdapter for what Bedrock does not support.
    """
    encoding = read_encoding(fields)
    texts, dimensions = read_texts(fields), read_dimensions(fields)
    if "titan-embed" in run.model:
        body = _build_titan_body(run, fields, texts, dimensions)
    elif "cohere.embed" in run.model:
        body = _build_cohere_body(run, fields, texts, dimensions)
    else:
        raise bad_request(
            "On AWS Bedrock the gateway supports embeddings of Amazon Titan and Cohere models only.", "model"
        )
    fields.reject_rest()
    return body, encoding


def _build_titan_body(run: AttemptRun, fields: CallerFields, texts: list[str], dimensions: int | None) -> JsonObject:
    if len(texts) > 1:
        raise bad_request("Amazon Titan embeds one text per request; send each text of `input` by itself.", "input")
    body: JsonObject = {"inputText": texts[0]}
    first_version = "embed-text-v1" in run.model or "embed-g1" in run.model
    if dimensions is not None and first_version:
        fields.drop_or_reject("dimensions", "This Titan model has a fixed number of dimensions: `dimensions`.")
    elif dimensions is not None:
        body["dimensions"] = dimensions
    return body if first_version else body | fields.take_native(("normalize",))


def _build_cohere_body(run: AttemptRun, fields: CallerFields, texts: list[str], dimensions: int | None) -> JsonObject:
    body: JsonObject = {"texts": texts, "input_type": fields.take("input_type") or "search_document"}
    body["embedding_types"] = ["float"]
    if dimensions is not None and "v3" in run.model:
        fields.drop_or_reject("dimensions", "This Cohere model has a fixed number of dimensions: `dimensions`.")
    elif dimensions is not None:
        body["output_dimension"] = dimensions
    return body | fields.take_native(("truncate", "max_tokens"))


def read_embeddings(run: AttemptRun, headers: Mapping[str, str], notes: Mapping[str, str], content: bytes) -> Answer:
    """Return the result of an InvokeModel response."""
    document = parse_leading_object(content)
    if document is None:
        return _invalid_answer("The provider's response is not a JSON object.")
    failure = failure_of_document(document, Where.HTTP_200_BODY)
    if failure is not None:
        return Answer(failure=failure)
    vectors = _read_vectors(document)
    if vectors is None:
        return _invalid_answer("The provider's response holds no embeddings, or embeddings of different lengths.")
    counts = CountReader()
    tokens = _read_tokens(counts, headers, document)
    report = report_of_prompt(tokens, counts.implausible)
    try:
        body = build_embedding_list(run, vectors, notes, report)
    except ValueError:
        return _invalid_answer("The provider's embeddings hold a number that does not fit a 32-bit float.")
    return Answer(body=body, usage=report)


def _read_vectors(document: JsonObject) -> list[list[float]] | None:
    """Return Titan's one vector, or Cohere's list of them: plain, or by type if types were requested."""
    if "embedding" in document:
        return read_vectors([document["embedding"]])
    value = document.get("embeddings")
    return read_vectors(as_object(value).get("float")) if isinstance(value, dict) else read_vectors(value)


def _read_tokens(counts: CountReader, headers: Mapping[str, str], document: JsonObject) -> int | None:
    tokens = counts.read({_COUNT_HEADER: headers.get(_COUNT_HEADER)}, _COUNT_HEADER)
    return counts.read(document, "inputTextTokenCount") if tokens is None else tokens


def _invalid_answer(message: str) -> Answer:
    return Answer(failure=make_failure(FailureClass.SERVER, message, Where.HTTP_200_BODY))
