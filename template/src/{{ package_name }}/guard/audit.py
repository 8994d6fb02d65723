# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""The audit log, for writing. See audit_format.py for what is written.

What it proves. With a key nobody without the key can edit, remove, insert or reorder records
unnoticed; without a key, only those are found out who do not compute the chain anew. A tail that
was cut off leaves no trace in the log itself: therefore its head goes to the server's own log at
start, at shutdown and every 1,000 records, and ``audit verify --head`` looks for it.

What happens when a file cannot be written: nothing of the record is left behind, the caller is
told by `AuditError`, and the next record that can be written is preceded by one that says how
many are missing. A file that was deleted, replaced or changed by somebody else is put aside and
a new one begun; the chain goes on, so that the hole shows. Windows does not rename a file that
is open: there the log is not rotated and grows.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import stat
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..errors import ConfigError
from ..prefix import PREFIX
from .audit_format import MAX_LINE, START, Lane, Record, digest_name, parse, seal, split

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

log = logging.getLogger(__name__)

_MAX_LANES = 64
_BEGIN = b'{"seq":'  # of every record
# Seconds between two looks at the file on the path; each costs as much as writing a record.
_CHECK_EVERY = 0.1
_HEAD_EVERY = 1000
_STDERR = 2
_MODE = stat.S_IRUSR | stat.S_IWUSR

# The setting that a wrong path is reported under.
_SETTING = f"{PREFIX}AUDIT__PATH"


class AuditError(Exception):
    """A record could not be written. The text is for the server's log, not for a client."""


