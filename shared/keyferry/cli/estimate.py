"""`keyferry estimate`."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import click

from keyferry.cli.connection import run
from keyferry.cli.problem import Problem
from keyferry.cli.terminal import format_table, format_usd, json_option, tenant_option
from keyferry.contracts.estimates import CostEstimate, EstimateCost, EstimatedChoice
from keyferry.contracts.features import PowerLevel, RequestFeatures
from keyferry.contracts.money import plain
from keyferry.contracts.request_features import read_chat_features, read_embedding_features
from keyferry.contracts.routing_management import COST_ESTIMATE
from keyferry.contracts.text import BIGINT_MAX
from keyferry.contracts.usage import RequestKind

_HEADS = ("FOR", "MODEL", "KEYS", "PROVIDER COST", "CREDITS")
_LARGEST_FILE_BYTES = 6 * 1024 * 1024


@click.command()
@click.argument(
    "request_file", metavar="[FILE]", required=False, type=click.Path(dir_okay=False, allow_dash=True, path_type=Path)
)
@click.option("--model", help="A model, a level, `auto` or `default` (default: the one in FILE).")
@click.option("--input-tokens", type=click.IntRange(0, BIGINT_MAX), help="Tokens of the prompt, without FILE.")
@click.option("--max-output-tokens", type=click.IntRange(1, BIGINT_MAX), help="The limit that the request would set.")
@click.option("--power-level", type=click.Choice([level.value for level in PowerLevel]), help="Its power level.")
@click.option("--own-keys", type=click.Choice(["first", "last", "only"]), help="Where to use the tenant's own keys.")
@click.option("--embeddings", is_flag=True, help="It asks for embeddings.")
@tenant_option
@json_option
def command(
    request_file: Path | None,
    model: str | None,
    input_tokens: int | None,
    max_output_tokens: int | None,
    power_level: str | None,
    own_keys: str | None,
    embeddings: bool,
    tenant: str,
    as_json: bool,
) -> None:
    """Show what a request would cost before it is sent, for its model and for every power level.

    FILE (`-` for standard input) is the request's body; or give --model and --input-tokens. Nothing is sent to a provider.
    """
    kind = RequestKind.EMBEDDING if embeddings else RequestKind.CHAT
    if request_file is not None:
        named, features = _read_request(request_file, kind)
    elif input_tokens is not None:
        named, features = None, RequestFeatures(input_tokens=input_tokens)
    else:
        raise Problem("there is nothing to estimate", "Give FILE with a request's body, or --model and --input-tokens")
    if max_output_tokens is not None:
        features = features.model_copy(update={"max_output_tokens": max_output_tokens})
    asked = model or named
    if not asked:
        raise Problem("the request names no model", "Give --model")
    values = {
        "tenant": tenant,
        "model": asked,
        "kind": kind,
        "features": features,
        "power_level": power_level,
        "prefer_own_keys": own_keys,
    }
    query = EstimateCost.model_validate(values)
    found = run(lambda me: me.ask(COST_ESTIMATE, query), tenant=tenant)
    click.echo(found.model_dump_json(indent=2) if as_json else "\n".join(format_estimate(found)))


def format_estimate(found: CostEstimate) -> list[str]:
    """Return the table of an estimate, and what else matters."""
    choices = [("this request", found.named), *((choice.level.value, choice) for choice in found.levels)]
    rows = [row for name, choice in choices for row in _rows(name, choice)]
    lines = [
        f"{found.tenant}, {found.model_asked}, about {found.input_tokens} tokens of input",
        format_table(_HEADS, rows, empty="nothing can answer it"),
    ]
    lines += [f"{name}: {choice.detail}" for name, choice in choices if choice.model is None]
    if found.monthly_free_requests:
        lines.append(f"{found.monthly_free_requests} requests a month on the platform's keys are free in this tier")
    return lines


def _rows(name: str, choice: EstimatedChoice) -> Iterator[tuple[str, ...]]:
    if choice.model is not None and not choice.costs:
        yield name, choice.model, "-", "unknown", "unknown"
    for cost in choice.costs:
        provider = _range(format_usd(cost.low_cost_usd), format_usd(cost.high_cost_usd))
        charged = _range(_text(cost.low_credits), _text(cost.high_credits))
        yield name, choice.model or "-", cost.key_source.value, provider, charged


def _range(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


def _text(amount: Decimal) -> str:
    return plain(amount)


def _read_request(file: Path, kind: RequestKind) -> tuple[str | None, RequestFeatures]:
    """Return the model and the features of a request's body. Raises Problem."""
    try:
        with click.open_file(str(file), "rb") as source:
            body = source.read(_LARGEST_FILE_BYTES + 1)
        document = json.loads(body)
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not JSON"
        raise Problem(f"cannot read the request in {file}: {reason}", "Give the JSON body of a request") from None
    if len(body) > _LARGEST_FILE_BYTES or not isinstance(document, dict):
        raise Problem(f"{file} is no request", f"Give a JSON object of at most {_LARGEST_FILE_BYTES} bytes")
    read = read_chat_features if kind is RequestKind.CHAT else read_embedding_features
    model = document.get("model")
    return model if isinstance(model, str) else None, read(document, len(body))
