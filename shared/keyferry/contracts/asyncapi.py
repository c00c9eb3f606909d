"""The AsyncAPI 3.0.0 document of the bus, generated from the topology.

Source: the AsyncAPI specification 3.0.0 (channels, operations, reply objects). `x-keyferry-` extensions describe what it does
not cover: durability, and the encoding of messages that are not plain JSON. Pure.
"""

import re
from collections.abc import Iterator
from typing import Any

from pydantic.json_schema import models_json_schema

from keyferry.contracts.envelope import Head
from keyferry.contracts.topology import (
    ATTEMPT_FINISHED,
    BUCKETS,
    CHAT_REQUEST,
    FRAME_PUBLISHERS,
    FRAMES,
    REQUEST_DECIDED,
    SUBJECTS,
    AnySubject,
    Bucket,
    SubjectKind,
    contracts,
)
from keyferry.contracts.usage import BatchHead

Json = dict[str, Any]

FRAMES_CHANNEL = "frames"
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
BATCHED = (ATTEMPT_FINISHED, REQUEST_DECIDED)
"""Subjects whose messages are batches of records."""

_REPLY = """\
The inbox that the request names, below the caller's own prefix. A request that is not carried out is answered with
`{"refusal": Refusal}`."""
_ENCODINGS = {
    "json": "One JSON object, UTF-8, without nulls.",
    "head-body": "The payload described here as one line of JSON, a newline, and the caller's OpenAI-shaped body, byte for byte.",
    "batch": "One line of JSON (BatchHead), then `count` lines, each one JSON object as described here.",
    "frame": (
        "The first byte is the kind: A Accepted, D Data, E End, R RequestRefused. A, E and R continue with one line of JSON,"
        " D with `<attempt_id> <seq>`. After the newline come the payload's bytes (D, E)."
    ),
}


def document(version: str) -> Json:
    """Return the complete document; `version` is the library's."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Keyferry bus",
            "version": version,
            "description": "The messages between the services over NATS. Rendered from `keyferry.contracts.topology`.",
        },
        "defaultContentType": "application/json",
        "servers": {"bus": {"host": "127.0.0.1:4222", "protocol": "nats", "description": "NATS with JetStream."}},
        "channels": dict(sorted(_channels())),
        "operations": dict(sorted(_operations())),
        "components": {"messages": _messages(), "schemas": _schemas()},
    }


def encoding(subject: AnySubject) -> str:
    """Return the encoding of messages on `subject`, a key of the encodings that the document explains."""
    if subject in BATCHED:
        return "batch"
    return "head-body" if issubclass(subject.message, Head) else "json"


def _channels() -> Iterator[tuple[str, Json]]:
    for subject in SUBJECTS:
        yield subject.name, _channel(subject)
        if subject.reply is not None:
            yield (
                _reply_channel(subject),
                {
                    "address": None,
                    "description": _REPLY,
                    "messages": {
                        subject.reply.__name__: _message_ref(subject.reply.__name__),
                        "Refusal": _message_ref("Refusal"),
                    },
                },
            )
    yield (
        FRAMES_CHANNEL,
        {
            "address": None,
            "description": "The caller's inbox: the answer to a request for a completion, as frames.",
            "messages": {model.__name__: _message_ref(model.__name__) for model in FRAMES},
            "x-keyferry-encoding": _encoding("frame"),
        },
    )
    for bucket in BUCKETS:
        yield f"bucket.{bucket.name}", _bucket_channel(bucket, bucket.key_subject("{key}"), "Written by its owner.")
        yield (
            f"view.{bucket.name}",
            _bucket_channel(bucket, f"{bucket.view_prefix}{{key}}", "Republished to its readers."),
        )


def _channel(subject: AnySubject) -> Json:
    channel: Json = {
        "address": subject.template,
        "summary": subject.summary,
        "messages": {subject.message.__name__: _message_ref(subject.message.__name__)},
        "x-keyferry-durability": _durability(subject),
        "x-keyferry-encoding": _encoding(encoding(subject)),
    }
    if subject in BATCHED:
        channel["messages"]["BatchHead"] = _message_ref(BatchHead.__name__)
    if parameters := _PLACEHOLDER.findall(subject.template):
        channel["parameters"] = {name: {"description": f"One subject token: the {name}."} for name in parameters}
    return channel


def _bucket_channel(bucket: Bucket[Any], address: str, role: str) -> Json:
    return {
        "address": address,
        "summary": f"{bucket.summary} {role}",
        "parameters": {"key": {"description": "The key in the bucket; it may span several subject tokens."}},
        "messages": {bucket.message.__name__: _message_ref(bucket.message.__name__)},
        "x-keyferry-durability": f"KV bucket {bucket.name}",
    }


def _operations() -> Iterator[tuple[str, Json]]:
    for subject in SUBJECTS:
        for role in subject.publishers:
            yield f"{role}.send.{subject.name}", _operation("send", subject)
        for role in subject.subscribers:
            yield f"{role}.receive.{subject.name}", _operation("receive", subject)
    for role in FRAME_PUBLISHERS:
        yield f"{role}.send.{FRAMES_CHANNEL}", _plain_operation("send", FRAMES_CHANNEL)
    for role in CHAT_REQUEST.publishers:
        yield f"{role}.receive.{FRAMES_CHANNEL}", _plain_operation("receive", FRAMES_CHANNEL)
    for bucket in BUCKETS:
        yield f"{bucket.owner}.send.bucket.{bucket.name}", _plain_operation("send", f"bucket.{bucket.name}")
        for role in bucket.readers:
            yield f"{role}.receive.view.{bucket.name}", _plain_operation("receive", f"view.{bucket.name}")


def _operation(action: str, subject: AnySubject) -> Json:
    operation = _plain_operation(action, subject.name) | {"summary": subject.summary}
    if subject.queue and action == "receive":
        operation["bindings"] = {"nats": {"queue": subject.queue}}
    if subject.reply is not None:
        operation["reply"] = {"channel": _channel_ref(_reply_channel(subject))}
    elif issubclass(subject.message, Head):  # the answer to a request that carries a body comes as frames
        operation["reply"] = {"channel": _channel_ref(FRAMES_CHANNEL)}
    return operation


def _plain_operation(action: str, channel: str) -> Json:
    return {"action": action, "channel": _channel_ref(channel)}


def _messages() -> Json:
    names = sorted(model.__name__ for model in contracts())
    return {name: {"name": name, "payload": {"$ref": f"#/components/schemas/{name}"}} for name in names}


def _schemas() -> Json:
    _, schema = models_json_schema(
        [(model, "serialization") for model in contracts()], ref_template="#/components/schemas/{model}"
    )
    definitions: Json = schema["$defs"]
    return dict(sorted(definitions.items()))


def _durability(subject: AnySubject) -> str:
    return f"stream {subject.stream}" if subject.kind is SubjectKind.STREAM else subject.kind.value


def _encoding(name: str) -> Json:
    return {"name": name, "description": _ENCODINGS[name]}


def _reply_channel(subject: AnySubject) -> str:
    return f"{subject.name}.reply"


def _message_ref(name: str) -> Json:
    return {"$ref": f"#/components/messages/{name}"}


def _channel_ref(name: str) -> Json:
    return {"$ref": f"#/channels/{name}"}
