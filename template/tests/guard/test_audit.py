# managed: part of the template; modelctx updates may rewrite it. Your tests live in tests/custom/.
"""The audit log: what is written survives, and whatever is done to it is found."""

import hashlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from conftest import PACKAGE, ROOT, module, var

pytestmark = pytest.mark.promise("GEN-3")

KEY = b"a key of sixteen characters or so"
posix = pytest.mark.skipif(os.name == "nt", reason="modes, links and limits are those of POSIX")


class Log:
    """A log in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "log"
        self.path = self.folder / "audit.jsonl"
        self._open: list[Any] = []

    def open(self, **options: Any) -> Any:
        opened = module("guard.audit").AuditLog.open(self.path, **options)
        self._open.append(opened)
        return opened

    def fill(self, count: int = 10, **options: Any) -> None:
        """Write some records and close the log."""
        opened = self.open(**options)
        for number in range(count):
            opened.write({"event": "call", "number": number})
        opened.close()

    def close(self) -> None:
        for opened in self._open:
            opened.close()

    def lines(self, name: str = "audit.jsonl") -> list[bytes]:
        return (self.folder / name).read_bytes().splitlines(keepends=True)

    def put(self, lines: list[bytes], name: str = "audit.jsonl") -> None:
        (self.folder / name).write_bytes(b"".join(lines))

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines()]

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir() if path.suffix == ".jsonl")

    def verify(self, key: bytes | None = None, heads: tuple[str, ...] = ()) -> Any:
        return module("guard.audit_verify").verify(self.path, key, heads)

    def findings(self, key: bytes | None = None, heads: tuple[str, ...] = ()) -> list[str]:
        """All that is wrong, as the command prints it; empty when the log is intact."""
        report = self.verify(key, heads)
        wrong = [str(finding) for finding in report.findings if not finding.harmless]
        assert report.ok is not bool(wrong)
        return wrong


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    made = Log(tmp_path)
    yield made
    made.close()


def run(program: str, *args: str | Path, **options: Any) -> subprocess.Popen[str]:
    """Run a program that finds the package and has AuditLog at hand."""
    start = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r})\n"
        f"from importlib import import_module\n"
        f"AuditLog = import_module({f'{PACKAGE}.guard.audit'!r}).AuditLog\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", start + program, *map(str, args)],
        stdout=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


# --- Records --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    ["a\nb", "a\r\nb", "\u2028\u2029\x85", "\x1b[2J\x07\x00", "é𝄞", "\ud800", '"}\n{"seq":9', "\\"],
)
def test_a_record_is_one_line_whatever_is_in_it(log: Log, value: str) -> None:
    """No character in a record starts a line, moves a cursor or ends the JSON; it comes back."""
    opened = log.open()
    opened.write({"event": "call", value: [{value: value}]})
    opened.close()
    assert all(line[:-1].decode("ascii").isprintable() for line in log.lines())
    assert log.records()[2][value] == [{value: value}]
    assert not log.findings()


@pytest.mark.parametrize("key", [None, KEY])
def test_records_are_numbered_dated_and_chained(log: Log, key: bytes | None) -> None:
    """Each record has a number, the time in UTC, the hash before it and its own."""
    log.fill(3, key=key)
    records = log.records()
    assert [record["seq"] for record in records] == list(range(1, 7))
    events = [record["event"] for record in records]
    assert events == ["log.open", "log.start", "call", "call", "call", "log.close"]
    for before, after in pairwise(records):
        assert after["prev"] == before["hash"]
        assert after["time"] >= before["time"]
        assert after["time"].endswith("+00:00")
    assert not log.findings(key)


@pytest.mark.parametrize("record", [{"x": object()}, {"x": "y" * 5_000_000}, {"x": {1, 2}}])
def test_what_cannot_be_written_leaves_no_trace(log: Log, record: dict[str, Any]) -> None:
    """A record that JSON cannot carry, or that is too long, is an error; the log goes on."""
    opened = log.open()
    with pytest.raises(module("guard.audit").AuditError):
        opened.write(record)
    opened.write({"event": "call"})
    opened.close()
    assert [record["event"] for record in log.records()[2:]] == ["log.gap", "call", "log.close"]
    assert log.records()[2]["lost"] == 1
    assert not log.findings()


def test_the_log_continues_after_a_restart(log: Log) -> None:
    """A new process goes on with the numbers and the chain of the one before."""
    log.fill(2)
    log.fill(2)
    assert [record["seq"] for record in log.records()] == list(range(1, 10))
    assert not log.findings()


# --- Rotation -------------------------------------------------------------------------------


def test_full_files_are_put_aside_and_the_oldest_deleted(log: Log) -> None:
    """Files change at their size, keep to their number, and the chain goes through all of them."""
    for _ in range(2):
        log.fill(60, max_bytes=2000, keep=3)
    files = log.files()
    assert len(files) == 4
    newest = max(int(name.split(".")[1]) for name in files if name.count(".") == 2)
    assert files[:3] == [f"audit.{number:06d}.jsonl" for number in range(newest - 2, newest + 1)]
    assert all((log.folder / name).stat().st_size < 2600 for name in files)
    assert not log.findings()
    assert log.verify().records < 120


def test_more_retention_later_is_no_loss(log: Log) -> None:
    """Keeping more files than before does not make those missing that were deleted in time."""
    log.fill(60, max_bytes=2000, keep=1)
    log.fill(60, max_bytes=2000, keep=9)
    assert not log.findings()


@posix
def test_a_rotation_that_fails_loses_nothing(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    """When no new file can be begun the old one grows, and the server's log says so."""
    opened = log.open(max_bytes=2000)
    in_the_way = log.folder / "audit.000001.jsonl"
    in_the_way.write_text("somebody else's")
    for number in range(30):
        opened.write({"event": "call", "number": number})
    opened.close()
    assert len(log.lines()) == 33
    assert "no new file could be begun" in caplog.text
    assert in_the_way.read_text() == "somebody else's"
    in_the_way.unlink()
    assert not log.findings()


