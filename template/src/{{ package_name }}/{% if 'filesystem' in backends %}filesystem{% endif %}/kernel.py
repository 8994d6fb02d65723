# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""The system calls that Python does not offer: openat2 and renameat2, through ctypes.

Both exist on Linux only. Everything else works without them, see beneath.py and changes.py.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys

# openat2(2): the number is the same on every architecture for which CPython is built.
_SYS_OPENAT2 = 437
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
# renameat2(2)
_RENAME_NOREPLACE = 1
# The kernel answers EAGAIN when a rename elsewhere makes it unsure about "..": try again, but
# not for ever, since whoever renames without pause must not keep a thread busy.
_MAX_TRIES = 64


class _OpenHow(ctypes.Structure):
    """``struct open_how`` of openat2(2)."""

    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


_LIBC: ctypes.CDLL | None = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
if _LIBC is not None:
    # syscall(2) as it is called for openat2; its result is a long.
    _LIBC.syscall.restype = ctypes.c_long
    _LIBC.syscall.argtypes = (
        ctypes.c_long,
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.POINTER(_OpenHow),
        ctypes.c_size_t,
    )


def openat2(directory: int, path: str, flags: int, resolve: int) -> int:
    """Open ``path`` relative to ``directory`` under the kernel's own rules for the way there.

    Args:
        directory: descriptor that the path is relative to.
        path: without NUL.
        flags: as for `os.open`; O_CLOEXEC is added.
        resolve: the RESOLVE flags of openat2(2).

    Raises:
        OSError: as openat2(2) says; ENOSYS where it does not exist.
    """
    if _LIBC is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    how, name = _OpenHow(flags | os.O_CLOEXEC, 0, resolve), os.fsencode(path)
    size, number = ctypes.sizeof(how), errno.EAGAIN
    for _ in range(_MAX_TRIES):
        opened: int = _LIBC.syscall(_SYS_OPENAT2, directory, name, how, size)
        if opened >= 0:
            return opened
        number = ctypes.get_errno()
        if number not in (errno.EAGAIN, errno.EINTR):
            break
    raise OSError(number, os.strerror(number))


def has_openat2(directory: int) -> bool:
    """Try openat2 once. Old kernels answer ENOSYS, seccomp profiles of old containers EPERM."""
    flags = getattr(os, "O_PATH", 0) | getattr(os, "O_DIRECTORY", 0)
    try:
        os.close(openat2(directory, ".", flags, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS))
    except OSError:
        return False
    return True


def rename_exclusive(source_dir: int, source: str, target_dir: int, target: str) -> None:
    """Rename an entry unless the new name exists, in one step.

    Raises:
        OSError: as renameat2(2) says; EEXIST when the new name is taken, ENOSYS or EINVAL where
            the system or the file system cannot do it.
    """
    function = getattr(_LIBC, "renameat2", None)
    if function is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    failed: int = function(
        ctypes.c_int(source_dir),
        ctypes.c_char_p(os.fsencode(source)),
        ctypes.c_int(target_dir),
        ctypes.c_char_p(os.fsencode(target)),
        ctypes.c_uint(_RENAME_NOREPLACE),
    )
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
