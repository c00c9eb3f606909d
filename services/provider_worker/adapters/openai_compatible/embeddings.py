"""Embeddings of OpenAI-compatible providers: the request, and the list in the requested encoding.

Source: the OpenAI API reference, `POST /v1/embeddings`. Base64 is that of little-endian 32-bit floats, the official
SDK's default.
"""

import base64
import binascii
import math
import sys
from array import array
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from keyferry.contracts.failure import Failure, Where
from services.provider_worker.adapters.adapter import Answer, bad_request
from services.provider_worker.adapters.openai_compatible.capabilities import EmbeddingCapabilities
from services.provider_worker.adapters.openai_compatible.editor import RequestEditor
from services.provider_worker.adapters.openai_compatible.errors import failure_in_body
from services.provider_worker.adapters.openai_format.embeddings import build_embedding_usage, estimate_note
from services.provider_worker.adapters.response.body import ObjectReader
from services.provider_worker.adapters.response.errors import (
    failure_of_error,
    failure_of_invalid_body,
    find_error,
    invalid_response,
)
from services.provider_worker.adapters.response.json_text import (
    JsonObject,
    RepairedObject,
    as_object,
    as_objects,
    render,
)
from services.provider_worker.adapters.response.token_usage import TOTAL_ALONE, read_usage, report_and_cost
from services.provider_worker.adapters.usage_report import UsageReport

FLOAT = "float"
BASE64 = "base64"


class InvalidVector(ValueError):
    """A value in the place of a vector is not one."""


def fit_embedding_request(editor: RequestEditor, embeddings: EmbeddingCapabilities) -> None:
    """Adapt everything but the model. Raises RefusedByAdapter."""
    document = editor.document
    count_inputs(document)
    if document.get("encoding_format") not in (None, FLOAT, BASE64):
        raise bad_request("`encoding_format` must be `float` or `base64`.", "encoding_format")
    if not embeddings.token_input and _holds_tokens(document["input"]):
        raise bad_request("This provider takes text only, not token ids; send `input` as text.", "input")
    if not embeddings.refused.isdisjoint(document):
        editor.strip(embeddings.refused)
    if embeddings.renames:
        editor.rename(embeddings.renames)
    for name in ("stream", "stream_options", *(() if embeddings.encoding_format else ("encoding_format",))):
        if name in editor.document:
            editor.remove(name)


def reader_notes(document: JsonObject) -> Mapping[str, str]:
    """Return what the response's reader needs to know of the request: how many vectors, in which encoding."""
    encoding = str(document.get("encoding_format") or FLOAT)
    return {
        "count": str(count_inputs(document)),
        "encoding_format": encoding,
        **estimate_note(document.get("input")),
    }


def count_inputs(document: JsonObject) -> int:
    """Count the vectors that a request asks for. Raises RefusedByAdapter if `input` is neither text nor tokens."""
    value = document.get("input")
    if isinstance(value, str) and value:
        return 1
    if isinstance(value, list) and value:
        if all(isinstance(item, str) for item in value):
            return len(value)
        if _are_tokens(value):
            return 1
        if all(isinstance(item, list) and item and _are_tokens(item) for item in value):
            return len(value)
    raise bad_request(
        "`input` must be a non-empty text, list of texts, list of token ids, or list of such lists.", "input"
    )


def encode_vector(vector: object, encoding_format: str) -> list[float] | str:
    """Return `vector`, numbers or base64, in the requested encoding; the same object if nothing changes.

    Raises InvalidVector.
    """
    numbers = _read_numbers(vector)
    if encoding_format == BASE64:
        return vector if isinstance(vector, str) else _encode_base64(numbers)
    return vector if isinstance(vector, list) else numbers.tolist()


def _read_numbers(vector: object) -> "array[float]":
    numbers = array("f")
    try:
        if isinstance(vector, str):
            numbers.frombytes(base64.b64decode(vector, validate=True))
            _swap_on_big_endian(numbers)
        elif isinstance(vector, list):
            numbers.extend(vector)
    except (binascii.Error, TypeError, ValueError, OverflowError) as error:
        raise InvalidVector(str(error)) from None
    if not numbers or not all(map(math.isfinite, numbers)):
        raise InvalidVector("it is empty or not finite")
    return numbers


