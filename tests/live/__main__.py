"""`python -m tests.live`: verifies the providers whose keys are in the environment, through a system started for that.

Status 0 if every check passed, 1 if one failed, 2 if there is no key. It costs a few cents.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from keyferry.cli.key_importing import VARIABLES, EnvironmentKey, find_keys
from tests.live.checks import CheckFailed, ProviderChecks
from tests.live.providers import MODELS
from tests.support.system.keyferry_system import KeyferrySystem, running_system


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Run the checks and print a line for each; return the exit status."""
    options = _parse(arguments)
    keys = [key for key in find_keys(environment) if not options.providers or key.provider in options.providers]
    if not keys:
        print("no provider's key is in the environment, so nothing was verified. Set one or more of:", file=sys.stderr)
        for provider, variables in VARIABLES.items():
            print(f"  {provider:<12} {' or '.join(variables)}", file=sys.stderr)
        return 2
    models = dict(pair.split("=", 1) for pair in options.models)
    with tempfile.TemporaryDirectory(prefix="keyferry-live-") as directory:
        Path(directory).chmod(0o711)  # PostgreSQL may run as another user
        print(f"starting a system to verify {', '.join(key.provider for key in keys)}")
        with running_system(Path(directory) / "home") as system:
            failed = [key.provider for key in keys if not _verify(system, key, models.get(key.provider))]
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.live", description=__doc__.splitlines()[0])
    parser.add_argument("providers", nargs="*", metavar="PROVIDER", help="only these (default: all with a key)")
    parser.add_argument(
        "--model",
        dest="models",
        action="append",
        default=[],
        metavar="PROVIDER=MODEL",
        help="chat with another model of the catalog",
    )
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.providers) - set(MODELS)):
        parser.error(f"unknown: {', '.join(unknown)}. There are: {', '.join(MODELS)}")
    if wrong := [pair for pair in options.models if pair.partition("=")[0] not in MODELS or not pair.partition("=")[2]]:
        parser.error(f"--model is PROVIDER=MODEL, not {wrong[0]}")
    return options


def _verify(system: KeyferrySystem, key: EnvironmentKey, chat_model: str | None) -> bool:
    models = MODELS[key.provider]
    if chat_model is not None:
        models = replace(models, chat=chat_model)
    print(f"{key.provider} ({key.variable}), {models.chat}")
    try:
        checks = ProviderChecks(system, key.provider, key.key, models)
    except (CheckFailed, AssertionError) as error:
        print(f"  FAILED  key: {error}")
        return False
    passed, cost_usd = True, Decimal(0)
    try:
        for result in checks.run():
            passed, cost_usd = passed and result.passed, cost_usd + result.cost_usd
            cost = f", ${result.cost_usd:.8f}" if result.passed else ""
            print(f"  {'ok    ' if result.passed else 'FAILED'}  {result.name}: {result.detail}{cost}", flush=True)
    finally:
        checks.close()
    print(f"  in all ${cost_usd:.8f} by the ledger; compare it with the provider's own page")
    return passed


if __name__ == "__main__":
    sys.exit(main())
