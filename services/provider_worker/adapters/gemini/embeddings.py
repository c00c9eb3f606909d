"""Embeddings: OpenAI's request to Google's, and the answer back.

AI Studio embeds a batch by `batchEmbedContents`. Vertex has two forms: `predict` for its text-embedding models,
`embedContent` and `batchEmbedContents` for Gemini's. Beside OpenAI's fields a caller may use Google's `task_type` and
`title`.
"""

import base64
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import Failure, Where
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.adapters.gemini.errors import failure_of_error, find_error
from services.provider_worker.adapters.gemini.response import failure_of_body
from services.provider_worker.adapters.gemini.unsupported import UnsupportedFields, bad_field
from services.provider_worker.adapters.openai_format.embeddings import build_embedding_usage, estimate_note
from services.provider_worker.adapters.response.body import ObjectReader
from services.provider_worker.adapters.response.errors import invalid_response
from services.provider_worker.adapters.response.json_text import JsonObject, as_object, as_objects, render
from services.provider_worker.adapters.response.usage_counts import CountReader
from services.provider_worker.adapters.usage_report import report_of_prompt

_HANDLED = frozenset({"model", "input", "dimensions", "encoding_format", "task_type", "taskType", "title"})


@dataclass(frozen=True, slots=True)
class GeminiEmbeddingRequest:
    """The request to send, and the notes for the response's reader."""

    method: str
    content: JsonObject
    notes: dict[str, str]


def build_embedding_request(
    body: JsonObject, model: str, *, vertex: bool, unsupported: UnsupportedFields
) -> GeminiEmbeddingRequest:
    """Translate an OpenAI embeddings request.

    Raises RefusedByAdapter, also for token arrays, which Gemini cannot read.
    """
    body = {name: value for name, value in body.items() if value is not None}
    texts = _read_texts(body.get("input"))
    if body.get("user"):
        unsupported.drop_or_reject("user", "there is no field for the end user.")
    unsupported.reject_unknown(name for name in body if name not in _HANDLED and name != "user")
    encoding = body.get("encoding_format", "float")
    if encoding not in ("float", "base64"):
        raise bad_field("encoding_format", "it must be float or base64.")
    options: JsonObject = {"taskType": body.get("task_type", body.get("taskType")), "title": body.get("title")}
    options["outputDimensionality"] = body.get("dimensions")
    options = {name: value for name, value in options.items() if value is not None}
    method, content = (
        _build_vertex_call(texts, model, options) if vertex else _build_ai_studio_call(texts, model, options)
    )
    return GeminiEmbeddingRequest(
        method, content, {"encoding_format": str(encoding), "inputs": str(len(texts)), **estimate_note(texts)}
    )


def _read_texts(value: object) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts:
        raise bad_field("input", "it must be a text or a list of texts.")
    if any(not isinstance(text, str) for text in texts):
        raise bad_field("input", "Gemini cannot take token arrays; send the texts themselves.")
    return texts


def _build_content(text: str) -> JsonObject:
    return {"parts": [{"text": text}]}


def _build_ai_studio_call(texts: list[str], model: str, options: JsonObject) -> tuple[str, JsonObject]:
    requests = [{"model": f"models/{model}", "content": _build_content(text)} | options for text in texts]
    return "batchEmbedContents", {"requests": requests}


def _build_vertex_call(texts: list[str], model: str, options: JsonObject) -> tuple[str, JsonObject]:
    # Vertex truncates long texts unless `autoTruncate` is off; OpenAI rejects them.
    if "gemini" in model:
        config = options | {"autoTruncate": False}
        if len(texts) == 1:
            return "embedContent", {"content": _build_content(texts[0]), "embedContentConfig": config}
        requests = [{"content": _build_content(text), "embedContentConfig": config} for text in texts]
        return "batchEmbedContents", {"requests": requests}
    parameters = {name: options[name] for name in ("outputDimensionality",) if name in options}
    names = {"taskType": "task_type", "title": "title"}
    extra: JsonObject = {vertex: options[name] for name, vertex in names.items() if name in options}
    instances = [{"content": text} | extra for text in texts]
    return "predict", {"instances": instances, "parameters": parameters | {"autoTruncate": False}}


class EmbeddingReader(ObjectReader):
    """Reads the response of each of the three methods into OpenAI's `list` of embeddings."""

    def __init__(self, run: AttemptRun, notes: Mapping[str, str]) -> None:
        self._model = run.model
        self._base64 = notes.get("encoding_format") == "base64"
        self._inputs = notes.get("inputs")
        self._notes = notes
        super().__init__()

    def _read(self, document: JsonObject, content: bytes) -> Answer:
        """Return the list, in the order of the inputs.

        A number of vectors other than that of the inputs is a failure.
        """
        error = find_error(document)
        if error is not None:
            return Answer(failure=failure_of_error(error, Where.HTTP_200_BODY))
        vectors = [_read_vector(embedding) for embedding in _find_embeddings(document)]
        if not vectors or any(vector is None for vector in vectors):
            return Answer(failure=invalid_response("The provider's response holds no embeddings."))
        if self._inputs is not None and str(len(vectors)) != self._inputs:
            return Answer(
                failure=invalid_response("The provider returned a different number of embeddings than texts.")
            )
        counts = CountReader()
        tokens = _count_tokens(counts, document)
        data = [
            {"object": "embedding", "index": index, "embedding": self._encode(vector or [])}
            for index, vector in enumerate(vectors)
        ]
        report = report_of_prompt(tokens, counts.implausible)
        usage = build_embedding_usage(report, self._notes)
        return Answer(
            body=render({"object": "list", "data": data, "model": self._model, "usage": usage}),
            model_served=self._model,
            usage=report,
        )

    def _no_object(self, content: bytes) -> Failure:
        return failure_of_body(content)

    def _encode(self, vector: list[float]) -> object:
        """Return the numbers, or base64 of little-endian 32-bit floats."""
        if not self._base64:
            return vector
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")


def _find_embeddings(document: JsonObject) -> list[JsonObject]:
    if "predictions" in document:
        return [as_object(prediction.get("embeddings")) for prediction in as_objects(document["predictions"])]
    return as_objects(document.get("embeddings")) or as_objects(document.get("embedding"))


def _read_vector(embedding: JsonObject) -> list[float] | None:
    values = embedding.get("values")
    if not isinstance(values, list) or not values:
        return None
    numbers: list[float] = []
    for value in values:
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
            or abs(value) > 1e38
        ):
            return None
        numbers.append(value)
    return numbers


def _count_tokens(counts: CountReader, document: JsonObject) -> int | None:
    """Return the tokens of the inputs: of the response, or summed over its embeddings; null if neither is reported."""
    reported = counts.read(as_object(document.get("usageMetadata")), "promptTokenCount")
    if reported is not None:
        return reported
    statistics = [as_object(embedding.get("statistics")) for embedding in _find_embeddings(document)]
    known = [count for each in statistics if (count := counts.read(each, "token_count", "tokenCount")) is not None]
    return sum(known) if known else None
