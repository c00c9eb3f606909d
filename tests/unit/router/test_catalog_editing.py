"""An operator's changes of the catalog: what each does, and which contradictions are refused with the way out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.catalog import Capability, CatalogModel
from keyferry.contracts.catalog_edits import CatalogEntry, RemoveModel, RestoreModel, SaveCatalogModel
from keyferry.contracts.provider_edits import RestoreProvider, RetireProvider
from keyferry.contracts.service import ErrorCode
from services.router.catalog.editing import RefusedChange
from services.router.catalog.overlay import compose, providers_in_force
from tests.support.router.catalog_edits import BUNDLED, NOW, Operator, model


@pytest.fixture
def operator() -> Operator:
    return Operator()


def ids(operator: Operator) -> list[str]:
    return [each.id for each in operator.editor.catalog]


def test_a_model_is_added_after_the_bundled_ones_and_changed_in_its_place(operator: Operator) -> None:
    operator.save(model("fourth"))
    operator.save(model("second", "groq/other", tier="enterprise"))
    assert ids(operator) == ["first", "second", "third", "vectors", "fourth"]
    assert [offering.provider for offering in operator.editor.catalog.resolve("second").offerings] == ["groq"]
    state = operator.editor.state("second")
    assert state is not None
    assert (state.bundled, state.changed, state.revision, state.changed_by) == (True, True, 2, "operator")
    untouched = operator.editor.state("first")
    assert untouched is not None
    assert (untouched.bundled, untouched.changed, untouched.revision) == (True, False, 0)


@pytest.mark.parametrize(
    ("saved", "reason"),
    [
        (model("fourth", "nosuch/fourth"), "fourth: there is no provider nosuch; known are openai"),
        (model("fourth", aliases=["two"]), "two names second and fourth: a name belongs to one model"),
        (model("two"), "two names second and two"),
        (model("fourth", aliases=["fourth"]), "fourth names fourth and fourth"),
        (model("fourth", default=True), "first is the default: there can be one"),
        (model("first"), "first is the default model: to change that, make another one the default"),
        (model("auto"), "auto cannot be called auto: that name has another meaning as a model"),
        (model("fourth", aliases=["echo"]), "fourth cannot be called echo"),
        (model("mistral/fourth"), "the name mistral/fourth means a model of mistral, which does not offer it"),
        (model("fourth", capabilities=["tools"]), "exactly one of the capabilities chat and embeddings"),
        (model("fourth", context_tokens=10, max_output_tokens=11), "its max_output_tokens exceed its context_tokens"),
        (model("fourth", "openai/a", "openai/b"), "openai offers it twice"),
    ],
)
def test_a_contradiction_is_refused_and_changes_nothing(operator: Operator, saved: CatalogModel, reason: str) -> None:
    before = ids(operator)
    with pytest.raises(RefusedChange) as error:
        operator.save(saved)
    assert reason in str(error.value)
    assert str(error.value).endswith("; nothing was changed")
    assert ids(operator) == before


def test_the_default_moves_only_where_that_is_asked_for(operator: Operator) -> None:
    operator.save(model("third", "mistral/third", default=True), move_default=True)
    default = operator.editor.catalog.default(Capability.CHAT)
    assert default is not None
    assert default.id == "third"
    assert operator.models["first"].model is not None
    assert not operator.models["first"].model.default
    with pytest.raises(RefusedChange, match="third is the default model: make another one the default first"):
        operator.retire("third")
    with pytest.raises(RefusedChange, match="third is the default model"):
        operator.apply(operator.editor.remove(RemoveModel(id="third")))
    with pytest.raises(
        RefusedChange, match="first would be the default model again, which is third now: move that first"
    ):
        operator.apply(operator.editor.remove(RemoveModel(id="first")))
    operator.save(model("first", default=True), move_default=True)
    operator.retire("third")
    assert "third" not in ids(operator)


def test_a_change_of_what_somebody_else_changed_is_refused(operator: Operator) -> None:
    operator.save(model("fourth"), expected_revision=0)
    operator.save(model("fourth", tier="starter"), expected_revision=1)
    with pytest.raises(RefusedChange, match="fourth has the revision 2, so somebody changed it") as error:
        operator.save(model("fourth"), expected_revision=1)
    assert error.value.code is ErrorCode.CONFLICT
    with pytest.raises(RefusedChange, match="has the revision 0"):
        operator.editor.save(SaveCatalogModel(model=model("third"), expected_revision=3), operator.change())


def test_a_retired_model_keeps_its_names_and_comes_back(operator: Operator) -> None:
    operator.save(model("second", "openai/second-1", aliases=["two"], tier="enterprise"))
    operator.retire("two", "third")
    gone = operator.editor.catalog.resolve("two").retired
    assert gone is not None
    assert gone.advice() == "the operator has retired the model second: use third"
    assert operator.editor.catalog.resolve("two").offerings == ()
    with pytest.raises(RefusedChange, match="two names fourth and second, which is retired,: a name belongs"):
        operator.save(model("fourth", aliases=["two"]))
    with pytest.raises(
        RefusedChange, match=r"second is retired: restore it first \(`keyferry models restore second`\)"
    ):
        operator.save(model("second"))
    state = operator.editor.state("second")
    assert state is not None
    assert state.retirement is not None
    operator.apply(operator.editor.restore(RestoreModel(id="second"), operator.change()))
    found = operator.editor.catalog.resolve("two").model
    assert found is not None
    assert found.tier == "enterprise"
    with pytest.raises(RefusedChange, match="second is not retired"):
        operator.editor.restore(RestoreModel(id="second"), operator.change())


@pytest.mark.parametrize(
    ("replacement", "reason"),
    [
        ("second", "second: a model cannot replace itself"),
        ("two", "second: a model cannot replace itself"),
        ("nosuch", "second: the catalog has no model nosuch to replace it"),
        ("vectors", "vectors cannot replace it: one chats and the other makes embeddings"),
        ("gone", "its replacement gone is retired too: name a model that is offered, or none"),
    ],
)
def test_a_replacement_must_be_another_model_that_is_offered(operator: Operator, replacement: str, reason: str) -> None:
    operator.save(model("gone"))
    operator.retire("gone")
    with pytest.raises(RefusedChange, match=reason):
        operator.retire("second", replacement)


def test_replacements_lead_to_no_other_and_never_back(operator: Operator) -> None:
    operator.retire("second", "third")
    with pytest.raises(RefusedChange, match="third replaces second: retire those again with another replacement first"):
        operator.retire("third", "second")
    operator.retire("second", "first")
    operator.retire("third", "first")
    assert ids(operator) == ["first", "vectors"]


def test_removing_undoes_changes_but_not_where_others_depend_on_them(operator: Operator) -> None:
    operator.save(model("fourth"))
    operator.retire("second", "fourth")
    with pytest.raises(RefusedChange, match="second: the catalog has no model fourth to replace it"):
        operator.apply(operator.editor.remove(RemoveModel(id="fourth")))
    operator.apply(operator.editor.remove(RemoveModel(id="second")))
    operator.apply(operator.editor.remove(RemoveModel(id="fourth")))
    assert ids(operator) == [each.id for each in BUNDLED]
    assert operator.models == {}
    with pytest.raises(RefusedChange, match="no operator has changed second") as error:
        operator.editor.remove(RemoveModel(id="second"))
    assert error.value.code is ErrorCode.NOT_FOUND
    with pytest.raises(RefusedChange, match="the catalog has no model of that name"):
        operator.retire("fourth")


def test_an_added_provider_is_one_like_the_others(operator: Operator) -> None:
    operator.add_provider("lab", eu=True)
    operator.save(model("fourth", "lab/four"))
    offering = operator.editor.catalog.resolve("fourth").offerings[0]
    assert (offering.provider, offering.eu) == ("lab", True), "the provider processes all calls in the European Union"
    with pytest.raises(RefusedChange, match="openai is a provider of this build, which cannot be changed"):
        operator.add_provider("openai")
    with pytest.raises(RefusedChange, match="a provider cannot be called auto"):
        operator.add_provider("auto")


def test_an_offering_is_in_the_european_union_only_where_its_provider_is(operator: Operator) -> None:
    operator.add_provider("lab")
    marked = model("fourth", offerings=[{"provider": "lab", "upstream": "four", "eu": True}])
    with pytest.raises(RefusedChange, match="its offering at lab is marked as in the European Union"):
        operator.save(marked)
    operator.add_provider("lab", eu=True)
    operator.save(marked)
    assert operator.editor.catalog.resolve("fourth").offerings[0].eu


def test_a_provider_that_leaves_the_european_union_takes_the_marks_of_its_offerings_with_it(operator: Operator) -> None:
    """Also those of a model that was read, with the marks, and saved again."""
    operator.add_provider("lab", eu=True)
    operator.save(model("fourth", "lab/four"))
    read = operator.editor.state("fourth")
    assert read is not None
    operator.save(read.model.model_copy(update={"title": "Fourth"}))
    operator.add_provider("lab", eu=False)
    (offering,) = operator.editor.catalog.resolve("fourth").offerings
    assert not offering.eu


def test_the_default_model_cannot_be_left_with_retired_providers_only(operator: Operator) -> None:
    operator.providers["mistral"] = operator.editor.retire_provider(RetireProvider(name="mistral"), operator.change())
    with pytest.raises(RefusedChange, match="first would be the default model, and every provider of its offerings is"):
        operator.save(model("first", "mistral/first", default=True))
    operator.bundled = (model("first", "mistral/first", default=True), *BUNDLED[1:])
    operator.models = {}
    operator.providers = {}
    operator.save(model("first", "openai/first", default=True))
    operator.providers["mistral"] = operator.editor.retire_provider(RetireProvider(name="mistral"), operator.change())
    with pytest.raises(RefusedChange, match="first would be the default model"):
        operator.apply(operator.editor.remove(RemoveModel(id="first")))
    with pytest.raises(RefusedChange, match="third would be the default model"):
        operator.save(model("third", "mistral/third", default=True), move_default=True)


def test_a_provider_is_retired_unless_the_default_model_has_no_other(operator: Operator) -> None:
    with pytest.raises(RefusedChange, match="the default model first has no other provider"):
        operator.editor.retire_provider(RetireProvider(name="openai"), operator.change())
    with pytest.raises(RefusedChange, match="there is no provider of that name; there are openai"):
        operator.editor.retire_provider(RetireProvider(name="nosuch"), operator.change())
    retired = operator.editor.retire_provider(RetireProvider(name="mistral", reason="too slow"), operator.change())
    operator.providers["mistral"] = retired
    assert operator.editor.catalog.retired_providers == {
        "mistral": "the operator has retired the provider Mistral: too slow"
    }
    assert operator.editor.restore_provider(RestoreProvider(name="mistral"), operator.change()) is None
    with pytest.raises(RefusedChange, match="groq is not retired"):
        operator.editor.restore_provider(RestoreProvider(name="groq"), operator.change())


def test_newer_files_win_over_a_change_that_contradicts_them_and_the_rest_stays(operator: Operator) -> None:
    operator.save(model("fourth", aliases=["four"]))
    operator.save(model("fifth"))
    newer = (*BUNDLED, model("sixth", aliases=["four"]))
    found = compose(newer, operator.models.values(), providers_in_force(()))
    assert [each.id for each in found.catalog] == ["first", "second", "third", "vectors", "sixth", "fifth"]
    assert found.problems == {"fourth": "four names sixth and fourth: a name belongs to one model"}
    later = Operator(newer)
    later.models = operator.models
    state = later.editor.state("fourth")
    assert state is not None
    assert state.problem == found.problems["fourth"]
    later.revision = 10
    later.save(model("seventh"))
    later.save(model("fourth"))
    assert later.editor.state("fourth") is not None
    assert compose(newer, later.models.values(), providers_in_force(())).problems == {}


@given(st.lists(st.sampled_from(["gpt", "two", "m1", "m2", "m3", "a1", "a2", "a3"]), min_size=1, max_size=8))
def test_any_changes_compose_to_a_catalog_whose_names_mean_one_model_each(names: list[str]) -> None:
    """Whatever is stored, nothing valid is left out: each change that is missing contradicts the ones before it."""
    entries = [
        CatalogEntry(id=f"e{n}", model=model(f"e{n}", aliases=[name]), revision=n + 1, changed_at=NOW, changed_by="o")
        for n, name in enumerate(names)
    ]
    found = compose(BUNDLED, entries, providers_in_force(()))
    expected = {f"e{n}" for n, name in enumerate(names) if name in names[:n] or name == "two"}
    assert found.problems.keys() == expected
    assert {each.id for each in found.catalog} == {each.id for each in BUNDLED} | ({e.id for e in entries} - expected)


def test_a_default_that_moved_is_in_force_beside_changes_that_are_left_out(operator: Operator) -> None:
    operator.save(model("third", "mistral/third", default=True), move_default=True)
    operator.save(model("fourth", aliases=["four"]))
    newer = (*BUNDLED, model("sixth", aliases=["four"]))
    for entries in (operator.models.values(), [*operator.models.values()][::-1]):
        found = compose(newer, entries, providers_in_force(()))
        assert found.problems.keys() == {"fourth"}
        default = found.catalog.default(Capability.CHAT)
        assert default is not None
        assert default.id == "third"
