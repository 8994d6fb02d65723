# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""A second layer: the Linux kernel confines the whole process to the folders it needs.

Landlock (Linux 5.13, landlock(7)) takes rights away from a process for good, from whatever it
starts as well. The sandbox of a backend decides what a client may do; this holds when that, a
library or a tool of your own has a hole. It governs reading, writing, making, removing and
running files. It does not govern the network, ``stat``, or files that are open already.
"""

from __future__ import annotations

import ctypes
import mimetypes
import os
import ssl
import stat
import sys
import sysconfig
import threading
from collections.abc import Iterable
from pathlib import Path

from .errors import ConfigError
from .prefix import PREFIX

_SETTING = f"{PREFIX}LANDLOCK"

# System calls: the same numbers on every architecture for which CPython is built.
_CREATE_RULESET = 444
_ADD_RULE = 445
_RESTRICT_SELF = 446
_VERSION = 1  # LANDLOCK_CREATE_RULESET_VERSION
_PATH_BENEATH = 1  # LANDLOCK_RULE_PATH_BENEATH
_PR_SET_NO_NEW_PRIVS = 38

# Rights, linux/landlock.h.
_EXECUTE = 1 << 0
_WRITE_FILE = 1 << 1
_READ_FILE = 1 << 2
_READ_DIR = 1 << 3
_REMOVE_DIR = 1 << 4
_REMOVE_FILE = 1 << 5
_MAKE_DIR = 1 << 7
_MAKE_REG = 1 << 8
_REFER = 1 << 13  # since ABI 2: renaming from one folder to another
_TRUNCATE = 1 << 14  # since ABI 3
_IOCTL_DEV = 1 << 15  # since ABI 5

_FOR_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
# What may be read may be run, since Python itself is; what may be written may not. No right to
# make links or devices, nor to speak to devices, is ever given.
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_WRITE = (
    _READ_FILE
    | _READ_DIR
    | _WRITE_FILE
    | _REMOVE_DIR
    | _REMOVE_FILE
    | _MAKE_DIR
    | _MAKE_REG
    | _REFER
    | _TRUNCATE
)

_SYSTEM_FILES = (
    "/lib",
    "/lib32",
    "/lib64",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/local/lib",
    "/nix/store",
    "/usr/share/zoneinfo",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/etc/crypto-policies",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/dev/urandom",
)
_SYSTEM_WRITABLE = ("/dev/null",)


class _RulesetAttr(ctypes.Structure):
    """``struct landlock_ruleset_attr``; the fields after the first are for the network."""

    _fields_ = (("handled_access_fs", ctypes.c_uint64),)


class _PathBeneathAttr(ctypes.Structure):
    """``struct landlock_path_beneath_attr``, which is packed."""

    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def restrict(read: Iterable[str], write: Iterable[str]) -> int | None:
    """Confine this process, and what it starts, to some paths. Nothing takes it back.

    Applies to the calling thread and to those that it starts later, so it must come before any
    other thread. It sets no_new_privs: programs that it starts gain no rights by setuid.
    A path that does not exist is left out, and so is one that cannot be opened. A writable path
    makes all below it writable, a folder that is served read-only as well: that is the sandbox's
    part. A file that is replaced by another one of its name is not the one that was allowed.

    Args:
        read: files and folders with all below them that may be read.
        write: files and folders with all below them that may be read and changed.

    Returns:
        The version of Landlock's interface, or None when this system has none that will do. With
        version 1 (before Linux 5.19) nothing could be moved between folders; it is not used when
        there is something to write.

    Raises:
        ConfigError: other threads run already, or the kernel refuses what it offers.
    """
    writable = list(write)
    abi = version()
    if abi == 0 or (abi == 1 and writable):
        return None
    if threading.active_count() > 1:
        raise ConfigError(f"{_SETTING}: a thread runs already, which would stay free; write off")
    handled = handled_rights(abi)
    attr = _RulesetAttr(handled)
    ruleset = _call("rules", _CREATE_RULESET, attr, ctypes.sizeof(attr), 0)
    try:
        for path in read:
            _allow(ruleset, path, _READ & handled)
        for path in (*writable, *_SYSTEM_WRITABLE):
            _allow(ruleset, path, _WRITE & handled)
        _no_new_privileges()
        _call("restriction", _RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return abi


def version() -> int:
    """Return the version of the kernel's Landlock interface, 0 for none.

    It may be missing from the kernel, switched off at boot, or hidden by a container's seccomp
    profile, which answers EPERM.
    """
    if sys.platform != "linux":
        return 0
    number, version_only = ctypes.c_long(_CREATE_RULESET), ctypes.c_long(_VERSION)
    abi: int = _libc().syscall(number, None, ctypes.c_long(0), version_only)
    return max(abi, 0)


def handled_rights(abi: int) -> int:
    """Return every right over files that this version can take away."""
    if abi >= 5:
        return (1 << 16) - 1
    if abi >= 3:
        return (1 << 15) - 1
    return (1 << 14) - 1 if abi == 2 else (1 << 13) - 1


def python_paths() -> list[str]:
    """Return the paths that this Python must be able to read to go on running.

    Its own files, the modules that are imported late, shared libraries, time zones, certificates
    and the resolver's configuration. The current directory is not among them, though Python
    searches it when it is started with ``-m``: it may be anything, such as a home.
    """
    certificates = ssl.get_default_verify_paths()
    resolver = Path("/etc/resolv.conf")
    found = [
        sys.prefix,
        sys.exec_prefix,
        sys.base_prefix,
        sys.base_exec_prefix,
        sysconfig.get_path("stdlib"),
        sysconfig.get_path("platstdlib"),
        *(entry for entry in sys.path if not _is_current_directory(entry)),
        str(Path(__file__).parent),
        *_SYSTEM_FILES,
        # Where resolv.conf is a link, the file behind it is replaced when the network changes.
        *([str(resolver.resolve().parent)] if resolver.is_symlink() else []),
        *map(str, mimetypes.knownfiles),
        certificates.cafile,
        certificates.capath,
        certificates.openssl_cafile,
        certificates.openssl_capath,
    ]
    return [path for path in dict.fromkeys(found) if path and path != "/"]


def _is_current_directory(entry: str) -> bool:
    try:
        return not entry or Path(entry).samefile(Path.cwd())
    except OSError:
        return False


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (OSError, ValueError):
        return
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            rights &= _FOR_FILES
        rule = _PathBeneathAttr(rights, fd)
        _call(f"rule for {path}", _ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(fd)


def _no_new_privileges() -> None:
    zero = ctypes.c_ulong(0)
    if _libc().prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero):
        raise _refused("no_new_privs")


def _call(what: str, number: int, *arguments: int | ctypes.Structure) -> int:
    passed = [
        ctypes.byref(value) if isinstance(value, ctypes.Structure) else ctypes.c_long(value)
        for value in arguments
    ]
    result: int = _libc().syscall(ctypes.c_long(number), *passed)
    if result < 0:
        raise _refused(what)
    return result


def _refused(what: str) -> ConfigError:
    reason = os.strerror(ctypes.get_errno())
    return ConfigError(f"{_SETTING}: the kernel refuses the {what} ({reason}); write off")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
