# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""``audit verify``: finds what was edited, removed, inserted, moved, repeated or torn.

Standard library only, so that it starts at once and runs where the server cannot.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from .audit_format import MAX_LINE, START, Lane, Record, digest_name, parse, split

_MAX_FINDINGS = 200
_MAX_FOREIGN = 10_000  # lines that are no records; a file with more is given up
_HEAD = re.compile(r"(?:(?P<seq>[0-9]+):)?(?P<digest>[0-9a-f]{64})")


@dataclass(frozen=True)
class Finding:
    """Something that is not as it was written. ``harmless`` when the log itself explains it."""

    file: str
    line: int
    text: str
    harmless: bool = False

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        text = f"{place}: {'note: ' if self.harmless else ''}{self.text}"
        # Names and texts may be an attacker's: no line of ours is forged or painted over.
        return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


@dataclass
class Report:
    """The outcome of a verification. Only the first 200 findings are kept; all are counted."""

    records: int = 0
    files: int = 0
    problems: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Nothing was found that the log does not explain."""
        return not self.problems

    def add(self, finding: Finding) -> None:
        self.problems += not finding.harmless
        if len(self.findings) < _MAX_FINDINGS:
            self.findings.append(finding)


@dataclass
class _Lost:
    """Lines that are no records, until a record after them explains the only one."""

    line: int
    digest: str
    more: int = 0


class _Chain:
    """Follows the records of one lane through its files.

    Attributes:
        oldest: the oldest generation that must still be there, as the newest header says.
        generation: that of the newest header.
    """

    def __init__(
        self, report: Report, lane: Lane, key: bytes | None, heads: dict[str, int]
    ) -> None:
        self._report = report
        self._lane = lane
        self._key = key
        self._heads = heads
        self._seq: int | None = None
        self._digest = START
        self._lost: _Lost | None = None
        self._edited: list[int] = []
        self.oldest = 1
        self.generation = 1

    def file(self, path: Path, generation: int) -> None:
        """Check one file; ``generation`` is 0 for the one that is still written to."""
        self._report.files += 1
        if not stat.S_ISREG(path.lstat().st_mode):
            self._find(path, 0, "this is not a regular file: it was replaced")
            return
        number = foreign = 0
        for line in _lines(path):
            number += 1
            record = parse(line[:-1], self._key) if line.endswith(b"\n") else None
            if record is None:
                foreign += 1
                if foreign > _MAX_FOREIGN:
                    self._unexplained(path)
                    self._find(path, number, "too many lines are no records: the rest is not read")
                    return
                if self._lost is None:
                    self._lost = _Lost(number, hashlib.sha256(line.rstrip(b"\n")).hexdigest())
                else:
                    self._lost.more += 1
            elif number == 1 and not self._header(path, record, generation):
                return
            else:
                self._record(path, number, record)
        self._unexplained(path)
        self._end_of_edited(path)
        if not number:
            self._find(
                path,
                0,
                "the file is empty: its records were removed, or the server was"
                " killed as it began it (start it once more)",
            )

    def _find(self, path: Path, line: int, text: str, *, harmless: bool = False) -> None:
        self._report.add(Finding(path.name, line, text, harmless))

    def _unexplained(self, path: Path) -> None:
        if self._lost is not None:
            more = f", and {self._lost.more} more after it" if self._lost.more else ""
            text = f"not a record: torn by a crash, or overwritten{more}"
            self._find(path, self._lost.line, text)
            self._lost = None

    def _header(self, path: Path, record: Record, generation: int) -> bool:
        """Check the first record of a file. False: the rest cannot be checked with this key."""
        if record.fields.get("event") != "log.open":
            self._find(path, 1, "the file does not begin with its header: lines were removed")
            return True
        if not record.genuine and record.fields.get("digest") != digest_name(self._key):
            hint = "with a key: use --key-file" if self._key is None else "without this key"
            self._find(path, 1, f"the file was written {hint}")
            return False
        if record.fields.get("lane", self._lane.current) != self._lane.current:
            self._find(path, 1, f"this file was written as {record.fields['lane']}")
        if generation and record.number("generation") != generation:
            self._find(path, 1, f"this is the header of generation {record.number('generation')}")
        reason = record.fields.get("reason")
        renewed = reason not in ("start", "full")
        if renewed:
            self._find(path, 1, f"the server found its file {reason} and began this one")
        if record.genuine:
            if self._seq is not None and record.number("generation") <= self.generation:
                self._find(path, 1, "an older file stands in the place of this one")
            self.oldest = record.number("oldest")
            self.generation = record.number("generation")
        if self._seq is None or (renewed and record.number("seq") == 1):
            # The beginning of the chain, what retention has left of it, or one begun anew, which
            # has been reported above.
            self._seq = record.number("seq") - 1
            self._digest = str(record.fields.get("prev"))
        return True

    def _record(self, path: Path, number: int, record: Record) -> None:
        self._report.records += 1
        if record.genuine:
            self._end_of_edited(path)
        else:
            self._edited.append(number)
        seq, last = record.number("seq"), self._seq
        if last is not None and seq <= last:
            self._find(path, number, f"record {seq} after record {last}: repeated or moved")
            return
        if last is not None and seq > last + 1:
            self._find(path, number, f"records {last + 1} to {seq - 1} are missing before this one")
        elif last is not None and record.fields.get("prev") != self._digest:
            self._find(path, number, "this record or the one before it was replaced")
        self._seq, self._digest = seq, record.digest
        if record.genuine:
            self._heads.pop(record.digest, None)
            self._explain(path, number, record)

    def _end_of_edited(self, path: Path) -> None:
        """Report records that are not genuine: one finding for all that follow each other."""
        if self._edited:
            more = f", and {len(self._edited) - 1} more after it" if len(self._edited) > 1 else ""
            text = f"the record was edited, or written with another key{more}"
            self._find(path, self._edited[0], text)
            self._edited.clear()

    def _explain(self, path: Path, number: int, record: Record) -> None:
        """Records of the log about itself: what was torn, and what could not be written."""
        event = record.fields.get("event")
        if event == "log.gap":
            text = f"{record.number('lost')} records before this one could not be written"
            self._find(path, number, text, harmless=True)
        if self._lost is None:
            return
        explained = event == "log.torn" and record.fields.get("sha256") == self._lost.digest
        if explained and not self._lost.more:
            self._find(path, self._lost.line, "torn by a crash; the log says so", harmless=True)
            self._lost = None
        else:
            self._unexplained(path)


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, in pieces of a bounded size should one be too long to be a record."""
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE + 2):
            yield line


