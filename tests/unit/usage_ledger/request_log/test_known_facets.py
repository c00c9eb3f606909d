"""Facets that are known to be committed are not written again, and are forgotten when the database may have lost them."""

from services.usage_ledger.request_log.known_facets import KnownFacets

QUARTER = ("acme", 7)


def test_only_what_was_committed_is_known() -> None:
    known = KnownFacets()
    assert known.missing({QUARTER: {"a", "b"}}) == {QUARTER: {"a", "b"}}
    assert known.missing({QUARTER: {"a", "b"}}) == {QUARTER: {"a", "b"}}, "its transaction may have failed"
    known.add({QUARTER: {"a"}})
    known.add({QUARTER: {"b"}})
    assert known.missing({QUARTER: {"a", "b", "c"}, ("acme", 8): {"a"}, ("globex", 7): {"a"}}) == {
        QUARTER: {"c"},
        ("acme", 8): {"a"},
        ("globex", 7): {"a"},
    }
    assert known.missing({QUARTER: {"a"}}) == {}


def test_a_new_connection_forgets_everything() -> None:
    known = KnownFacets()
    first: dict[str, object] = {}
    known.follow(first)
    known.add({QUARTER: {"a"}})
    known.follow(first)
    assert known.missing({QUARTER: {"a"}}) == {}
    known.follow({})
    assert known.missing({QUARTER: {"a"}}) == {QUARTER: {"a"}}


def test_what_is_remembered_is_bounded() -> None:
    known = KnownFacets(max_names=3)
    known.add({QUARTER: {"a", "b", "c"}})
    assert known.missing({QUARTER: {"a"}}) == {}
    known.add({("acme", 8): {"d"}})
    assert known.missing({QUARTER: {"a"}, ("acme", 8): {"d"}}) == {QUARTER: {"a"}, ("acme", 8): {"d"}}
    known.add({QUARTER: {"a"}})
    assert known.missing({QUARTER: {"a"}}) == {}
