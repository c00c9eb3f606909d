"""Repairs the tool calls of one choice, so that OpenAI's own clients assemble them correctly.

Those clients join the strings of all pieces with the same `index`, including `id` and `name`. So every call needs an
index of its own (OpenRouter sends parallel calls that all have index 0, Mistral leaves the index out), its id and name
may appear only once, and nothing may follow complete arguments. Calls of custom tools carry a text under `custom` instead
of a function; no arguments are added to them.
"""

from services.provider_worker.adapters.response.arguments import ArgumentsFilter, first_object
from services.provider_worker.adapters.response.json_text import (
    JsonObject,
    as_object,
    as_objects,
    as_text,
    render,
)


class _StreamedCall:
    """One call: its index in the answer, and what has arrived of it."""

    def __init__(self, index: int, call_id: str) -> None:
        self.index = index
        self.id = call_id
        self.name = ""
        self.has_arguments = False
        """Whether any of its arguments went on to the caller, or it has none to get."""
        self.arguments = ArgumentsFilter()


class ToolCallRepairer:
    """Re-indexes the pieces of streamed tool calls. `id_prefix` starts the ids of calls without one."""

    def __init__(self, id_prefix: str) -> None:
        self._id_prefix = id_prefix
        self._calls: list[_StreamedCall] = []
        self._by_id: dict[str, _StreamedCall] = {}
        self._by_index: dict[int, _StreamedCall] = {}
        """The provider's index -> the latest call that used it."""

    @property
    def any(self) -> bool:
        """Whether a call has begun."""
        return bool(self._calls)

    def repair(self, delta: JsonObject) -> bool:
        """Repair `delta["tool_calls"]` in place; return whether anything changed."""
        raw = delta.get("tool_calls")
        if not raw:
            return False
        pieces = as_objects(raw)
        # Not any(): every piece has to be repaired.
        changed = sum([self._repair_piece(piece) for piece in pieces]) > 0
        if changed or pieces != raw:
            delta["tool_calls"] = [piece for piece in pieces if piece.keys() != {"index"}]
            if not delta["tool_calls"]:
                del delta["tool_calls"]
            return True
        return False

    def take_missing_arguments(self, *, cut_short: bool) -> list[JsonObject]:
        """Return pieces with what was held back of calls' arguments, so that every caller can parse them.

        Calls without arguments get the empty object; in an answer that was `cut_short` only those whose provider sent it.
        """
        missing: list[JsonObject] = []
        for call in self._calls:
            rest = call.arguments.take_rest()
            if not rest and not call.has_arguments and not cut_short:
                rest = "{}"
            if rest:
                call.has_arguments = True
                missing.append({"index": call.index, "function": {"arguments": rest}})
        return missing

    def _repair_piece(self, piece: JsonObject) -> bool:
        before = dict(piece)
        function = dict(as_object(piece.get("function")))
        call, new = self._call_of(piece, as_text(function.get("name")))
        piece["index"] = call.index
        if new:
            piece["id"] = call.id
            piece["type"] = as_text(piece.get("type")) or "function"
        else:
            piece.pop("id", None)
            if "type" in piece and not piece["type"]:
                del piece["type"]
            if "name" in function and function["name"] in (call.name, "", None):
                del function["name"]
        call.name = call.name or as_text(function.get("name"))
        self._filter_arguments(call, function, new=new)
        call.has_arguments = call.has_arguments or "custom" in piece
        if function or new:
            piece["function"] = function
        else:
            piece.pop("function", None)
        return piece != before

    def _filter_arguments(self, call: _StreamedCall, function: JsonObject, *, new: bool) -> None:
        arguments = function.get("arguments")
        if isinstance(arguments, dict):
            arguments = render(arguments).decode()
        if arguments is None and "arguments" in function:
            arguments = ""
        if not isinstance(arguments, str):
            return
        kept = call.arguments.feed(arguments)
        if kept:
            call.has_arguments = True
        if kept or new:
            function["arguments"] = kept
        else:
            del function["arguments"]

    def _call_of(self, piece: JsonObject, name: str) -> tuple[_StreamedCall, bool]:
        """Return the call that `piece` belongs to, and whether it begins with it."""
        call_id, index = as_text(piece.get("id")), piece.get("index")
        call = self._by_id.get(call_id)
        if call is None and isinstance(index, int) and not (call_id and name):
            # An unknown id without a name does not begin a call: some servers make up an id for every piece.
            call = self._by_index.get(index)
            if call is not None and name and call.arguments.complete:
                # Google's compatible endpoint gives parallel calls no ids, and all of them index 0.
                call = None
        elif call is None and not isinstance(index, int) and not call_id and not name and self._calls:
            call = self._calls[-1]
        if call is not None:
            return call, False
        call = _StreamedCall(len(self._calls), call_id or f"{self._id_prefix}_{len(self._calls)}")
        self._calls.append(call)
        self._by_id[call.id] = call
        if isinstance(index, int):
            self._by_index[index] = call
        return call, True


def repair_complete_calls(message: JsonObject, id_prefix: str, *, cut_short: bool) -> bool:
    """Repair the tool calls of a complete message in place; return whether anything changed.

    Missing arguments become `{}` unless the answer was `cut_short`, where they are unknown.
    """
    changed = False
    calls = as_objects(message.get("tool_calls"))
    for position, call in enumerate(calls):
        if "custom" not in call:
            changed = _repair_function(call, cut_short=cut_short) or changed
        if not as_text(call.get("id")):
            call["id"], changed = f"{id_prefix}_{position}", True
        if not as_text(call.get("type")):
            call["type"], changed = "function", True
    return changed


def _repair_function(call: JsonObject, *, cut_short: bool) -> bool:
    call["function"] = function = as_object(call.get("function"))
    arguments = function.get("arguments")
    if isinstance(arguments, dict):
        function["arguments"] = render(arguments).decode()
    elif not arguments and not (cut_short and arguments == ""):
        function["arguments"] = "" if cut_short else "{}"
    elif isinstance(arguments, str) and (kept := first_object(arguments)) != arguments:
        function["arguments"] = kept
    else:
        return False
    return True
