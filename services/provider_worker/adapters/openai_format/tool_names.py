"""Gives the functions that an answer calls the caller's names, where the request had to rename them."""

import json
from collections.abc import Mapping
from dataclasses import replace

from services.provider_worker.adapters.adapter import Answer, AnswerReader
from services.provider_worker.adapters.openai_format.functions import restore_functions
from services.provider_worker.adapters.openai_format.prepared import TOOL_NAMES_NOTE
from services.provider_worker.adapters.response.json_text import (
    JsonObject,
    as_object,
    as_objects,
    as_text,
    parse_object,
    render,
)


def restore_tool_names(reader: AnswerReader, notes: Mapping[str, str]) -> AnswerReader:
    """Return `reader`, or one that restores names and the older form of calls, as the request's notes say."""
    names = notes.get(TOOL_NAMES_NOTE)
    return restore_functions(reader if names is None else _NameRestorer(reader, json.loads(names)), notes)


class _NameRestorer:
    """Reads an answer through another reader."""

    def __init__(self, reader: AnswerReader, names: Mapping[str, str]) -> None:
        self._reader = reader
        self._names = names

    def feed(self, data: bytes) -> list[bytes]:
        return [self._restore(text) for text in self._reader.feed(data)]

    @property
    def over(self) -> bool:
        return self._reader.over

    def close(self) -> Answer:
        answer = self._reader.close()
        late = tuple(self._restore(text) for text in answer.late)
        return replace(answer, body=self._restore(answer.body), late=late)

    def _restore(self, text: bytes) -> bytes:
        if b'"tool_calls"' not in text:
            return text
        document = parse_object(text)
        if document is None or not self._rename(document):
            return text
        try:
            return render(document)
        except ValueError:
            return text

    def _rename(self, document: JsonObject) -> bool:
        renamed = False
        for choice in as_objects(document.get("choices")):
            for name in ("message", "delta"):
                for call in as_objects(as_object(choice.get(name)).get("tool_calls")):
                    function = as_object(call.get("function"))
                    original = self._names.get(as_text(function.get("name")))
                    if original is not None:
                        function["name"], renamed = original, True
        return renamed
