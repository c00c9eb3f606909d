"""Reads an OpenAI-shaped list of embeddings, and gives it on in the encoding that the caller asked for."""

from collections.abc import Mapping

from keyferry.contracts.failure import Failure, Where
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.adapters.openai_compatible.embeddings import FLOAT, NotAVector, encoded
from services.provider_worker.adapters.response.body import ObjectReader, failure_under_200
from services.provider_worker.adapters.response.errors import error_in, failure_of_error
from services.provider_worker.adapters.response.json_text import JsonObject, Mended, as_object, as_objects, render
from services.provider_worker.adapters.response.token_usage import metered, read_usage
from services.provider_worker.adapters.response.unusable import no_object, unusable


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