# --- What somebody does to the file while it is open ----------------------------------------


def wait_for_the_next_look() -> None:
    time.sleep(module("guard.audit")._CHECK_EVERY * 1.2)


@posix
@pytest.mark.parametrize(
    ("attack", "word"),
    [
        (lambda path: path.unlink(), "missing"),
        (lambda path: path.rename(path.with_suffix(".old")), "missing"),
        (lambda path: path.write_bytes(b""), "altered"),
        (lambda path: os.truncate(path, 300), "altered"),
        (lambda path: path.write_bytes(path.read_bytes() + b"half a rec"), "altered"),
        (lambda path: (path.unlink(), path.write_bytes(b"x" * 99)), "altered"),
        (lambda path: (path.unlink(), path.symlink_to("elsewhere")), "altered"),
        (lambda path: (path.unlink(), path.mkdir()), "altered"),
    ],
    ids=["deleted", "moved", "emptied", "cut", "added", "replaced", "linked", "folder"],
)
def test_a_file_that_changes_underneath_is_put_aside(
    log: Log, attack: Callable[[Path], Any], word: str
) -> None:
    """The log goes on in a new file, and the verification shows that and what is missing."""
    opened = log.open()
    for number in range(5):
        opened.write({"event": "call", "number": number})
    attack(log.path)
    wait_for_the_next_look()
    opened.write({"event": "call", "number": 5})
    opened.close()
    assert not (log.folder / "elsewhere").exists()
    assert [record["event"] for record in log.records()] == ["log.open", "call", "log.close"]
    assert log.records()[0]["reason"] == word
    found = "\n".join(log.findings())
    assert f"audit.jsonl:1: the server found its file {word}" in found


@posix
def test_a_folder_that_disappears_is_an_error_and_not_a_crash(log: Log) -> None:
    """Without its folder nothing can be written: AuditError each time, no other exception."""
    opened = log.open()
    shutil.rmtree(log.folder)
    wait_for_the_next_look()
    for _ in range(3):
        with pytest.raises(module("guard.audit").AuditError):
            opened.write({"event": "call"})
    opened.close()
    assert not log.folder.exists()


