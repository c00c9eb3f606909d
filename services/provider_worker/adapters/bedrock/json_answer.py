"""A JSON answer of a model that Bedrock does not hold to a schema: the arguments of the only tool, which it has to call.

The caller reads them as the content of the answer, as from any other model. Pure.
"""

from collections.abc import Mapping
from dataclasses import replace

from keyferry.contracts.chat import AttemptRun
from services.provider_worker.adapters.adapter import Answer, AnswerReader
from services.provider_worker.adapters.bedrock.models import has_structured_outputs, takes_forced_tools, takes_tools
from services.provider_worker.adapters.openai_format.fields import CallerFields
from services.provider_worker.adapters.openai_format.rewritten_answer import RewrittenAnswerReader
from services.provider_worker.adapters.openai_format.tool_schema import plain_root
from services.provider_worker.adapters.openai_format.tools import ResponseFormat, Tool
from services.provider_worker.adapters.response.json_text import (
    JsonObject,
    as_object,
    as_objects,
    as_text,
)

JSON_ANSWER_NOTE = "json_answer"
"""The note of a request whose answer comes as a tool call."""
ANSWER_TOOL = "json_answer"


def answer_tool(run: AttemptRun, requested: ResponseFormat | None, tools: list[Tool]) -> Tool | None:
    """Return the tool by which the model answers in JSON, or null if it cannot, or needs none."""
    if requested is None or tools or has_structured_outputs(run.model):
        return None
    if not takes_forced_tools(run.model) or not takes_tools(run.model, stream=run.stream):
        return None
    schema = requested.schema
    if schema is None:
        schema = {"type": "object", "properties": {}, "additionalProperties": True}
    if schema.get("type") != "object":
        return None
    schema = plain_root(schema)
    return Tool(
        ANSWER_TOOL, requested.description or "Answers in the requested form.", schema, strict=False, declared={}
    )


def answers_by_tool(body: JsonObject, fields: CallerFields) -> bool:
    """Return whether a request's only tool is the one of `answer_tool`."""
    tools = as_objects(as_object(body.get("toolConfig")).get("tools"))
    return not fields.take("tools") and any(
        as_object(tool.get("toolSpec")).get("name") == ANSWER_TOOL for tool in tools
    )


def read_json_answer(reader: AnswerReader, notes: Mapping[str, str]) -> AnswerReader:
    """Return `reader`, or one whose tool call is the content of the answer, if the request's notes say so."""
    return _JsonAnswerReader(reader) if JSON_ANSWER_NOTE in notes else reader


class _JsonAnswerReader(RewrittenAnswerReader):
    def __init__(self, reader: AnswerReader) -> None:
        super().__init__(reader, _show)

    def close(self) -> Answer:
        answer = super().close()
        return replace(answer, finish_reason="stop") if answer.finish_reason == "tool_calls" else answer


def _show(document: JsonObject) -> bool:
    for choice in as_objects(document.get("choices")):
        for name in ("message", "delta"):
            message = as_object(choice.get(name))
            calls = as_objects(message.pop("tool_calls", None))
            # Were there a second call, two objects would be no JSON.
            pieces = [call for position, call in enumerate(calls) if call.get("index", position) == 0]
            if pieces:
                answer = "".join(as_text(as_object(piece.get("function")).get("arguments")) for piece in pieces)
                message["content"] = as_text(message.get("content")) + answer
        if choice.get("finish_reason") == "tool_calls":
            choice["finish_reason"] = "stop"
    return True
