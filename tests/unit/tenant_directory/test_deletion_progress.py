"""The counts of a deletion's report: what was found, what came late, what is left."""

from keyferry.contracts.erasure import ErasedRows, ErasedTenant, TenantRows, Treatment
from services.tenant_directory.deletion import progress


def has(rows: int, table: str = "things", treatment: Treatment = Treatment.REMOVED) -> TenantRows:
    return TenantRows(table=table, rows=rows, treatment=treatment, reason="things of tenants")


def numbers(tables: list[ErasedRows]) -> list[tuple[str, int, int]]:
    return [(each.table, each.found, each.left) for each in tables]


def test_found_is_what_was_there_before_anything_was_removed() -> None:
    counted = progress.count([has(7)], [])
    assert numbers(counted) == [("things", 7, 7)]
    half = progress.note_step(ErasedTenant(tables=[has(3)], done=False), counted)
    assert numbers(half) == [("things", 7, 3)]
    assert numbers(progress.note_step(ErasedTenant(tables=[has(0)], done=True), half)) == [("things", 7, 0)]


def test_what_comes_late_is_added_to_what_was_found() -> None:
    finished = progress.note_step(ErasedTenant(tables=[has(0)], done=True), progress.count([has(7)], []))
    late = progress.count([has(2)], finished)
    assert numbers(late) == [("things", 9, 2)]
    assert numbers(progress.count([has(0)], finished)) == [("things", 7, 0)]


def test_kept_rows_are_not_found_again_at_every_pass() -> None:
    kept = progress.count([has(4, treatment=Treatment.KEPT)], [])
    assert numbers(progress.count([has(4, treatment=Treatment.KEPT)], kept)) == [("things", 4, 4)]


def test_a_table_that_a_newer_build_adds_is_counted() -> None:
    before = progress.count([has(1)], [])
    after = progress.note_step(ErasedTenant(tables=[has(0), has(0, "new")], done=True), before)
    assert numbers(after) == [("things", 1, 0), ("new", 0, 0)]


def test_what_waits_is_named_and_kept_rows_are_not() -> None:
    tables = progress.count([has(2), has(5, "books", Treatment.KEPT)], [])
    assert progress.describe_unfinished(tables) == "rows are left in things (2)"
    assert progress.describe_unfinished(progress.count([has(5, "books", Treatment.KEPT)], [])) is None
