# managed: part of the template; modelctx updates may rewrite it. Your tests live in tests/custom/.
"""The second layer: the kernel confines the whole process, and the server still works in it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PACKAGE, module

landlock = module("landlock")
ConfigError = module("errors").ConfigError

kernel_has_it = pytest.mark.skipif(
    landlock.version() < 3, reason="this system has no Landlock, or one that cannot stop truncation"
)

# What every confined program begins with: two roots, one of them writable, and what lies outside.
PRELUDE = f"""
import importlib, os, sys
from pathlib import Path
top = Path(sys.argv[1])
landlock = importlib.import_module({PACKAGE!r} + ".landlock")

def refused(call, *args):
    try:
        call(*args)
    except PermissionError:
        return
    raise SystemExit(f"allowed: {{call}} {{args}}")
"""
CONFINE = """
abi = landlock.restrict([*landlock.python_paths(), str(top / "ro")], [str(top / "rw")])
assert abi >= 3, abi
"""


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """Three folders with a file and a folder each: read-only, writable and outside."""
    for name in ("ro", "rw", "outside"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "file.txt").write_text(name)
    return tmp_path


def run(top: Path, code: str, *, prelude: str = PRELUDE + CONFINE) -> None:
    """Run a program that must succeed, in a folder that is none of the allowed ones."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", prelude + code, str(top)],
        cwd=top / "outside",
        env={**os.environ, "PYTHONPATH": str(Path(landlock.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@kernel_has_it
@pytest.mark.promise("FS-1", "FS-3")
def test_the_kernel_allows_only_the_folders(top: Path) -> None:
    """Outside nothing is read, listed, written, cut, made, moved, removed or run."""
    run(
        top,
        """
outside, ro, rw = top / "outside", top / "ro", top / "rw"
assert (ro / "file.txt").read_text() == "ro"
assert sorted(os.listdir(ro)) == ["file.txt", "sub"]
for folder in (outside, ro):
    refused((folder / "file.txt").write_text, "x")
    refused(os.truncate, folder / "file.txt", 0)
    refused((folder / "new").touch)
    refused((folder / "new").mkdir)
    refused((folder / "file.txt").unlink)
    refused((folder / "sub").rmdir)
    refused((folder / "new").symlink_to, "file.txt")
    refused((folder / "file.txt").rename, folder / "renamed")
refused((outside / "file.txt").read_text)
refused(os.listdir, outside)
refused(Path("/etc/passwd").read_text)
refused(Path("/proc/self/environ").read_text)
(rw / "sub" / "new").write_text("new")
(rw / "sub" / "new").rename(rw / "moved")
os.truncate(rw / "moved", 1)
assert (rw / "moved").read_text() == "n"
(rw / "moved").unlink()
(rw / "sub").rmdir()
(rw / "link").touch()
refused((rw / "other").symlink_to, "link")
""",
    )
    assert (top / "outside" / "file.txt").read_text() == "outside"
    assert (top / "ro" / "file.txt").read_text() == "ro"


@kernel_has_it
@pytest.mark.promise("FS-1")
def test_programs_and_threads_are_confined_as_well(top: Path) -> None:
    """What the server starts later has no more rights, and what it can write it cannot run."""
    shutil.copy(shutil.which("true") or "/bin/true", top / "rw" / "program")
    run(
        top,
        """
import ctypes, subprocess, threading
child = f"open({str(top / 'outside' / 'file.txt')!r})"
done = subprocess.run([sys.executable, "-c", child], stderr=subprocess.PIPE, text=True)
assert "PermissionError" in done.stderr, done.stderr
thread = threading.Thread(target=refused, args=((top / "outside" / "file.txt").read_text,))
thread.start()
thread.join()
refused(subprocess.run, [str(top / "rw" / "program")])
PR_GET_NO_NEW_PRIVS = 39
assert ctypes.CDLL(None).prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1
""",
    )


@kernel_has_it
@pytest.mark.promise("FS-1")
def test_the_sandbox_works_in_it(top: Path) -> None:
    """Reading, publishing, replacing, moving and removing need no more than is allowed."""
    run(
        top,
        f"""
changes = importlib.import_module({PACKAGE!r} + ".filesystem.changes")
box.open_file(str(top / "ro" / "file.txt")).read()
for replace, text in ((False, b"one"), (True, b"two")):
    with box.parent("deep/er/file.txt", make=True) as parent:
        changes.publish(parent, text, replace=replace)
with box.parent("deep/er/file.txt") as old, box.parent("moved.txt") as new:
    changes.rename(old, new)
with box.parent("deep/er") as old, box.parent("er") as new:
    changes.rename(old, new)
with box.parent("er") as parent:
    changes.remove_directory(parent)
assert box.open_file("moved.txt").read() == b"two"
with box.parent("moved.txt") as parent:
    changes.remove_file(parent)
""",
        prelude=PRELUDE
        + f"""
sandbox = importlib.import_module({PACKAGE!r} + ".filesystem.sandbox")
box = sandbox.Sandbox(
    [sandbox.RootSpec(str(top / "rw"), True), sandbox.RootSpec(str(top / "ro"), False)],
    follow_links=True, deny=[], allowed_extensions=[], blocked_extensions=[],
    deny_hardlinks=False, max_file_size=100,
)
"""
        + CONFINE,
    )
    assert sorted(path.name for path in (top / "rw").iterdir()) == ["deep", "file.txt", "sub"]


@kernel_has_it
@pytest.mark.promise("FS-1")
def test_python_goes_on_working_in_it(top: Path) -> None:
    """Late imports, threads, types of files, time zones, certificates, names and HTTP work."""
    run(
        top,
        f"""
import asyncio, mimetypes, socket, ssl, subprocess, threading, urllib.request, zoneinfo
import anyio.to_thread, uvicorn
import sqlite3, xml.dom.minidom, concurrent.futures.process
importlib.import_module({PACKAGE!r} + ".filesystem.changes")
mimetypes.init()
zoneinfo.ZoneInfo("UTC")
ssl.create_default_context()
socket.getaddrinfo("localhost", 80)
subprocess.run([sys.executable, "-c", "pass"], check=True, stdin=subprocess.DEVNULL)

async def app(scope, receive, send):
    if scope["type"] == "http":
        text = await anyio.to_thread.run_sync((top / "ro" / "file.txt").read_bytes)
        await send({{"type": "http.response.start", "status": 200, "headers": []}})
        await send({{"type": "http.response.body", "body": text}})

async def main():
    config = uvicorn.Config(app, port=0, lifespan="off", log_level="error")
    server, taken = uvicorn.Server(config), socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve([taken]))
    url = f"http://127.0.0.1:{{taken.getsockname()[1]}}/"
    answer = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=20).read())
    server.should_exit = True
    await serving
    assert answer == b"ro", answer

asyncio.run(main())
""",
    )


@kernel_has_it
@pytest.mark.promise("FS-1")
def test_it_must_come_before_threads(top: Path) -> None:
    """A thread that runs already would stay free, so the start is refused and nothing changes."""
    run(
        top,
        """
import threading
event = threading.Event()
threading.Thread(target=event.wait).start()
try:
    landlock.restrict([], [])
except Exception as error:
    assert type(error).__name__ == "ConfigError" and "thread" in str(error), error
else:
    raise SystemExit("not refused")
finally:
    event.set()
(top / "outside" / "file.txt").read_text()
""",
        prelude=PRELUDE,
    )


@pytest.mark.promise("FS-1")
def test_each_version_of_the_kernel_gets_the_rights_it_knows() -> None:
    """A right that a kernel does not know yet must not be asked of it (linux/landlock.h)."""
    bits = {abi: landlock.handled_rights(abi).bit_length() for abi in range(1, 9)}
    assert bits == {1: 13, 2: 14, 3: 15, 4: 15, 5: 16, 6: 16, 7: 16, 8: 16}
    for abi in bits:
        rights = landlock.handled_rights(abi)
        assert rights == (1 << bits[abi]) - 1


@pytest.mark.promise("FS-1")
@pytest.mark.parametrize(("abi", "write"), [(0, []), (0, ["/x"]), (1, ["/x"])])
def test_where_the_kernel_cannot_the_answer_says_so(
    monkeypatch: pytest.MonkeyPatch, abi: int, write: list[str]
) -> None:
    """Without Landlock, or with a first version that forbids all moves, nothing is restricted."""
    monkeypatch.setattr(landlock, "version", lambda: abi)
    assert landlock.restrict([], write) is None


@pytest.mark.promise("FS-1")
def test_the_current_directory_is_not_among_the_paths_of_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started with -m, Python searches the current directory; the server may not read it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), *sys.path])
    paths = landlock.python_paths()
    assert not {"", "/", str(tmp_path)} & set(paths)
    assert {sys.prefix, str(Path(landlock.__file__).parent)} <= set(paths)
    assert all(isinstance(path, str) for path in paths)
