"""Gives the functions that an answer calls the caller's names, where the request had to rename them."""

import json
from collections.abc import Mapping
from functools import partial

from services.provider_worker.adapters.adapter import AnswerReader
from services.provider_worker.adapters.openai_format.functions import restore_functions
from services.provider_worker.adapters.openai_format.prepared import TOOL_NAMES_NOTE
from services.provider_worker.adapters.openai_format.rewritten_answer import RewrittenAnswerReader
from services.provider_worker.adapters.response.json_text import JsonObject, as_object, as_objects, as_text


def restore_tool_names(reader: AnswerReader, notes: Mapping[str, str]) -> AnswerReader:
    """Return `reader`, or one that restores names and the older form of calls, as the request's notes say."""
    names = notes.get(TOOL_NAMES_NOTE)
    if names is not None:
        reader = RewrittenAnswerReader(reader, partial(_rename, json.loads(names)))
    return restore_functions(reader, notes)


def _rename(names: Mapping[str, str], document: JsonObject) -> bool:
    renamed = False
    for choice in as_objects(document.get("choices")):
        for name in ("message", "delta"):
            for call in as_objects(as_object(choice.get(name)).get("tool_calls")):
                function = as_object(call.get("function"))
                original = names.get(as_text(function.get("name")))
                if original is not None:
                    function["name"], renamed = original, True
    return renamed