def _encode_base64(numbers: "array[float]") -> str:
    _swap_on_big_endian(numbers)
    return base64.b64encode(numbers.tobytes()).decode("ascii")


def _swap_on_big_endian(numbers: "array[float]") -> None:
    if sys.byteorder == "big":
        numbers.byteswap()


def _holds_tokens(value: object) -> bool:
    return isinstance(value, list) and not all(isinstance(item, str) for item in value)


def _are_tokens(items: list[object]) -> bool:
    return all(type(item) is int and item >= 0 for item in items)


class EmbeddingReader(ObjectReader):
    """Reads one `list` of embeddings. `notes` are those of `reader_notes`."""

    def __init__(self, notes: Mapping[str, str], headers: Mapping[str, str]) -> None:
        self._count = int(notes["count"])
        self._encoding_format = notes.get("encoding_format", FLOAT)
        self._notes = notes
        self._headers = headers
        super().__init__()

    def _read(self, document: JsonObject, content: bytes) -> Answer:
        """Return the list, its bytes unchanged if it already is what was requested."""
        report, cost = _read_report(document)
        failure, changed = self._take(document)
        changed = self._repair_envelope(document, report) or changed
        changed = changed or isinstance(document, RepairedObject)
        model = document.get("model")
        return Answer(
            failure=failure,
            body=b"" if failure is not None else render(document) if changed else content,
            model_served=model if isinstance(model, str) and model else None,
            usage=report,
            reported_cost_usd=cost,
        )

    def _no_object(self, content: bytes) -> Failure:
        return failure_in_body(content, self._headers) or failure_of_invalid_body(content)

    def _take(self, document: JsonObject) -> tuple[Failure | None, bool]:
        """Return the failure in a document, and whether the document was changed."""
        error = find_error(document)
        if error is not None and not document.get("data"):
            return failure_of_error(error, Where.HTTP_200_BODY, self._headers), False
        rows = as_objects(document.get("data"))
        if len(rows) != self._count:
            return invalid_response(f"The provider returned {len(rows)} embeddings for {self._count} inputs."), False
        try:
            changed = self._repair(document, rows)
        except InvalidVector:
            return invalid_response("The provider's response holds an invalid embedding."), False
        return None, changed

    def _repair(self, document: JsonObject, rows: list[JsonObject]) -> bool:
        places = [row.get("index") for row in rows]
        in_order = places == list(range(len(rows)))
        if not in_order and sorted(map(str, places)) == sorted(map(str, range(len(rows)))):
            rows = sorted(rows, key=lambda row: int(str(row["index"])))
        changed = not in_order
        for index, row in enumerate(rows):
            vector = encode_vector(row.get("embedding"), self._encoding_format)
            if vector is not row.get("embedding") or row.get("object") != "embedding" or row.get("index") != index:
                row["object"], row["index"], row["embedding"] = "embedding", index, vector
                changed = True
        if changed:
            document["data"] = rows
        return changed

    def _repair_envelope(self, document: JsonObject, report: UsageReport) -> bool:
        changed = document.get("object") != "list"
        document["object"] = "list"
        usage, correct = as_object(document.get("usage")), build_embedding_usage(report, self._notes)
        if any(usage.get(name) != value for name, value in correct.items()):
            usage = usage if report.note is None else {}
            document["usage"] = usage | correct
            changed = True
        return changed


def _read_report(document: JsonObject) -> tuple[UsageReport, Decimal | None]:
    """Return the report of embeddings, which have no completion that could be unknown, or a part of the total."""
    report, cost = report_and_cost(read_usage(document.get("usage")))
    implausible = tuple(name for name in report.implausible if name != TOTAL_ALONE)
    return replace(report, completion_known=report.prompt_known, implausible=implausible), cost
