"""Races and crashes against the filesystem backend: 100,000 swapped links, 1,000 killed writes.

Each harness is first turned on a naive implementation, which it must catch.
"""

import contextlib
import itertools
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "template" / "src" / "{{ package_name }}"
TRIES = 100_000
KILLS = 1_000
INSIDE, SECRET = "inside", "the secret outside"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the races are made with Linux calls"),
]

# Loads the confinement from the template as it stands, without rendering a project: its imports
# are relative, so any name will do. The backend's __init__ needs rendered files and is left out.
LOADER = """
import sys, types
from importlib import import_module
def load(source):
    backend = source + "/{% if 'filesystem' in backends %}filesystem{% endif %}"
    for name, folder in (("under_test", source), ("under_test.filesystem", backend)):
        package = types.ModuleType(name)
        package.__path__ = [folder]
        sys.modules.setdefault(name, package)
    return (import_module("under_test.filesystem." + name) for name in ("sandbox", "changes"))
"""


def load(source: str = str(SOURCE)) -> Iterator[ModuleType]:
    """Return the modules sandbox and changes of the template."""
    space: dict[str, Any] = {}
    exec(LOADER, space)
    loaded: Iterator[ModuleType] = space["load"](source)
    return loaded


sandbox, changes = load()
kernel = import_module("under_test.filesystem.kernel")
Refused = import_module("under_test.errors").Refused


@dataclass
class Arena:
    """A root whose file ``f`` and folder ``d`` are links to outside, every other moment."""

    root: Path
    outside: Path

    def box(self) -> Any:
        """Make a sandbox for the root."""
        return sandbox.Sandbox(
            [sandbox.RootSpec(str(self.root), True)],
            follow_links=True,
            deny=[".env"],
            allowed_extensions=[],
            blocked_extensions=[".exe"],
            deny_hardlinks=False,
            max_file_size=1000,
        )

    def outside_is_intact(self) -> bool:
        """Say whether nothing outside was made, changed or removed."""
        found = {path.name: path.read_text() for path in self.outside.iterdir()}
        return found == {"f": SECRET, "only_outside": SECRET}


# Exchanges the folder with a link in one step, and puts a link and a file in turn at "f", so that
# both are always there. Ends with its input.
SWAPPER = """
import ctypes, os, select, sys
root, outside = map(os.fsencode, sys.argv[1:])
renameat2 = ctypes.CDLL(None).renameat2
AT_FDCWD, RENAME_EXCHANGE = -100, 2
folder, other = root + b"/d", root + b"/d.link"
file, link, plain = root + b"/f", root + b"/f.link", root + b"/f.plain"
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    for _ in range(200):
        renameat2(AT_FDCWD, folder, AT_FDCWD, other, RENAME_EXCHANGE)
        os.symlink(outside + b"/f", link)
        os.rename(link, file)
        renameat2(AT_FDCWD, folder, AT_FDCWD, other, RENAME_EXCHANGE)
        fd = os.open(plain, os.O_WRONLY | os.O_CREAT, 0o600)
        os.write(fd, b"inside")
        os.close(fd)
        os.rename(plain, file)
"""


