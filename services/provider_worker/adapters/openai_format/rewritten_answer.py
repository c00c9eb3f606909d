"""Reads an answer through another reader, and rewrites the completion or chunks that call tools."""

from collections.abc import Callable
from dataclasses import replace

from services.provider_worker.adapters.adapter import Answer, AnswerReader
from services.provider_worker.adapters.response.json_text import JsonObject, parse_object, render


class RewrittenAnswerReader:
    """Passes on what `reader` gives, rewritten by `rewrite`, which changes a document and returns whether it did."""

    def __init__(self, reader: AnswerReader, rewrite: Callable[[JsonObject], bool]) -> None:
        self._reader = reader
        self._rewrite = rewrite

    def feed(self, data: bytes) -> list[bytes]:
        """Return the rewritten pieces that `data` completes."""
        return [self._rewritten(text) for text in self._reader.feed(data)]

    @property
    def over(self) -> bool:
        """Whether the answer has ended."""
        return self._reader.over

    def close(self) -> Answer:
        """Return the answer, rewritten."""
        answer = self._reader.close()
        late = tuple(map(self._rewritten, answer.late))
        return replace(answer, body=self._rewritten(answer.body), late=late)

    def _rewritten(self, text: bytes) -> bytes:
        if b'"tool_calls"' not in text:
            return text
        document = parse_object(text)
        if document is None or not self._rewrite(document):
            return text
        try:
            return render(document)
        except ValueError:
            return text