class _Folder:
    """The log's folder, by handle: no later change of the path leads elsewhere.

    Only names inside the folder are ever used, so a sandbox may forbid everything else.
    Windows has no handles of folders; there the path is used.
    """

    def __init__(self, path: Path) -> None:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._fd: int | None = None
        self._prefix = f"{path}{os.sep}"
        if sys.platform != "win32":
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._prefix = ""
            mode = os.fstat(self._fd).st_mode
            if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
                self.close()
                raise PermissionError("everybody may write in its folder (chmod o-w)")

    def open(self, name: str, flags: int, *, make_private: bool = True) -> int:
        """Open a regular file of our own, readable for nobody else.

        Raises:
            OSError: also for a symbolic link, a device, another owner or a second name.
        """
        for flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
            flags |= getattr(os, flag, 0)
        fd = os.open(self._prefix + name, flags, _MODE, dir_fd=self._fd)
        try:
            _check_ours(fd)
            if make_private:
                _make_private(fd)
        except OSError:
            os.close(fd)
            raise
        return fd

    def stat(self, name: str) -> os.stat_result | None:
        """What a name stands for, links not followed. None: there is no such name."""
        try:
            return os.stat(self._prefix + name, dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def names(self) -> list[str]:
        with os.scandir(self._prefix if self._fd is None else self._fd) as entries:
            return [entry.name for entry in entries]

    def rename(self, old: str, new: str) -> None:
        """Rename, but never over another file. (Only the holder of the lane makes such names.)"""
        if self.stat(new) is not None:
            raise FileExistsError(f"{new} exists already")
        os.rename(self._prefix + old, self._prefix + new, src_dir_fd=self._fd, dst_dir_fd=self._fd)

    def remove(self, name: str) -> None:
        os.unlink(self._prefix + name, dir_fd=self._fd)

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _check_ours(fd: int) -> None:
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        raise PermissionError("it is not a regular file")
    if sys.platform == "win32":
        return
    if found.st_uid != os.geteuid():
        raise PermissionError("it belongs to another user")
    if found.st_nlink > 1:
        raise PermissionError("it has a second name (hard link)")


def _make_private(fd: int) -> None:
    if sys.platform != "win32" and stat.S_IMODE(os.fstat(fd).st_mode) != _MODE:
        os.fchmod(fd, _MODE)


def _lock(fd: int) -> bool:
    """Take the lock on a file until it is closed. False: another process has it."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _take_lane(folder: _Folder, first: Lane) -> tuple[Lane, int]:
    """The first lane that no other process holds, and its lock file, open."""
    for number in range(1, _MAX_LANES + 1):
        lane = first if number == 1 else Lane(f"{first.name}-{number}", first.suffix)
        fd = folder.open(f".{lane.name}.lock", os.O_RDWR | os.O_CREAT)
        if _lock(fd):
            return lane, fd
        os.close(fd)
    raise BlockingIOError(f"{_MAX_LANES} processes write to it already")


@dataclass(frozen=True)
class _Ends:
    """How a file begins and ends.

    Attributes:
        header: its first record. None: not a genuine one.
        last: its last record. None: not a genuine one.
        torn: what follows the last newline: half a record, left by a crash.
        unfinished: the last record is whole except for its newline.
        digest: which hash the file has, as its first record says, genuine or not; None: unknown.
        only_torn: there is nothing but the beginning of a first record.
    """

    header: Record | None
    last: Record | None
    torn: bytes
    unfinished: bool
    digest: object
    only_torn: bool = False


def _check_key(ends: _Ends, key: bytes | None) -> None:
    if ends.digest not in (None, digest_name(key)):
        how = "with a key" if key is None else "without a key"
        raise OSError(f"it was written {how}; move it away, or name another file")


def _read_ends(fd: int, key: bytes | None) -> _Ends:
    def genuine(record: Record | None) -> Record | None:
        return record if record is not None and record.genuine else None

    first = parse(_read(fd, 0).partition(b"\n")[0], key)
    header, digest = genuine(first), first.fields.get("digest") if first is not None else None
    size = os.fstat(fd).st_size
    complete, _, torn = _read(fd, max(0, size - 2 * MAX_LINE)).rpartition(b"\n")
    whole = genuine(parse(torn, key))
    if whole is not None:
        return _Ends(header, whole, b"", unfinished=True, digest=digest)
    last = genuine(parse(complete.rpartition(b"\n")[2], key))
    only_torn = 0 < size == len(torn) and _BEGIN.startswith(torn[: len(_BEGIN)])
    return _Ends(header, last, torn, False, digest, only_torn)


def _read(fd: int, start: int) -> bytes:
    """Up to 2 MiB from a position: two records at least."""
    os.lseek(fd, start, os.SEEK_SET)
    chunks: list[bytes] = []
    left = 2 * MAX_LINE
    while left and (chunk := os.read(fd, left)):
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks)


def probe(path: Path, key: bytes | None) -> None:
    """Find out whether a log could be opened with this key, and leave no trace.

    Raises:
        ConfigError: the file or its folder could not be used.
    """
    lane = _first_lane(path)
    place = next(folder for folder in path.parents if folder.exists())
    try:
        if not os.access(place, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if place == path.parent:
            folder = _Folder(place)
            try:
                if folder.stat(lane.current) is not None:
                    fd = folder.open(lane.current, os.O_RDWR | os.O_APPEND, make_private=False)
                    try:
                        _check_key(_read_ends(fd, key), key)
                    finally:
                        os.close(fd)
            finally:
                folder.close()
    except OSError as exc:
        raise _unusable(path, exc) from exc


def _first_lane(path: str | os.PathLike[str]) -> Lane:
    names = split(Path(path).name)
    if names is None or names[1]:
        raise ConfigError(f"{_SETTING}: write a file name like audit.jsonl, not {path!s}")
    return names[0]


def _unusable(path: str | os.PathLike[str], why: OSError) -> ConfigError:
    return ConfigError(f"{_SETTING}: cannot write {path!s}: {why.strerror or why}")


class AuditLog:
    """A log that is open for writing; see `open`. For one thread, the event loop's.

    Attributes:
        fail_closed: whether a call that cannot be recorded is to be refused. The guard decides
            by it; the log itself always raises.
    """

    def __init__(
        self, *, key: bytes | None, max_bytes: int, keep: int, fsync: bool, fail_closed: bool
    ) -> None:
        self.fail_closed = fail_closed
        self._key = key
        self._max_bytes = max_bytes
        self._keep = keep
        self._fsync = fsync
        # The chain.
        self._seq = 0
        self._head = START
        self._lost = 0
        # The file.
        self._lane = Lane("standard error", "")
        self._folder: _Folder | None = None
        self._lock_fd: int | None = None
        self._fd = _STDERR
        self._identity = (0, 0)
        self._size = 0
        self._rotate_at = max_bytes
        self._check_at = 0.0
        self._generation = 1
        self._oldest = 1
        self._reason = "start"

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        key: bytes | None = None,
        max_bytes: int = 10 * 1024 * 1024,
        keep: int = 10,
        fsync: bool = False,
        fail_closed: bool = True,
    ) -> AuditLog:
        """Open a log and go on with its chain.

        Args:
            path: the file, such as ``audit.jsonl``; its folder is made when it is missing.
                ``-`` for standard error, where each process begins a chain.
            key: the key of the chain; None for a chain without a key.
            max_bytes: size in bytes at which a new file is begun.
            keep: how many full files are kept.
            fsync: wait for the disk after each record (milliseconds).
            fail_closed: see `AuditLog`.

        Raises:
            ConfigError: the file or its folder cannot be used.
        """
        self = cls(key=key, max_bytes=max_bytes, keep=keep, fsync=fsync, fail_closed=fail_closed)
        if str(path) != "-":
            lane = _first_lane(path)
            try:
                self._open_files(Path(path).absolute().parent, lane)
            except OSError as exc:
                self._release()
                raise _unusable(path, exc) from exc
        self.tell_head()
        return self

    def write(self, record: Mapping[str, object]) -> None:
        """Append a record; ``seq``, ``time`` (UTC, RFC 3339), ``prev`` and ``hash`` are added.

        Raises:
            AuditError: the record is not in the log.
        """
        try:
            self._prepare()
            if self._lost:
                self._append({"event": "log.gap", "lost": self._lost})
                log.warning("audit log: can be written again; %d records are lost", self._lost)
                self._lost = 0
            self._append(record)
        except (OSError, ValueError, TypeError, RecursionError) as exc:
            if not self._lost:
                log.error("audit log: cannot be written: %s", exc)
            self._lost += 1
            raise AuditError(str(exc)) from exc

    def close(self) -> None:
        """Write a last record, tell the head and let go of the files. Never raises."""
        if self._fd < 0:
            return
        with contextlib.suppress(AuditError):
            self.write({"event": "log.close"})
        self.tell_head()
        self._release()

    def _append(self, record: Mapping[str, object], before: bytes = b"") -> None:
        stamp = datetime.now(UTC).isoformat(timespec="microseconds")
        seq = self._seq + 1
        line, head = seal({"seq": seq, "time": stamp, **record, "prev": self._head}, self._key)
        self._put(before + line)
        self._seq, self._head = seq, head
        if self._fsync and self._folder is not None:
            os.fsync(self._fd)
        if seq % _HEAD_EVERY == 0:
            self.tell_head()

    def _put(self, data: bytes) -> None:
        """Write all of it in one call, or nothing of it."""
        written = os.write(self._fd, data)
        if written != len(data):
            if self._folder is not None:
                # What fitted on a full disk would merge with the next record.
                os.ftruncate(self._fd, self._size)
            raise OSError("only a part of the record could be written")
        self._size += written

    def tell_head(self) -> None:
        log.info("audit log: head of %s is %d:%s", self._lane.current, self._seq, self._head)

    def _prepare(self) -> None:
        """See to it that the file is ours, as we left it, not full, and begins with a header."""
        if self._folder is not None:
            self._check_file(self._folder)
        if not self._size:
            self._append(
                {
                    "event": "log.open",
                    "generation": self._generation,
                    "oldest": self._oldest,
                    "lane": self._lane.current,
                    "digest": digest_name(self._key),
                    "reason": self._reason,
                    "pid": os.getpid(),
                }
            )
            if self._folder is not None:
                self._prune(self._folder)

    def _check_file(self, folder: _Folder) -> None:
        now = time.monotonic()
        if now >= self._check_at:
            found = folder.stat(self._lane.current)
            if found is None:
                self._renew(folder, "missing")
            elif (found.st_dev, found.st_ino) != self._identity or found.st_size != self._size:
                self._renew(folder, "altered")
            self._check_at = now + _CHECK_EVERY
        if self._size >= self._rotate_at:
            try:
                self._renew(folder, "full")
            except OSError as exc:
                log.error("audit log: no new file could be begun, the old one grows: %s", exc)
                self._rotate_at = self._size + self._max_bytes

    def _renew(self, folder: _Folder, reason: str) -> None:
        """Put the file aside and begin a new one. When that fails, everything is as before."""
        current, archive = self._lane.current, self._lane.archive(self._generation)
        aside = folder.stat(current) is not None
        if aside:
            folder.rename(current, archive)
        try:
            fd = folder.open(current, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL)
        except OSError:
            if aside:
                folder.rename(archive, current)
            raise
        if self._fd > _STDERR:
            os.close(self._fd)
        self._use(fd)
        self._reason = reason
        self._generation += 1
        self._oldest = max(self._oldest, self._generation - self._keep)

    def _use(self, fd: int) -> None:
        found = os.fstat(fd)
        self._fd = fd
        self._identity = (found.st_dev, found.st_ino)
        self._size = found.st_size
        self._rotate_at = self._max_bytes

    def _prune(self, folder: _Folder) -> None:
        """Delete the files that are older than retention. The header has said so before."""
        for generation in self._lane.generations(folder.names()):
            if generation < self._oldest:
                try:
                    folder.remove(self._lane.archive(generation))
                except OSError as exc:
                    log.error("audit log: an old file could not be deleted: %s", exc)

    def _open_files(self, path: Path, lane: Lane) -> None:
        folder = self._folder = _Folder(path)
        self._lane, self._lock_fd = _take_lane(folder, lane)
        archives = self._lane.generations(folder.names())
        newest = archives[-1] if archives else 0
        self._generation = newest + 1
        self._oldest = archives[0] if archives else 1
        fd = folder.open(self._lane.current, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        self._use(fd)
        if self._size:
            self._resume(folder, _read_ends(fd, self._key))
        elif newest:
            archive = folder.open(self._lane.archive(newest), os.O_RDONLY)
            try:
                ends = _read_ends(archive, self._key)
                _check_key(ends, self._key)
                self._take_over(ends, self._generation)
            finally:
                os.close(archive)
        try:
            self.write({"event": "log.start", "pid": os.getpid()})
        except AuditError as exc:
            raise OSError(str(exc)) from exc

    def _resume(self, folder: _Folder, ends: _Ends) -> None:
        """Go on in the file that an earlier process has left."""
        _check_key(ends, self._key)
        self._take_over(ends, self._generation)
        if ends.only_torn:
            # Not even its header was written whole: there is nothing to go on from.
            log.warning("audit log: the header of %s was torn", self._lane.current)
            os.ftruncate(self._fd, 0)
            self._size = 0
            return
        if ends.last is None:
            log.error("audit log: %s does not end with a genuine record", self._lane.current)
            self._renew(folder, "unreadable")
            return
        if ends.torn:
            log.warning("audit log: the last record of %s was torn", self._lane.current)
            digest = hashlib.sha256(ends.torn).hexdigest()
            torn = {"event": "log.torn", "bytes": len(ends.torn), "sha256": digest}
            # In one step with the newline that ends what was torn, or it would stay unexplained.
            self._append(torn, before=b"\n")
        elif ends.unfinished:
            self._put(b"\n")

    def _take_over(self, ends: _Ends, generation: int) -> None:
        """Take over the chain as a file leaves it."""
        if ends.last is not None:
            self._seq, self._head = ends.last.number("seq"), ends.last.digest
        if ends.header is not None:
            self._oldest = ends.header.number("oldest")
            self._generation = max(generation, ends.header.number("generation"))

    def _release(self) -> None:
        if self._fd > _STDERR:
            os.close(self._fd)
        self._fd = -1
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None
        if self._folder is not None:
            self._folder.close()
            self._folder = None
