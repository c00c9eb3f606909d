"""The command line of the replay, documented in the package's docstring."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import services.provider_worker.replay as tool
from services.provider_worker.adapters.registry import ADAPTERS
from services.provider_worker.adapters.response.json_text import JsonObject, as_object, as_objects
from services.provider_worker.replay.caller_request import (
    InvalidCallerRequest,
    describe_request,
    parse_caller_request,
)
from services.provider_worker.replay.outcome import describe_outcome
from services.provider_worker.replay.player import loopback_client, play
from services.provider_worker.replay.recording import (
    CUSTOM,
    InvalidRecording,
    Recording,
    find_provider,
    parse_recording,
)

_BAD_FILE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Replay the files named by the arguments; return the exit status, 2 if one could not be read."""
    options = _parser().parse_args(arguments)
    if options.provider is not None and options.provider not in ADAPTERS:
        _warn(f"there is no provider {options.provider!r}; there are {', '.join(sorted(ADAPTERS))}")
        return _BAD_FILE
    if options.request:
        return _show_requests(options.files)
    return asyncio.run(_replay(options.files, options.seed, options.provider, as_json=options.json))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m services.provider_worker.replay",
        description=tool.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", metavar="FILE", type=Path, help="recorded exchanges")
    parser.add_argument("--json", action="store_true", help="print one JSON line for each file")
    parser.add_argument(
        "--request",
        action="store_true",
        help="the files are callers' requests: print what would be sent, a JSON line each",
    )
    parser.add_argument("--seed", type=int, default=0, help="which offsets the answers are cut at (default 0)")
    parser.add_argument("--provider", help="read every file as this provider's")
    return parser


def _show_requests(files: Sequence[Path]) -> int:
    status = 0
    for file in files:
        try:
            line = describe_request(parse_caller_request(file.read_bytes()))
        except OSError as error:
            _warn(f"{file}: it cannot be read: {error.strerror}")
            status = _BAD_FILE
        except InvalidCallerRequest as error:
            _warn(f"{file}: {error}")
            status = _BAD_FILE
        else:
            sys.stdout.write(json.dumps(line) + "\n")
    return status


async def _replay(files: Sequence[Path], seed: int, provider: str | None, *, as_json: bool) -> int:
    status = 0
    client = loopback_client()
    try:
        for file in files:
            try:
                recorded = parse_recording(file.read_bytes(), file.stem)
            except OSError as error:
                _warn(f"{file}: it cannot be read: {error.strerror}")
                status = _BAD_FILE
                continue
            except InvalidRecording as error:
                _warn(f"{file}: {error}")
                status = _BAD_FILE
                continue
            chosen = provider or _choose(recorded, file)
            chunks, answer = await play(recorded, ADAPTERS[chosen], chosen, client, seed)
            line = describe_outcome(recorded, chunks, answer)
            # ASCII with escapes: surrogates that a stream has split become one character again.
            sys.stdout.write((json.dumps(line) if as_json else _describe(line)) + "\n")
    finally:
        await client.close()
    return status


def _choose(recorded: Recording, file: Path) -> str:
    provider = find_provider(recorded, ADAPTERS)
    if provider is None:
        _warn(f"{file}: no adapter for {recorded.provider!r}; read as an OpenAI-compatible one")
    return provider or CUSTOM


def _warn(note: str) -> None:
    sys.stderr.write(f"{note}\n")


def _describe(line: JsonObject) -> str:
    """Return one line for people."""
    if line["error"] is not None:
        error = as_object(line["error"])
        return f"{line['case']}: {error['class']} ({error['status']}, {error['where']}): {error['message']}"
    if line["embeddings"] is not None:
        vectors = as_object(line["embeddings"])
        return f"{line['case']}: {vectors['count']} embeddings of {vectors['dim']} numbers"
    usage = as_object(line["usage"])
    parts = [
        f"{len(str(line['text'] or ''))} characters",
        *(f"calls {call['name']}" for call in as_objects(line["tool_calls"])),
        f"{usage['prompt_tokens']} + {usage['completion_tokens']} tokens",
    ]
    return f"{line['case']}: {line['finish_reason']}: {', '.join(parts)}"


if __name__ == "__main__":
    sys.exit(main())
