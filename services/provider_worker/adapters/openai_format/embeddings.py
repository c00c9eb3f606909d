"""OpenAI's embeddings request and the `list` that answers it.

Source of the shapes: the OpenAI API reference, "Create embeddings". Base64 holds little-endian 32-bit floats.
"""

import base64
import struct
from collections.abc import Mapping

from keyferry.contracts.chat import AttemptRun
from services.provider_worker.adapters.adapter import bad_request
from services.provider_worker.adapters.openai_format.fields import CallerFields
from services.provider_worker.adapters.response.json_text import JsonObject, render
from services.provider_worker.adapters.response.prompt_estimate import estimate_prompt
from services.provider_worker.adapters.usage_report import UsageReport, usage_note

ENCODING_NOTE = "encoding_format"
"""The note in which a request keeps the requested encoding for its response."""


ESTIMATE_NOTE = "estimated_tokens"
"""The note in which a request keeps its estimated tokens for its response."""


def estimate_note(embedded: object) -> dict[str, str]:
    """Return the note with the estimated tokens of `input`."""
    return {ESTIMATE_NOTE: str(estimate_prompt({"input": embedded}))}


def build_embedding_usage(report: UsageReport, notes: Mapping[str, str]) -> JsonObject:
    """Build the usage object of a list of embeddings: what was reported, or an estimate that says so.

    OpenAI's list always has one, unlike its completions. The estimate is that of the ledger.
    """
    tokens = report.token_usage.total
    if report.prompt_known and tokens:
        return {"prompt_tokens": tokens, "total_tokens": tokens, **usage_note(report)}
    estimated = int(notes.get(ESTIMATE_NOTE, "0"))
    why = usage_note(report).get("usage_note", "the provider reported no usage")
    return {"prompt_tokens": estimated, "total_tokens": estimated, "usage_note": f"estimated: {why}"}


def read_texts(fields: CallerFields) -> list[str]:
    """Return the texts to embed.

    Raises RefusedByAdapter for token ids, which are provider-specific, and for no text.
    """
    value = fields.take("input")
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts:
        raise bad_request("`input` must be a text or a list of texts, none of them empty.", "input")
    if not all(isinstance(text, str) and text for text in texts):
        raise bad_request(f"{fields.provider} embeds texts only: `input` must hold texts, not token ids.", "input")
    return [str(text) for text in texts]


def read_encoding(fields: CallerFields) -> str:
    """Return `float` or `base64`. Raises RefusedByAdapter for another encoding."""
    encoding = fields.take("encoding_format") or "float"
    if encoding not in ("float", "base64"):
        raise bad_request("`encoding_format` must be `float` or `base64`.", "encoding_format")
    return str(encoding)


def read_dimensions(fields: CallerFields) -> int | None:
    """Return the requested length of a vector, or null. Raises RefusedByAdapter for anything but a positive integer."""
    value = fields.take("dimensions")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise bad_request("`dimensions` must be an integer of at least 1.", "dimensions")
    return value


def read_vectors(value: object) -> list[list[float]] | None:
    """Return `value` if it is a list of vectors of one length, none of them empty; else null."""
    if not isinstance(value, list) or not value:
        return None
    vectors = [_read_vector(row) for row in value]
    lengths = {len(vector) for vector in vectors if vector}
    return [vector for vector in vectors if vector] if len(lengths) == 1 and all(vectors) else None


def _read_vector(row: object) -> list[float] | None:
    if not isinstance(row, list):
        return None
    numbers = [item for item in row if isinstance(item, int | float) and not isinstance(item, bool)]
    return numbers if len(numbers) == len(row) else None


def build_embedding_list(
    run: AttemptRun, vectors: list[list[float]], notes: Mapping[str, str], report: UsageReport
) -> bytes:
    """Build the answer for the caller. Raises ValueError if a number does not fit a 32-bit float."""
    encoding = notes.get(ENCODING_NOTE, "float")
    data: list[JsonObject] = [
        {"object": "embedding", "index": index, "embedding": encode_base64(vector) if encoding == "base64" else vector}
        for index, vector in enumerate(vectors)
    ]
    usage = build_embedding_usage(report, notes)
    return render({"object": "list", "data": data, "model": run.model, "usage": usage})


def encode_base64(vector: list[float]) -> str:
    """Return `vector` as base64 of little-endian 32-bit floats. Raises ValueError if a number does not fit."""
    try:
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
    except (OverflowError, struct.error):
        raise ValueError("a number does not fit a 32-bit float") from None