def test_writing_after_closing_is_an_error(log: Log) -> None:
    """A closed log takes nothing more, and closing it twice is harmless."""
    opened = log.open()
    opened.close()
    opened.close()
    with pytest.raises(module("guard.audit").AuditError):
        opened.write({"event": "call"})


# --- Full disk, crashes, several processes --------------------------------------------------


@posix
def test_a_full_disk_refuses_and_afterwards_the_log_goes_on(log: Log) -> None:
    """With no room left nothing is half written; with room again the gap is on record."""
    program = """
import resource
log = AuditLog.open(sys.argv[1])
failed = 0
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))
for number in range(30):
    try:
        log.write({"event": "call", "number": number})
    except Exception as exc:
        assert type(exc).__name__ == "AuditError", exc
        failed += 1
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.write({"event": "call", "number": 30})
log.close()
print(failed)
"""
    process = run(program, log.path)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    failed = int(output)
    assert failed > 5
    assert not log.findings()
    [note] = log.verify().findings
    assert note.harmless
    assert f"{failed} records before this one could not be written" in note.text
    numbers = [record["number"] for record in log.records() if record["event"] == "call"]
    assert numbers == [*range(30 - failed), 30]


@posix
def test_no_room_for_the_first_record_stops_the_start(log: Log) -> None:
    """A log that cannot be begun is a configuration error of one line."""
    program = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
try:
    AuditLog.open(sys.argv[1])
except Exception as exc:
    print(type(exc).__name__, exc)
"""
    process = run(program, log.path)
    output, _ = process.communicate(timeout=20)
    assert output.startswith(f"ConfigError {var('AUDIT__PATH')}: cannot write ")
    assert output.count("\n") == 1


@posix
def test_a_kill_in_the_middle_of_writing_loses_no_earlier_record(log: Log) -> None:
    """After kill -9 all records that were acknowledged are there, and the log goes on."""
    program = """
log = AuditLog.open(sys.argv[1])
number = 0
while True:
    log.write({"event": "call", "number": number, "text": "x" * 500})
    print(number, flush=True)
    number += 1