@pytest.fixture
def arena(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Arena]:
    """An arena in memory, with the swapper at work in a process of its own."""
    memory = Path("/dev/shm")
    if os.access(memory, os.W_OK):  # a hundred thousand flushes to a disk would take minutes
        monkeypatch.setattr(import_module("under_test.filesystem.roots"), "_NEVER_BELOW", ())
        top = memory / f"modelctx-arena-{os.getpid()}"
        top.mkdir()
    else:
        monkeypatch.setattr(os, "fsync", lambda _: None)
        top = tmp_path.resolve()
    made = Arena(top / "root", top / "outside")
    for folder, text in ((made.root / "d", INSIDE), (made.outside, SECRET)):
        folder.mkdir(parents=True)
        (folder / "f").write_text(text)
    (made.outside / "only_outside").write_text(SECRET)
    (made.root / "f").write_text(INSIDE)
    (made.root / "d.link").symlink_to(made.outside)
    command = [sys.executable, "-c", SWAPPER, str(made.root), str(made.outside)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as swapper:
        assert swapper.stdin is not None
        assert swapper.stdout is not None
        try:
            swapper.stdout.readline()
            yield made
            assert swapper.poll() is None, "the swapper has ended too early"
        finally:
            swapper.stdin.close()
            swapper.wait(10)
            subprocess.run(["rm", "-rf", top], check=True)


@pytest.fixture(params=["openat2", "walk"])
def box(request: pytest.FixtureRequest, arena: Arena, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A sandbox for the arena that opens by openat2, or is forced to walk."""
    if request.param == "walk":
        monkeypatch.setattr(kernel, "has_openat2", lambda _: False)
    made = arena.box()
    if made._kernel_way != (request.param == "openat2"):
        pytest.skip("this kernel has no openat2")
    yield made
    made.close()


def race(attempt: Callable[[str], object]) -> None:
    """Make 100,000 tries, on the last component and on a folder on the way, in turn.

    The race was one only if many tries met the file and many met the link.
    """
    served = refused = 0
    for number in range(TRIES):
        try:
            attempt("d/f" if number % 2 else "f")
            served += 1
        except Refused:
            refused += 1
    assert served > TRIES / 100, "nearly everything was refused: that was no race"
    assert refused > TRIES / 1000, "nearly nothing was refused: that was no race"


@pytest.mark.promise("FS-1")
def test_the_race_catches_a_naive_server(arena: Arena) -> None:
    """Checking the real path and then opening it reads the secret within the same tries."""
    escapes = 0
    for number in range(TRIES):
        with contextlib.suppress(OSError):
            path = os.path.realpath(arena.root / ("d/f" if number % 2 else "f"))
            if path.startswith(f"{arena.root}/"):
                escapes += Path(path).read_text(encoding="utf-8") == SECRET
        if escapes == 20:
            return
    assert escapes, "this race catches nothing, so the tests below prove nothing"


@pytest.mark.promise("FS-1")
def test_reading_never_escapes(box: Any) -> None:
    """100,000 reads give the file inside or a refusal."""

    def attempt(path: str) -> None:
        with box.open_file(path) as file:
            assert file.read().decode() == INSIDE

    race(attempt)


@pytest.mark.promise("FS-1")
def test_listing_never_escapes(box: Any) -> None:
    """100,000 listings show neither a name nor a size from outside, nor do they go down there."""

    def attempt(path: str) -> None:
        with box.open_directory(".") as root:
            entry = box.describe(root, "f")
            assert entry is None or entry.stat is None or entry.stat.st_size <= len(INSIDE)
            with box.child_directory(root, "d") as folder:
                assert os.listdir(folder.fd) == ["f"]
                box.child_file(folder, "f").close()
        with box.open_directory("d") as folder:
            assert os.listdir(folder.fd) == ["f"]

    race(attempt)


@pytest.mark.promise("FS-1")
def test_writing_never_escapes(box: Any, arena: Arena) -> None:
    """100,000 writes change a file inside or are refused."""

    def attempt(path: str) -> None:
        with box.parent(path, follow=True) as parent:
            changes.publish(parent, INSIDE.encode(), replace=True)

    race(attempt)
    assert arena.outside_is_intact()


@pytest.mark.promise("FS-1")
def test_editing_never_escapes(box: Any, arena: Arena) -> None:
    """100,000 times reading and writing back neither carry a secret in nor a change out."""

    def attempt(path: str) -> None:
        with box.open_file(path) as file:
            text = file.read()
        assert text.decode() == INSIDE
        with box.parent(path, follow=True) as parent:
            changes.publish(parent, text, replace=True)

    race(attempt)
    assert arena.outside_is_intact()


@pytest.mark.promise("FS-1")
def test_moving_never_escapes(box: Any, arena: Arena) -> None:
    """100,000 moves take nothing from outside and put nothing there."""
    ways = itertools.cycle([("f", "g"), ("d/f", "d/g"), ("g", "f"), ("d/g", "d/f")])

    def attempt(_: str) -> None:
        source, target = next(ways)
        with box.parent(source) as old, box.parent(target) as new:
            changes.rename(old, new, replace=True)

    race(attempt)
    assert arena.outside_is_intact()
    # A link may have been caught and moved as a link. It still leads nowhere.
    for name in ("g", "d/g", "d.link/g"):
        with contextlib.suppress(Refused), box.open_file(name) as file:
            assert file.read().decode() in (INSIDE, "")


# Starts a writer, kills it at a moment of its own, looks at what it has left, and so on. It runs
# in a process without threads, since it forks. Prints how many writes were done and what is torn.
KILLER = """
import os, random, signal, sys, time
from pathlib import Path
folder, kills, naive = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "naive"
size, chance = 256 * 1024, random.Random(1)
contents = [bytes([letter]) * size for letter in b"AB"]
sandbox, changes = load(sys.argv[4])
box = sandbox.Sandbox(
    [sandbox.RootSpec(str(folder), True)], follow_links=True, deny=[], allowed_extensions=[],
    blocked_extensions=[], deny_hardlinks=False, max_file_size=size,
)

def write(name, data, replace):
    if naive:
        (folder / name).write_bytes(data)
        return
    with box.parent(name) as parent:
        changes.publish(parent, data, replace=replace)

def work(number, report):
    turn = 0
    while True:
        write("kept", contents[turn % 2], True)
        write(f"new-{number}-{turn}", contents[turn % 2], False)
        os.write(report, b"..")
        turn += 1

write("kept", contents[0], True)
done, torn, reading, reporting = 0, 0, *os.pipe()
os.set_blocking(reading, False)
for number in range(kills):
    # In every other round as on a system without files that have no name.
    changes._TMPFILE = os.O_TMPFILE if number % 2 else 0
    child = os.fork()
    if child == 0:
        work(number, reporting)
    time.sleep(chance.random() * 0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    for path in folder.iterdir():
        if box.visible("", path.name):
            torn += path.read_bytes() not in contents
        if path.name != "kept":
            path.unlink()
    if naive and torn:
        break
try:
    done = len(os.read(reading, 1 << 20))
except BlockingIOError:
    pass
print(done, torn)
"""


def kill(folder: Path, kind: str) -> tuple[int, int]:
    """Return how many writes were completed between the kills, and how many files were torn."""
    program = LOADER + textwrap.dedent(KILLER)
    command = [sys.executable, "-c", program, str(folder), str(KILLS), kind, str(SOURCE)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=80).stdout
    done, torn = map(int, printed.split())
    return done, torn


@pytest.mark.promise("FS-1")
def test_kill_9_catches_a_naive_server(tmp_path: Path) -> None:
    """Writing into the file in place leaves a torn one within as many kills."""
    assert kill(tmp_path.resolve(), "naive")[1] > 0


@pytest.mark.promise("FS-1")
def test_kill_9_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    """Of 1,000 writers killed at any moment none leaves a torn file under a name that is served."""
    done, torn = kill(tmp_path.resolve(), "product")
    assert torn == 0
    assert done > 100, "hardly any write was completed, so hardly any was interrupted late"
