"""Which published rules and saved preferences name a model that is retired. Pure."""

from collections.abc import Callable, Iterable, Iterator

from keyferry.contracts.preferences import Preferences, PreferenceScope, SavedPreferences
from keyferry.contracts.rule_checks import named_models
from keyferry.contracts.rule_management import RuleSetVersion
from keyferry.contracts.tenancy import PLATFORM_TENANT

_MOST_LISTED = 20


def model_names(preferences: Preferences) -> Iterator[tuple[str, str]]:
    """Yield every model that preferences name: in which of them, and its name."""
    if preferences.default_model is not None:
        yield "default_model", preferences.default_model
    for operation, name in (preferences.model_by_operation or {}).items():
        yield f"model_by_operation.{operation}", name
    for where in ("preferred_models", "fallback_models"):
        yield from ((where, name) for name in getattr(preferences, where) or ())


def find_uses(
    is_model: Callable[[str], bool], rule_sets: Iterable[RuleSetVersion], saved: Iterable[SavedPreferences]
) -> list[str]:
    """Return one text for each rule and each preference that names the model, and how many more there are.

    `is_model` returns whether a name, as a chain or a preference has it, means the model.
    """
    found = [*_of_rules(is_model, rule_sets), *_of_preferences(is_model, saved)]
    listed, more = found[:_MOST_LISTED], len(found) - _MOST_LISTED
    return listed if more <= 0 else [*listed, f"{more} more rules and preferences name it"]


def _of_rules(is_model: Callable[[str], bool], rule_sets: Iterable[RuleSetVersion]) -> Iterator[str]:
    for version in rule_sets:
        owner = "of the platform" if version.tenant == PLATFORM_TENANT else f"of {version.tenant}"
        for rule in version.rule_set.rules:
            steps = [str(named.step) for named in named_models(rule) if is_model(named.full_name)]
            if rule.enabled and steps:
                numbers = ", ".join(dict.fromkeys(steps))
                yield f"the rule {rule.name} {owner} (version {version.version}) names it in step {numbers} of its chain"


def _of_preferences(is_model: Callable[[str], bool], saved: Iterable[SavedPreferences]) -> Iterator[str]:
    for each in saved:
        places = [where for where, name in model_names(each.preferences) if is_model(name)]
        if places:
            yield f"the preferences {_whose(each)} name it: {', '.join(places)}"


def _whose(saved: SavedPreferences) -> str:
    match saved.scope:
        case PreferenceScope.PLATFORM:
            return "of the platform"
        case PreferenceScope.TENANT:
            return f"of {saved.tenant}"
        case _:
            return f"of the {saved.scope.replace('_', ' ')} {saved.scope_id} of {saved.tenant}"