"""
    for _ in range(3):
        process = run(program, log.path)
        assert process.stdout is not None
        for _ in range(200):
            acknowledged = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
        rest = process.stdout.read().split()
        process.wait(timeout=10)
        process.stdout.close()
        acknowledged = int(rest[-1]) if rest else acknowledged
        numbers = [record["number"] for record in log.records() if record["event"] == "call"]
        assert numbers[-1] >= acknowledged
        log.fill(1)
        assert not log.findings()


@pytest.mark.parametrize("cut", [1, 2, 40, 64, 100])
def test_a_torn_record_is_closed_named_and_recorded(log: Log, cut: int) -> None:
    """Half a record at the end is kept, explained by the next start, and named by verify."""
    log.fill(5)
    data = log.path.read_bytes()
    log.path.write_bytes(data[:-cut])
    torn = log.verify()
    assert not torn.ok
    assert "audit.jsonl:8: not a record: torn by a crash" in str(torn.findings[0])
    log.fill(5)
    report = log.verify()
    assert report.ok
    if cut == 1:  # only the newline was missing: the record is whole
        assert not report.findings
        return
    assert "audit.jsonl:8: note: torn by a crash; the log says so" in str(report.findings[0])
    [record] = [record for record in records_of(log) if record["event"] == "log.torn"]
    assert record["bytes"] == len(log.lines()[7]) - 1


def records_of(log: Log) -> list[dict[str, Any]]:
    """The lines that are records, where some are not."""
    return [json.loads(line) for line in log.lines() if line.endswith(b'"}\n')]


def test_the_explanation_of_a_torn_record_covers_no_other(log: Log) -> None:
    """A line that is not the one that was torn stays a finding."""
    log.fill(5)
    log.path.write_bytes(log.path.read_bytes()[:-40])
    log.fill(5)
    lines = log.lines()
    lines[7] = b"something else\n"
    log.put(lines)
    assert log.findings() == ["audit.jsonl:8: not a record: torn by a crash, or overwritten"]


@pytest.mark.promise("GEN-3")
@pytest.mark.parametrize("key", [None, KEY])
def test_an_older_file_in_the_place_of_the_current_one_is_found(
    log: Log, key: bytes | None
) -> None:
    """Genuine records that are repeated hide the newest ones as well as a cut would."""
    opened = log.open(key=key, max_bytes=65_536)
    for number in range(2_000):
        opened.write({"event": "call", "number": number})
    opened.close()
    first = log.path.with_name("audit.000001.jsonl")
    assert not log.findings(key)
    log.path.write_bytes(first.read_bytes())
    assert any("older file" in finding for finding in log.findings(key))
    log.path.write_bytes(first.read_bytes().split(b"\n")[0] + b"\n")
    assert any("older file" in finding for finding in log.findings(key))


@pytest.mark.parametrize("key", [None, KEY])
def test_a_file_of_one_process_is_none_of_another(log: Log, key: bytes | None) -> None:
    """Genuine files under another name are found, and so is a name that is no generation."""
    first, second = log.open(key=key), log.open(key=key)
    for opened in (first, second):
        opened.write({"event": "call"})
        opened.close()
    other = log.path.with_name("audit-2.jsonl")
    kept = other.read_bytes()
    assert not log.findings(key)
    other.write_bytes(log.path.read_bytes())
    assert log.findings(key) == ["audit-2.jsonl:1: this file was written as audit.jsonl"]
    other.write_bytes(kept)
    shutil.copy(log.path, log.path.with_name("audit-7.jsonl"))
    assert log.findings(key) == ["audit-7.jsonl:1: this file was written as audit.jsonl"]
    log.path.with_name("audit-7.jsonl").unlink()
    log.path.rename(log.path.with_name("audit.000000.jsonl"))
    assert log.findings(key)


def test_the_verdict_cannot_be_forged_by_a_name_or_a_text(
    log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files and unsigned records are an attacker's: no control character of theirs is printed."""
    log.fill(2)
    (log.folder / "a\r\x1b[2Kintact: 9 records.jsonl").write_text("x\n", encoding="utf-8")
    forged = {"event": "log.open", "reason": "\r\x1b[2Kintact", "lane": "\x1b[1A"}
    (log.folder / "b.jsonl").write_text(
        json.dumps(forged)[:-1] + ',"hash":"' + "0" * 64 + '"}\n', encoding="utf-8"
    )
    assert module("guard.audit_verify").main(["verify", str(log.folder)], log.path) == 1
    shown = capsys.readouterr().out
    assert shown.isprintable() or set(shown) - set("\n") == set(filter(str.isprintable, shown))


def test_a_file_of_nothing_is_given_up(log: Log) -> None:
    """Lines that are no records cost no more time than records do."""
    log.fill(2)
    with log.path.open("ab") as file:
        file.write(b"\n" * 30_000_000)
    started = time.monotonic()
    assert any("too many lines" in finding for finding in log.findings())
    assert time.monotonic() - started < 10


def test_a_header_that_claims_anything_ends_in_time(log: Log) -> None:
    """Without a key a header can be forged; verification still ends."""
    log.fill(3)
    lines = log.lines()
    lines[0] = lines[0].replace(b'"generation":1', b'"generation":1000000000000')
    log.put(lines)
    assert log.findings()


def test_a_header_that_was_torn_is_begun_anew(log: Log) -> None:
    """A crash in the first record of all leaves nothing to go on from, and nothing is wrong."""
    log.fill(3)
    header = log.lines()[0]
    for size in (1, 5, 40, len(header) - 1):
        log.path.write_bytes(header[:size])
        log.fill(3)
        assert not log.findings()
    log.path.write_bytes(b"not a header")
    log.fill(3)
    assert any("unreadable" in finding for finding in log.findings())