def _lanes(path: Path) -> dict[Lane, list[tuple[int, Path]]]:
    """The lanes to check, each with its files in the order in which they were written."""
    folder = path if path.is_dir() else path.parent
    wanted = None if path.is_dir() else split(path.name)
    if wanted is None and not path.is_dir():
        return {}
    lanes: dict[Lane, list[tuple[int, Path]]] = {}
    for file in folder.iterdir():
        names = split(file.name)
        if names is None or (wanted is not None and not _belongs(names[0], wanted[0])):
            continue
        if path.is_dir() and names[0].suffix != ".jsonl":
            continue
        lanes.setdefault(names[0], []).append((names[1], file))
    for files in lanes.values():
        # The file without a number is the newest.
        files.sort(key=lambda item: (item[0] == 0, item[0]))
    return dict(sorted(lanes.items(), key=lambda item: item[0].current))


def _belongs(lane: Lane, first: Lane) -> bool:
    """Whether a lane is that of the configured file, or of another process beside it."""
    pattern = re.escape(first.name) + r"(-[0-9]+)?"
    return lane.suffix == first.suffix and re.fullmatch(pattern, lane.name) is not None


def verify(path: Path, key: bytes | None = None, heads: Sequence[str] = ()) -> Report:
    """Check a log: every lane, every file, every record.

    Args:
        path: its file, or a folder: then every log with the suffix ``.jsonl`` in it.
        key: the key it was written with.
        heads: ``SEQ:HASH`` or ``HASH`` as the server's log told them; each must be found.

    Raises:
        OSError: a file cannot be read, or there is no log at all.
        ValueError: a head that is none.
    """
    wanted: dict[str, int] = {}
    for head in heads:
        match = _HEAD.fullmatch(head)
        if match is None:
            raise ValueError(f"--head wants SEQ:HASH, not {head!r}")
        wanted[match["digest"]] = int(match["seq"] or 0)
    lanes = _lanes(path)
    if not lanes:
        raise FileNotFoundError(f"there is no audit log at {path}")
    report = Report()
    named = None if path.is_dir() else split(path.name)
    if named is not None and named[0] not in lanes:
        report.add(Finding(named[0].current, 0, "the file is missing, and its records with it"))
    for lane, files in lanes.items():
        _check_lane(report, lane, files, key, wanted)
    for digest, seq in wanted.items():
        if digest != START:
            text = f"head {seq}:{digest} is not here: a tail was cut off, or retention removed it"
            report.add(Finding(path.name, 0, text))
    return report


def _check_lane(
    report: Report,
    lane: Lane,
    files: list[tuple[int, Path]],
    key: bytes | None,
    heads: dict[str, int],
) -> None:
    chain = _Chain(report, lane, key, heads)
    for generation, file in files:
        chain.file(file, generation)
    present = {generation for generation, _ in files}
    missing = (g for g in range(chain.oldest, chain.generation) if g not in present)
    for generation in islice(missing, _MAX_FINDINGS):  # without a key, a header may claim anything
        report.add(Finding(lane.archive(generation), 0, "the file is missing"))
    if 0 not in present:
        report.add(Finding(lane.current, 0, "the file is missing, and the newest records with it"))


def main(argv: Sequence[str], path: Path, key: bytes | None = None, prog: str = "audit") -> int:
    """The command ``audit verify [PATH] [--key-file FILE] [--head SEQ:HASH]``.

    Args:
        argv: what follows ``audit`` on the command line.
        path: the log to check when the command line names none.
        key: the key to use when the command line names no file with one.
        prog: how the command was called, for its help.

    Returns:
        0 when the log is intact, 1 when it is not, 2 when it could not be checked.
    """
    parser = argparse.ArgumentParser(prog=prog, description="Check the audit log.")
    commands = parser.add_subparsers(required=True, metavar="verify")
    command = commands.add_parser("verify", help="find edited, removed, inserted or torn records")
    command.add_argument("path", nargs="?", type=Path, default=path, help="a log or its folder")
    command.add_argument("--key-file", type=Path, help="file with the key of the chain")
    command.add_argument(
        "--head",
        action="append",
        default=[],
        metavar="SEQ:HASH",
        help="a head from the server's log that must still be there (may be repeated)",
    )
    options = parser.parse_args(argv)
    try:
        if options.key_file is not None:
            key = options.key_file.read_bytes().strip()
        report = verify(options.path, key, options.head)
    except (OSError, ValueError) as exc:
        print(f"{prog}: {exc}", file=sys.stderr)
        return 2
    for finding in report.findings:
        print(finding)
    left_out = len(report.findings) == _MAX_FINDINGS
    print(
        f"{'intact' if report.ok else 'NOT INTACT'}: {report.records} records in"
        f" {report.files} files, {report.problems} problems"
        + (f" (the first {_MAX_FINDINGS} lines are shown)" if left_out else "")
    )
    return 0 if report.ok else 1
