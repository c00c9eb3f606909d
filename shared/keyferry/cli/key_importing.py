"""Import of platform keys from the environment variables that the providers' own tools read."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import click

from keyferry.cli.connection import Connection, run
from keyferry.cli.key_output import format_key
from keyferry.cli.key_sealing import fetch_intake_key, seal
from keyferry.cli.problem import Problem
from keyferry.contracts.key import AddKey, IntakeKey, ProviderKey
from keyferry.contracts.secret import Secret
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.contracts.topology import KEY_ADD
from keyferry.runtime.bus.requests import Refused

VARIABLES: Mapping[str, tuple[str, ...]] = {
    "openai": ("OPENAI_API_KEY",),
    "anthropic": ("ANTHROPIC_API_KEY",),
    "gemini": ("GOOGLE_API_KEY", "GEMINI_API_KEY"),
    "openrouter": ("OPENROUTER_API_KEY",),
    "mistral": ("MISTRAL_API_KEY",),
    "cohere": ("COHERE_API_KEY", "CO_API_KEY"),
    "xai": ("XAI_API_KEY",),
    "groq": ("GROQ_API_KEY",),
    "together": ("TOGETHER_API_KEY",),
    "fireworks": ("FIREWORKS_API_KEY",),
    "deepinfra": ("DEEPINFRA_API_KEY",),
    "perplexity": ("PERPLEXITY_API_KEY",),
    "huggingface": ("HF_TOKEN",),
    "deepseek": ("DEEPSEEK_API_KEY",),
}
"""Maps each provider to the variables that may hold its key, the usual one first."""


@dataclass(frozen=True, slots=True)
class EnvironmentKey:
    """A key in the environment."""

    provider: str
    variable: str
    key: Secret


def find_keys(environment: Mapping[str, str] = os.environ) -> Iterator[EnvironmentKey]:
    """Yield the keys in the environment, at most one for each provider."""
    for provider, variables in VARIABLES.items():
        for variable in variables:
            if text := environment.get(variable, "").strip():
                yield EnvironmentKey(provider, variable, Secret(text))
                break


def import_keys(*, save_untested: bool, as_json: bool, timeout_seconds: float) -> int:
    """Add each key in the environment as a platform key and print the results. Returns 1 if any was refused."""
    found = list(find_keys())
    if not found:
        names = ", ".join(name for variables in VARIABLES.values() for name in variables)
        raise Problem("there is no provider key in the environment", f"Set at least one of {names}")

    async def work(me: Connection) -> list[tuple[EnvironmentKey, ProviderKey | str]]:
        intake = await fetch_intake_key(me)
        return [(one, await _add(me, intake, one, save_untested, timeout_seconds)) for one in found]

    results = run(work)
    if as_json:
        import json

        click.echo(json.dumps([_as_json(one, result) for one, result in results], indent=2))
    else:
        for one, result in results:
            text = format_key(result) if isinstance(result, ProviderKey) else f"not imported: {result}"
            click.echo(f"{one.variable}: {text}")
    return int(any(isinstance(result, str) for _, result in results))


async def _add(
    me: Connection, intake: IntakeKey, found: EnvironmentKey, save_untested: bool, timeout_seconds: float
) -> ProviderKey | str:
    try:
        command = AddKey(
            tenant=PLATFORM_TENANT,
            provider=found.provider,
            sealed=seal(intake, PLATFORM_TENANT, found.provider, None, {}, found.key),
            label=found.variable,
            save_untested=save_untested,
            once=True,
        )
        return await me.ask(KEY_ADD, command, timeout_seconds=timeout_seconds)
    except Refused as error:
        return error.refusal.message
    except Problem as problem:
        return problem.what


def _as_json(found: EnvironmentKey, result: ProviderKey | str) -> dict[str, object]:
    fields: dict[str, object] = {"variable": found.variable, "provider": found.provider}
    if isinstance(result, ProviderKey):
        return fields | {"key": result.model_dump(mode="json")}
    return fields | {"refused": result}