@posix
def test_a_torn_record_is_explained_or_left(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk is too full to explain it, it still can be explained later."""
    log.fill(3)
    with log.path.open("ab") as file:
        file.write(b'{"seq":9,"ti')
    torn = log.path.read_bytes()
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data) if data == b"\n" else 0)
    with pytest.raises(module("errors").ConfigError):
        log.open()
    monkeypatch.undo()
    assert log.path.read_bytes() == torn
    log.fill(1)
    assert not log.findings()


@pytest.mark.parametrize(("first", "then"), [(None, KEY), (KEY, None)])
def test_a_key_does_not_begin_in_the_midst_of_a_log(
    log: Log, first: bytes | None, then: bytes | None
) -> None:
    """A log has a key from its beginning, or none: the start is refused, and nothing is lost."""
    log.fill(3, key=first)
    before = log.path.read_bytes()
    with pytest.raises(module("errors").ConfigError, match="move it away") as raised:
        log.open(key=then)
    assert str(raised.value).startswith(var("AUDIT__PATH"))
    assert log.path.read_bytes() == before
    assert not log.findings(first)
    with pytest.raises(module("errors").ConfigError, match="move it away"):
        module("guard.audit").probe(log.path, then)
    module("guard.audit").probe(log.path, first)
    log.path.rename(log.path.with_name("audit.000001.jsonl"))
    with pytest.raises(module("errors").ConfigError, match="move it away"):
        log.open(key=then)


def test_an_end_that_is_not_genuine_is_not_built_upon(log: Log) -> None:
    """When the last record was edited, the server goes on in a new file with a new chain."""
    log.fill(5)
    lines = log.lines()
    log.put([*lines[:-1], lines[-1].replace(b"log.close", b"log.clos3")])
    log.fill(5)
    assert log.files() == ["audit.000001.jsonl", "audit.jsonl"]
    found = log.findings()
    assert "audit.000001.jsonl:8: the record was edited" in found[0]
    assert "audit.jsonl:1: the server found its file unreadable and began this one" in found[1]
    assert len(found) == 2


@posix
def test_several_processes_write_beside_each_other(log: Log) -> None:
    """Each process has a file of its own; none is torn or mixed, and verify covers all."""
    program = """
log = AuditLog.open(sys.argv[1], max_bytes=20_000)
print("open", flush=True)
sys.stdin.readline()
for number in range(500):
    log.write({"event": "call", "number": number})
log.close()
"""
    processes = [run(program, log.path, stdin=subprocess.PIPE) for _ in range(3)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
    for process in processes:
        process.communicate("go\n", timeout=30)
    report = log.verify()
    assert report.ok
    # Each lane: 500 calls, a start, an end, and a header for each of its files.
    assert report.records == 3 * 502 + report.files
    assert {name.split(".")[0] for name in log.files()} == {"audit", "audit-2", "audit-3"}


def test_a_lane_is_free_again_when_its_process_has_ended(log: Log) -> None:
    """The next process continues the first file, not a new one."""
    first, second = log.open(), log.open()
    first.close()
    third = log.open()
    third.close()
    second.close()
    assert log.files() == ["audit-2.jsonl", "audit.jsonl"]
    assert not log.findings()


# --- The file itself ------------------------------------------------------------------------


@posix
def test_nobody_else_may_read_the_log(log: Log) -> None:
    """Files are 0600 in a folder that is 0700, also where they had looser modes before."""
    previous = os.umask(0)
    try:
        log.fill(1)
    finally:
        os.umask(previous)
    assert log.folder.stat().st_mode & 0o777 == 0o700
    assert log.path.stat().st_mode & 0o777 == 0o600
    log.path.chmod(0o666)
    log.fill(1)
    assert log.path.stat().st_mode & 0o777 == 0o600


@posix
@pytest.mark.parametrize(
    "occupy",
    [
        lambda path: path.symlink_to(path.parent / "target"),
        lambda path: os.mkfifo(path),
        lambda path: path.mkdir(),
        lambda path: (path.with_name("other").touch(), os.link(path.with_name("other"), path)),
        lambda path: path.parent.chmod(0o777),
    ],
    ids=["symlink", "fifo", "folder", "hard link", "open folder"],
)
def test_a_name_that_somebody_has_prepared_is_refused(
    log: Log, occupy: Callable[[Path], Any]
) -> None:
    """The log is a regular file of our own, reached by no link, in a folder not open to all."""
    log.folder.mkdir(mode=0o700, parents=True)
    occupy(log.path)
    config_error = module("errors").ConfigError
    with pytest.raises(config_error, match=rf"^{var('AUDIT__PATH')}: cannot write ") as caught:
        log.open()
    assert "\n" not in str(caught.value)
    assert not (log.folder / "target").exists()
    log.folder.chmod(0o700)


@posix
def test_an_archive_that_blocks_stops_the_start_and_does_not_hang_it(log: Log) -> None:
    """A FIFO in the place of the newest full file is refused; nobody waits for its writer."""
    log.folder.mkdir(parents=True)
    os.mkfifo(log.folder / "audit.000001.jsonl")
    process = run("AuditLog.open(sys.argv[1])", log.path, stderr=subprocess.PIPE)
    _, errors = process.communicate(timeout=10)
    assert "it is not a regular file" in errors
    assert log.path.read_bytes() == b""


@pytest.mark.parametrize("name", ["audit", ".jsonl", "audit.000001.jsonl", "audit.jsonl/"])
def test_a_path_has_to_name_a_log_file(tmp_path: Path, name: str) -> None:
    """Names that could be confused with an archive, or have no suffix, stop the start."""
    if name.endswith("/"):
        (tmp_path / name).mkdir()
    with pytest.raises(module("errors").ConfigError, match=var("AUDIT__PATH")):
        module("guard.audit").AuditLog.open(tmp_path / name)


def test_the_log_can_go_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    """With - each record is a line on stderr, chained like in a file."""
    opened = module("guard.audit").AuditLog.open("-")
    opened.write({"event": "call"})
    opened.close()
    lines = capfd.readouterr().err.splitlines()
    records = [json.loads(line) for line in lines if line.startswith('{"seq"')]
    assert [record["event"] for record in records] == ["log.open", "call", "log.close"]
    assert records[2]["prev"] == records[1]["hash"]


def test_fsync_waits_for_the_disk(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fsync each record is followed by one; without it, none is."""
    synced: list[int] = []
    monkeypatch.setattr(module("guard.audit").os, "fsync", synced.append)
    log.fill(3)
    assert not synced
    log.fill(3, fsync=True)
    assert len(synced) == 5


# --- Verification ---------------------------------------------------------------------------


def forge(line: bytes, key: bytes | None = None, **fields: Any) -> bytes:
    """Change a record and compute its hash anew, as an attacker without the key would."""
    record = {**json.loads(line), **fields}
    del record["hash"]
    sealed: bytes = module("guard.audit_format").seal(record, key)[0]
    return sealed


def edited(lines: list[bytes]) -> list[bytes]:
    return [*lines[:4], lines[4].replace(b'"number":2', b'"number":9'), *lines[5:]]


def reforged(lines: list[bytes]) -> list[bytes]:
    return [*lines[:4], forge(lines[4], number=9), *lines[5:]]


TAMPERING: dict[str, tuple[Callable[[list[bytes]], list[bytes]], str]] = {
    "edited": (edited, "audit.jsonl:5: the record was edited, or written with another key"),
    "edited hash": (
        lambda lines: [*lines[:4], lines[4][:-5] + b'0"}\n', *lines[5:]],
        "audit.jsonl:5: ",
    ),
    "removed": (
        lambda lines: [*lines[:4], *lines[5:]],
        "audit.jsonl:5: records 5 to 5 are missing before this one",
    ),
    "several removed": (
        lambda lines: [*lines[:3], *lines[7:]],
        "audit.jsonl:4: records 4 to 7 are missing before this one",
    ),
    "inserted": (
        lambda lines: [*lines[:5], forge(lines[4], number=9), *lines[5:]],
        "audit.jsonl:6: record 5 after record 5: repeated or moved",
    ),
    "repeated": (
        lambda lines: [*lines[:5], lines[2], *lines[5:]],
        "audit.jsonl:6: record 3 after record 5: repeated or moved",
    ),
    "swapped": (
        lambda lines: [*lines[:4], lines[5], lines[4], *lines[6:]],
        "audit.jsonl:6: record 5 after record 6: repeated or moved",
    ),
    "torn": (
        lambda lines: [*lines[:4], lines[4][:50] + b"\n", *lines[5:]],
        "audit.jsonl:5: not a record: torn by a crash, or overwritten",
    ),
    "junk": (
        lambda lines: [*lines[:4], b"{}\n", *lines[4:]],
        "audit.jsonl:5: not a record: torn by a crash, or overwritten",
    ),
    "no header": (
        lambda lines: lines[1:],
        "audit.jsonl:1: the file does not begin with its header: lines were removed",
    ),
    "first half gone": (
        lambda lines: lines[5:],
        "audit.jsonl:1: the file does not begin with its header: lines were removed",
    ),
    "emptied": (lambda lines: [], "audit.jsonl: the file is empty: its records were removed"),
    "spaces": (
        lambda lines: [*lines[:4], lines[4].replace(b'":', b'": '), *lines[5:]],
        "audit.jsonl:5: ",
    ),
}


@pytest.mark.parametrize("name", TAMPERING)
@pytest.mark.parametrize("key", [None, KEY], ids=["hash", "hmac"])
def test_tampering_is_found_and_named(log: Log, name: str, key: bytes | None) -> None:
    """What was edited, removed, inserted, repeated, moved or torn is named by file and line."""
    tamper, expected = TAMPERING[name]
    log.fill(10, key=key)
    assert not log.findings(key)
    log.put(tamper(log.lines()))
    found = log.findings(key)
    assert any(line.startswith(expected) for line in found), found


def test_a_record_with_a_new_hash_breaks_the_chain(log: Log) -> None:
    """Without a key an edited record can be made whole, but the next one tells."""
    log.fill(10)
    log.put(reforged(log.lines()))
    assert log.findings() == ["audit.jsonl:6: this record or the one before it was replaced"]


def test_only_the_key_makes_a_forged_chain_whole(log: Log) -> None:
    """Whoever computes the whole chain anew passes without a key and fails with one."""

    def forge_all(lines: list[bytes]) -> list[bytes]:
        forged: list[bytes] = []
        digest = module("guard.audit_format").START
        for line in lines:
            record = json.loads(line)
            forged.append(forge(line, prev=digest, number=9, digest="sha256", seq=record["seq"]))
            digest = json.loads(forged[-1])["hash"]
        return forged

    log.fill(10)
    log.put(forge_all(log.lines()))
    assert not log.findings()
    log.path.unlink()
    log.fill(10, key=KEY)
    log.put(forge_all(log.lines()))
    assert log.findings(KEY) == ["audit.jsonl:1: the file was written without this key"]


def test_the_wrong_key_is_one_finding(log: Log) -> None:
    """Another key, no key, or a key for a log without one is said once, not line by line."""
    log.fill(10, key=KEY)
    [wrong] = log.findings(b"another key of 16 or more")
    assert wrong.endswith("written with another key, and 12 more after it")
    assert log.findings() == ["audit.jsonl:1: the file was written with a key: use --key-file"]
    log.path.unlink()
    log.fill(10)
    assert log.findings(KEY) == ["audit.jsonl:1: the file was written without this key"]


def test_a_cut_tail_shows_at_the_head_that_was_noted(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    """The chain cannot tell that its end is missing; the head in the server's log can."""
    caplog.set_level(logging.INFO)
    log.fill(10)
    [head] = [line.split()[-1] for line in caplog.messages if "head of" in line][-1:]
    assert head.split(":")[0] == "13"
    assert not log.findings(heads=(head,))
    assert not log.findings(heads=(head.split(":")[1],))
    log.put(log.lines()[:8])
    assert not log.findings()
    [found] = log.findings(heads=(head,))
    assert f"head {head} is not here: a tail was cut off" in found


def test_the_head_is_told_now_and_then(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    """At the start, at the end and every 1,000 records the head goes to the server's log."""
    caplog.set_level(logging.INFO)
    log.fill(2000)
    told = [int(line.split()[-1].split(":")[0]) for line in caplog.messages if "head of" in line]
    assert told == [2, 1000, 2000, 2003]


@pytest.mark.parametrize(
    ("gone", "expected"),
    [
        ("audit.000001.jsonl", "audit.000001.jsonl: the file is missing"),
        ("audit.000002.jsonl", "audit.000002.jsonl: the file is missing"),
        ("audit.jsonl", "audit.jsonl: the file is missing, and the newest records with it"),
    ],
)
def test_a_missing_file_is_found(log: Log, gone: str, expected: str) -> None:
    """A file that retention has not removed is missed, be it the first, a middle or the last."""
    log.fill(40, max_bytes=2500, keep=9)
    assert len(log.files()) > 3
    (log.folder / gone).unlink()
    assert expected in log.findings()


def test_a_restart_does_not_hide_a_missing_file(log: Log) -> None:
    """What had to be there before a restart has to be there after it."""
    log.fill(40, max_bytes=2500, keep=9)
    (log.folder / "audit.000001.jsonl").unlink()
    log.fill(40, max_bytes=2500, keep=9)
    assert "audit.000001.jsonl: the file is missing" in log.findings()


def test_an_archive_that_was_exchanged_is_found(log: Log) -> None:
    """Files that stand in for each other are found by generation and by chain."""
    log.fill(40, max_bytes=2500, keep=9)
    shutil.copy(log.folder / "audit.000002.jsonl", log.folder / "audit.000001.jsonl")
    found = log.findings()
    assert "audit.000001.jsonl:1: this is the header of generation 2" in found


@pytest.mark.parametrize("lines", [b"x" * 600_000, b"\n" * 1000, b"\0" * 5000, b"[" * 100_000])
def test_no_content_confuses_the_verification(log: Log, lines: bytes) -> None:
    """Endless lines, empty ones, zeros and deep nesting are findings; their number is bounded."""
    log.fill(3)
    log.put([*log.lines(), lines, b"\n", *log.lines()])
    report = log.verify()
    assert not report.ok
    assert len(report.findings) <= 200


# --- The command ----------------------------------------------------------------------------


def test_the_command_says_what_it_found(
    log: Log, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 and one line when all is well, 1 and the findings when not, 2 when it cannot tell."""
    main = module("guard.audit_verify").main
    key_file = tmp_path / "key"
    key_file.write_bytes(KEY + b"\n")
    log.fill(5, key=KEY)
    assert main(["verify"], log.path, KEY) == 0
    assert capsys.readouterr().out == "intact: 8 records in 1 files, 0 problems\n"
    arguments = ["verify", str(log.folder), "--key-file", str(key_file)]
    assert main(arguments, tmp_path / "nowhere") == 0
    capsys.readouterr()
    log.put(edited(log.lines()))
    assert main(arguments, tmp_path) == 1
    output = capsys.readouterr().out
    assert "audit.jsonl:5: the record was edited" in output
    assert output.endswith("NOT INTACT: 8 records in 1 files, 1 problems\n")
    for wrong in (
        ["verify", str(tmp_path / "nowhere.jsonl")],
        ["verify", str(log.path), "--key-file", str(tmp_path / "nokey")],
        ["verify", str(log.path), "--head", "nonsense"],
    ):
        assert main(wrong, log.path) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert error.startswith("audit: ")


def test_the_command_needs_neither_the_sdk_nor_pydantic(log: Log) -> None:
    """Verification runs on the standard library, so that it starts at once and anywhere."""
    log.fill(3)
    program = f"""
main = import_module({f"{PACKAGE}.guard.audit_verify"!r}).main
code = main(["verify"], import_module("pathlib").Path(sys.argv[1]))
print(code, [name for name in ("mcp", "pydantic", "anyio") if name in sys.modules])
"""
    process = run(program, log.path)
    output, _ = process.communicate(timeout=20)
    assert output.splitlines()[-1] == "0 []"


def test_the_hash_is_that_of_the_documentation(log: Log) -> None:
    """Anybody can check a line by hand: SHA-256 of the line up to the member with the hash."""
    log.fill(1)
    for line in log.lines():
        body, _, rest = line.partition(b',"hash":"')
        assert hashlib.sha256(body).hexdigest() == rest[:64].decode()
