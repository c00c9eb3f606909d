"""The AsyncAPI document is consistent and matches the topology."""

from collections.abc import Iterator

from keyferry.contracts import asyncapi
from keyferry.contracts.topology import BUCKETS, FRAMES, SERVICES, SUBJECTS, contracts

_DOCUMENT = asyncapi.document("0")


def test_every_reference_resolves() -> None:
    references = list(_references(_DOCUMENT))
    assert len(references) > len(SUBJECTS)
    for reference in references:
        place: object = _DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            assert isinstance(place, dict), reference
            assert step in place, reference
            place = place[step]


def test_every_subject_is_a_channel_with_its_publishers_and_subscribers() -> None:
    operations = _DOCUMENT["operations"]
    for subject in SUBJECTS:
        assert _DOCUMENT["channels"][subject.name]["address"] == subject.template
        sends = {name.partition(".")[0] for name in operations if name.endswith(f".send.{subject.name}")}
        receives = {name.partition(".")[0] for name in operations if name.endswith(f".receive.{subject.name}")}
        assert sends == set(subject.publishers)
        assert receives == set(subject.subscribers)


def test_parameters_are_those_of_the_address() -> None:
    for name, channel in _DOCUMENT["channels"].items():
        for parameter in channel.get("parameters", {}):
            assert f"{{{parameter}}}" in channel["address"], name
        assert (channel["address"] or "").count("{") == len(channel.get("parameters", {})), name


def test_a_management_request_has_its_reply_and_its_refusal() -> None:
    for subject in SUBJECTS:
        if subject.reply is not None:
            operation = _DOCUMENT["operations"][f"{subject.publishers[0]}.send.{subject.name}"]
            channel = operation["reply"]["channel"]["$ref"].rpartition("/")[2]
            assert set(_DOCUMENT["channels"][channel]["messages"]) == {subject.reply.__name__, "Refusal"}


def test_batches_bodies_and_frames_are_explained() -> None:
    encodings = {
        name: channel["x-keyferry-encoding"]["name"]
        for name, channel in _DOCUMENT["channels"].items()
        if "x-keyferry-encoding" in channel
    }
    assert encodings["chat.request"] == encodings["attempt.run"] == "head-body"
    assert encodings["attempt.finished"] == encodings["request.decided"] == "batch"
    assert encodings["frames"] == "frame"
    assert encodings["tenant.create"] == "json"
    assert set(_DOCUMENT["channels"]["frames"]["messages"]) == {model.__name__ for model in FRAMES}


def test_every_message_and_every_bucket_is_included() -> None:
    assert set(_DOCUMENT["components"]["messages"]) == {model.__name__ for model in contracts()}
    for bucket in BUCKETS:
        assert _DOCUMENT["channels"][f"bucket.{bucket.name}"]["address"] == f"$KV.{bucket.name}.{{key}}"
        assert _DOCUMENT["channels"][f"view.{bucket.name}"]["address"] == f"kfview.{bucket.name}.{{key}}"


def test_every_service_has_a_subscription() -> None:
    for service in SERVICES:
        assert any(name.startswith(f"{service}.receive.") for name in _DOCUMENT["operations"])


def _references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(reference := value.get("$ref"), str):
            yield reference
        for part in value.values():
            yield from _references(part)
    elif isinstance(value, list):
        for part in value:
            yield from _references(part)
