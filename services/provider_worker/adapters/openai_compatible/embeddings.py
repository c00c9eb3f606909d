"""An OpenAI-shaped embeddings request, fitted to one provider of the family; and vectors in both of OpenAI's encodings.

Source: the OpenAI API reference, `POST /v1/embeddings`. Base64 is that of little-endian 32-bit floats, which the official
SDK asks for unless told otherwise.
"""

import base64
import binascii
import math
import sys
from array import array
from collections.abc import Mapping

from keyferry.contracts.failure import Failure, Where
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.adapters.openai_compatible.capabilities import Embeddings
from services.provider_worker.adapters.openai_compatible.errors import failure_under_200
from services.provider_worker.adapters.openai_compatible.request import Fitting, refused
from services.provider_worker.adapters.response.body import ObjectReader
from services.provider_worker.adapters.response.errors import error_in, failure_of_error, no_object, unusable
from services.provider_worker.adapters.response.json_text import JsonObject, Mended, as_object, as_objects, render
from services.provider_worker.adapters.response.token_usage import metered, read_usage

FLOAT = "float"
BASE64 = "base64"


class NotAVector(ValueError):
    """What stands where a vector belongs is none."""


def fit_embeddings(fitting: Fitting, embeddings: Embeddings) -> None:
    """Fits everything but the model. Raises RefusedByAdapter."""
    document = fitting.document
    input_count(document)
    if document.get("encoding_format") not in (None, FLOAT, BASE64):
        raise refused("encoding_format is `float` or `base64`.", "encoding_format")
    if not embeddings.token_input and _holds_tokens(document["input"]):
        raise refused("This provider takes text and no token ids; send `input` as text.", "input")
    if not embeddings.refused.isdisjoint(document):
        fitting.strip(embeddings.refused)
    if embeddings.renames:
        fitting.rename(embeddings.renames)
    for name in ("stream", "stream_options", *(() if embeddings.encoding_format else ("encoding_format",))):
        if name in fitting.document:
            fitting.leave_out(name)


def notes_of(document: JsonObject) -> Mapping[str, str]:
    """What the reader of the answer has to know of the caller's request: how many vectors, in which encoding."""
    return {"count": str(input_count(document)), "encoding_format": str(document.get("encoding_format") or FLOAT)}


def input_count(document: JsonObject) -> int:
    """How many vectors a request asks for. Raises RefusedByAdapter where `input` is neither text nor tokens."""
    given = document.get("input")
    if isinstance(given, str) and given:
        return 1
    if isinstance(given, list) and given:
        if all(isinstance(item, str) for item in given):
            return len(given)
        if _are_tokens(given):
            return 1
        if all(isinstance(item, list) and item and _are_tokens(item) for item in given):
            return len(given)
    raise refused("`input` is text, a list of texts, a list of token ids, or a list of such lists; not empty.", "input")


def encoded(vector: object, encoding_format: str) -> list[float] | str:
    """`vector`, numbers or base64, in the encoding asked for; the same object where it is in it already. Raises NotAVector."""
    numbers = _numbers(vector)
    if encoding_format == BASE64:
        return vector if isinstance(vector, str) else _base64(numbers)
    return vector if isinstance(vector, list) else numbers.tolist()


def _numbers(vector: object) -> "array[float]":
    numbers = array("f")
    try:
        if isinstance(vector, str):
            numbers.frombytes(base64.b64decode(vector, validate=True))
            _swap_on_big_endian(numbers)
        elif isinstance(vector, list):
            numbers.extend(vector)
    except (binascii.Error, TypeError, ValueError, OverflowError) as error:
        raise NotAVector(str(error)) from None
    if not numbers or not all(map(math.isfinite, numbers)):
        raise NotAVector("it is empty or not finite")
    return numbers


def _base64(numbers: "array[float]") -> str:
    _swap_on_big_endian(numbers)
    return base64.b64encode(numbers.tobytes()).decode("ascii")


def _swap_on_big_endian(numbers: "array[float]") -> None:
    if sys.byteorder == "big":
        numbers.byteswap()


def _holds_tokens(given: object) -> bool:
    return isinstance(given, list) and not all(isinstance(item, str) for item in given)


def _are_tokens(items: list[object]) -> bool:
    return all(type(item) is int and item >= 0 for item in items)


class EmbeddingReader(ObjectReader):
    """Reads one `list` of embeddings. `notes` are those of `embeddings.notes_of`."""

    def __init__(self, notes: Mapping[str, str], headers: Mapping[str, str]) -> None:
        self._count = int(notes["count"])
        self._encoding_format = notes.get("encoding_format", FLOAT)
        self._headers = headers
        super().__init__()

    def _read(self, document: JsonObject, content: bytes) -> Answer:
        """The list, its bytes unchanged where it is what the caller asked for already."""
        token_usage, usage_source, cost = metered(read_usage(document.get("usage")))
        failure, changed = self._take(document)
        changed = changed or isinstance(document, Mended)
        model = document.get("model")
        return Answer(
            failure=failure,
            body=b"" if failure is not None else render(document) if changed else content,
            model_served=model if isinstance(model, str) and model else None,
            token_usage=token_usage,
            usage_source=usage_source,
            reported_cost_usd=cost,
        )

    def _no_object(self, content: bytes) -> Failure:
        return failure_under_200(content, self._headers) or no_object(content)

    def _take(self, document: JsonObject) -> tuple[Failure | None, bool]:
        """The failure in a document, or whether it had to be changed."""
        error = error_in(document)
        if error is not None and not document.get("data"):
            return failure_of_error(error, Where.HTTP_200_BODY, self._headers), False
        rows = as_objects(document.get("data"))
        if len(rows) != self._count:
            return unusable(f"The provider gave {len(rows)} embeddings for {self._count} inputs."), False
        try:
            changed = self._repair(document, rows)
        except NotAVector:
            return unusable("The provider's answer holds something that is not an embedding."), False
        return None, changed

    def _repair(self, document: JsonObject, rows: list[JsonObject]) -> bool:
        places = [row.get("index") for row in rows]
        in_order = places == list(range(len(rows)))
        if not in_order and sorted(map(str, places)) == sorted(map(str, range(len(rows)))):
            rows = sorted(rows, key=lambda row: int(str(row["index"])))
        changed = not in_order
        for index, row in enumerate(rows):
            vector = encoded(row.get("embedding"), self._encoding_format)
            if vector is not row.get("embedding") or row.get("object") != "embedding" or row.get("index") != index:
                row["object"], row["index"], row["embedding"] = "embedding", index, vector
                changed = True
        if changed:
            document["data"] = rows
        return _repair_envelope(document) or changed


def _repair_envelope(document: JsonObject) -> bool:
    changed = document.get("object") != "list"
    document["object"] = "list"
    usage = document.get("usage")
    token_usage, _, _ = metered(read_usage(usage))
    counts = {"prompt_tokens": token_usage.total, "total_tokens": token_usage.total}
    if any(as_object(usage).get(name) != count for name, count in counts.items()):
        # OpenAI's shape has these two always; where the provider reports nothing they are zero, and the ledger estimates.
        document["usage"] = as_object(usage) | counts
        changed = True
    return changed
