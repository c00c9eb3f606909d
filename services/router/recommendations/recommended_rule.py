"""The routing rule that makes a recommended change, and its place in a draft. Pure."""

import hashlib
import re

from pydantic import ValidationError

from keyferry.contracts.rules import ANY_SUFFIX, MAX_RULES, ChainStep, Rule, RuleConditions, RuleSet
from keyferry.contracts.usage import RequestKind

_NAME_CHARACTERS = 40
_UNNAMED = re.compile(r"[^a-z0-9]+")


def rule_name(model: str, to_model: str, operation: str | None) -> str:
    """Return the name of the rule for a change: the same for the same change, another for any other."""
    seed = "\0".join((operation or "", model, to_model))
    digest = hashlib.sha256(seed.encode()).hexdigest()[:8]
    name = _UNNAMED.sub("-", f"{operation or ''}-{to_model}".lower()).strip("-")[:_NAME_CHARACTERS].strip("-")
    return f"cheaper-{name}-{digest}" if name else f"cheaper-{digest}"


def recommended_rule(model: str, to_model: str, operation: str | None, description: str) -> Rule | None:
    """Return the rule that sends requests for `model` to `to_model`, with `model` after it if it cannot answer.

    None if no condition can name `model` alone, as for a name that ends with the `*` of patterns.
    """
    if model.endswith(ANY_SUFFIX):
        return None
    try:
        return Rule(
            name=rule_name(model, to_model, operation),
            description=description,
            when=RuleConditions(
                operation=None if operation is None else [operation], model=[model], kind=[RequestKind.CHAT]
            ),
            chain=[ChainStep(model=to_model), ChainStep(model=model)],
        )
    except ValidationError:
        return None


class RuleSetFull(ValueError):
    """The rule set has as many rules as it may have; the message says what to do."""


def put_first(rule_set: RuleSet, rule: Rule) -> RuleSet:
    """Return a rule set with this rule before the others; one of the same name is replaced. Raises RuleSetFull."""
    others = [each for each in rule_set.rules if each.name != rule.name]
    if len(others) >= MAX_RULES:
        raise RuleSetFull(f"the draft has {MAX_RULES} rules already, which is the most: remove one first")
    return RuleSet(rules=[rule, *others])
