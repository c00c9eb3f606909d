"""Log files of the embedded system's processes."""

from pathlib import Path

from deploy.embedded.log_file import LogFile


def test_no_line_is_lost_or_split_and_old_files_are_deleted(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "x.log", max_bytes=100, kept=2)
    for number in range(100):
        log.write(f"line {number:03}\n".encode())
    log.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.log", "x.log.1", "x.log.2"]
    kept = "".join((tmp_path / name).read_text() for name in ("x.log.2", "x.log.1", "x.log"))
    lines = kept.splitlines()
    assert lines == [f"line {number:03}" for number in range(100 - len(lines), 100)]
    assert len(lines) > 20


def test_rotation_happens_only_at_the_end_of_a_line(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "x.log", max_bytes=10)
    log.write(b"a line that is longer")
    log.write(b" than allowed\n")
    log.write(b"next\n")
    log.close()
    assert (tmp_path / "x.log.1").read_bytes() == b"a line that is longer than allowed\n"
    assert (tmp_path / "x.log").read_bytes() == b"next\n"


def test_an_existing_file_is_appended_to(tmp_path: Path) -> None:
    for line in (b"one\n", b"two\n"):
        log = LogFile(tmp_path / "logs" / "x.log")
        log.write(line)
        assert log.tail().endswith(line.decode().strip())
        log.close()
    assert (tmp_path / "logs" / "x.log").read_bytes() == b"one\ntwo\n"
