# managed: part of the template; modelctx updates may rewrite it. Your tests live in tests/custom/.
"""The confinement: nothing outside is reached, by either way of opening, whatever the path."""

import errno
import os
import random
import socket
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import module

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="refused there at the start")

sandbox = module("filesystem.sandbox")
changes = module("filesystem.changes")
kernel = module("filesystem.kernel")
Refused = module("errors").Refused
ConfigError = module("errors").ConfigError

SECRET = "the secret"
DENY = [".git/hooks", ".env", "*.pem", "vault/*/inner"]
LIMIT = 1000


@dataclass
class Place:
    """A root, what lies beside it, and how to make sandboxes for it."""

    root: Path
    outside: Path
    made: list[Any]

    def sandbox(self, *roots: tuple[Path, bool], **settings: Any) -> Any:
        """Make a sandbox; the root is writable unless roots are given."""
        given: dict[str, Any] = {
            "follow_links": True,
            "deny": DENY,
            "allowed_extensions": [],
            "blocked_extensions": [],
            "deny_hardlinks": False,
            "max_file_size": LIMIT,
        }
        specs = [sandbox.RootSpec(str(path), writable) for path, writable in roots]
        specs = specs or [sandbox.RootSpec(str(self.root), True)]
        made = sandbox.Sandbox(specs, **{**given, **settings})
        self.made.append(made)
        return made


@pytest.fixture(params=["openat2", "walk"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    """A root with files and links of every kind; each test runs with openat2 and with the walk."""
    if request.param == "walk":
        monkeypatch.setattr(kernel, "has_openat2", lambda _: False)
    elif not has_openat2(tmp_path):
        pytest.skip("this kernel has no openat2")
    top = tmp_path.resolve()
    root, outside = top / "root", top / "outside"
    (root / "sub" / "deep").mkdir(parents=True)
    (outside / "folder").mkdir(parents=True)
    (top / "root2").mkdir()
    (root / "a.txt").write_text("inside a")
    (root / "sub" / "b.txt").write_text("inside b")
    for secret in (outside / "secret.txt", outside / "folder" / "secret.txt"):
        secret.write_text(SECRET)
    (top / "root2" / "secret.txt").write_text(SECRET)
    links = {
        "in_file": "a.txt",
        "in_folder": "sub",
        "in_absolute": str(root / "sub" / "b.txt"),
        "in_up": "sub/deep/../b.txt",
        "in_chain": "in_absolute",
        "out_file": str(outside / "secret.txt"),
        "out_folder": str(outside),
        "out_relative": "../outside",
        "out_missing": str(outside / "missing.txt"),
        "out_relative_missing": "../outside/missing.txt",
        "out_chain": "out_relative",
        "out_and_in": "../root/a.txt",
        "out_prefix": f"{top}/root2/secret.txt",
        "out_dots": f"{root}/../outside/secret.txt",
        "out_root": "/",
        "nowhere": "missing.txt",
        "loop": "loop",
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    made = Place(root, outside, [])
    yield made
    for each in made.made:
        each.close()


def has_openat2(folder: Path) -> bool:
    """Say whether this kernel has openat2, by the product's own probe."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        return bool(kernel.has_openat2(fd))
    finally:
        os.close(fd)


def refusal(call: Callable[..., Any], *args: Any, **named: Any) -> tuple[str, str]:
    """Return code and message of a call that must be refused."""
    with pytest.raises(Refused) as caught:
        call(*args, **named)
    return caught.value.code, caught.value.message


def code(call: Callable[..., Any], *args: Any, **named: Any) -> str:
    """Return the code of a call that must be refused."""
    return refusal(call, *args, **named)[0]


def read(box: Any, path: str | Path) -> str:
    """Read a file through a sandbox."""
    with box.open_file(str(path)) as file:
        return file.read().decode()


def write(box: Any, path: str | Path, text: str, **named: Any) -> None:
    """Write a file through a sandbox, as the tools do."""
    with box.parent(str(path), follow=True, make=named.pop("make", False)) as parent:
        changes.publish(parent, text.encode(), **{"replace": True, **named})


def move(box: Any, source: str | Path, target: str | Path, **named: Any) -> None:
    """Move an entry through a sandbox."""
    with box.parent(str(source)) as old, box.parent(str(target)) as new:
        changes.rename(old, new, **named)


def names(folder: str | int | Path) -> list[str]:
    """Return the names in a folder."""
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


def tree(folder: Path) -> dict[str, str]:
    """Return what is below a folder: link targets and contents by path."""
    return {
        str(path.relative_to(folder)): str(path.readlink())
        if path.is_symlink()
        else path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


OUTSIDE = [
    "{outside}/secret.txt",
    "{outside}/missing.txt",
    "{outside}",
    "../outside/secret.txt",
    "../outside/missing.txt",
    "..",
    "sub/../../outside/secret.txt",
    "./../outside/secret.txt",
    "{root}/../outside/secret.txt",
    "{root}/sub/../../outside/secret.txt",
    "{root}2/secret.txt",
    "{root}2",
    "/",
    "/etc/passwd",
    "//etc/passwd",
    "/proc/self/root{outside}/secret.txt",
    "/proc/self/cwd",
    "out_file",
    "out_folder",
    "out_folder/",
    "out_folder/secret.txt",
    "out_folder/missing.txt",
    "out_folder/folder/secret.txt",
    "out_folder/../root/a.txt",
    "out_relative",
    "out_relative/secret.txt",
    "out_relative/missing.txt",
    "out_relative/missing/deeper.txt",
    "out_missing",
    "out_relative_missing",
    "out_chain/secret.txt",
    "out_and_in",
    "out_prefix",
    "out_dots",
    "out_root/etc/passwd",
    "sub/../out_folder/secret.txt",
    "in_folder/../../outside/secret.txt",
]


@pytest.mark.promise("FS-1")
@pytest.mark.parametrize("path", OUTSIDE)
def test_outside_is_denied_in_the_same_words(place: Place, path: str) -> None:
    """Every operation on a path that leads outside is refused alike, existing or not."""
    box = place.sandbox()
    path = path.format(root=place.root, outside=place.outside)
    for call in (box.open_file, box.open_directory, box.stat):
        assert refusal(call, path) == ("denied", f"{path}: is outside the allowed folders")
    for below in (f"{path}/new.txt", f"{path}/new/file.txt"):
        outcome = refusal(box.parent, below, make=True)
        assert outcome == ("denied", f"{below}: is outside the allowed folders")


@pytest.mark.promise("FS-1")
@pytest.mark.parametrize("name", ["out_file", "out_missing", "out_relative_missing", "out_folder"])
def test_a_link_out_is_never_written_through(place: Place, name: str) -> None:
    """Writing to, moving over, or moving a link leaves its target and the link alone."""
    box, before = place.sandbox(), (tree(place.root), tree(place.outside))
    assert code(write, box, name, "x") == "denied"
    with box.parent(name) as parent:
        assert code(changes.publish, parent, b"x", replace=True) == "not_regular"
        assert code(changes.publish, parent, b"x", replace=False) == "conflict"
    assert code(move, box, "a.txt", name) == "conflict"
    assert code(move, box, "a.txt", name, replace=True) == "not_regular"
    assert code(move, box, name, "elsewhere") == "not_regular"
    assert (tree(place.root), tree(place.outside)) == before


@pytest.mark.promise("FS-1")
def test_removing_a_link_leaves_its_target(place: Place) -> None:
    """Only the link is removed."""
    box, before = place.sandbox(), tree(place.outside)
    with box.parent("out_file") as parent:
        changes.remove_file(parent)
    assert not (place.root / "out_file").is_symlink()
    assert tree(place.outside) == before


@pytest.mark.promise("FS-1")
@pytest.mark.parametrize(
    "path",
    [
        "",
        "a\0.txt",
        "\0",
        "a.txt\0/../../outside/secret.txt",
        "\udcff.txt",
        "\ud800",
        "x" * 256,
        f"sub/{'x' * 256}/y",
        "x/" * 40_000,
    ],
)
def test_what_is_no_path_is_refused(place: Place, path: str) -> None:
    """NUL, text that is not Unicode, nothing, and too long names or paths are invalid."""
    box = place.sandbox()
    for call in (box.open_file, box.open_directory, box.stat):
        assert code(call, path) == "invalid_path"
    assert code(write, box, path, "x") == "invalid_path"


@pytest.mark.promise("FS-1")
def test_similar_spellings_of_a_root_are_not_the_root(place: Place) -> None:
    """Case and Unicode composition count in the name of a root."""
    accented = place.root / unicodedata.normalize("NFC", "é")
    accented.mkdir()
    box = place.sandbox((accented, False))
    assert box.open_directory(str(accented)).close() is None
    for other in (unicodedata.normalize("NFD", str(accented)), str(accented).upper()):
        assert code(box.stat, other) == "denied"


@pytest.mark.promise("FS-1")
@pytest.mark.parametrize(
    ("path", "content", "real"),
    [
        ("a.txt", "inside a", "a.txt"),
        ("{root}/a.txt", "inside a", "a.txt"),
        ("{root}//./sub//b.txt", "inside b", "sub/b.txt"),
        ("/.{root}/a.txt", "inside a", "a.txt"),
        ("sub/../a.txt", "inside a", "a.txt"),
        ("sub/deep/.././../sub/b.txt", "inside b", "sub/b.txt"),
        ("in_file", "inside a", "a.txt"),
        ("in_folder/b.txt", "inside b", "sub/b.txt"),
        ("in_folder/deep/../../a.txt", "inside a", "a.txt"),
        ("in_absolute", "inside b", "sub/b.txt"),
        ("in_up", "inside b", "sub/b.txt"),
        ("in_chain", "inside b", "sub/b.txt"),
    ],
)
def test_inside_is_served(place: Place, path: str, content: str, real: str) -> None:
    """Paths and links that stay inside work, and their real place is known."""
    box = place.sandbox()
    path = path.format(root=place.root)
    with box.open_file(path) as file:
        assert (file.read().decode(), file.beneath) == (content, real)
        assert file.location.shown == path
    assert box.stat(path)[1].st_size == len(content)


@pytest.mark.promise("FS-1")
def test_links_can_be_refused_altogether(place: Place) -> None:
    """With follow_links off no link is followed, whatever it points to."""
    box = place.sandbox(follow_links=False)
    messages = set()
    for name in ("in_file", "in_absolute", "out_file", "out_missing", "nowhere", "loop"):
        kind, message = refusal(box.open_file, name)
        messages.add((kind, message.removeprefix(name)))
        assert code(write, box, name, "x") == "not_regular"
    assert code(box.open_file, "in_folder/b.txt") == "denied"
    assert len(messages) == 1
    assert read(box, "sub/b.txt") == "inside b"


@pytest.mark.promise("FS-1", "FS-4")
def test_loops_and_dangling_links_are_refused(place: Place) -> None:
    """A link to itself ends, and a link to nothing inside is simply not there."""
    box = place.sandbox()
    assert code(box.open_file, "loop") == "denied"
    assert code(box.open_file, "nowhere") == "not_found"
    assert code(write, box, "nowhere", "x") == "not_found"


@pytest.mark.promise("FS-1")
def test_listing_tells_nothing_about_links_out(place: Place) -> None:
    """A link that leads outside, or to nothing, is only a link; one inside is its target."""
    box = place.sandbox()
    with box.open_directory(".") as folder:
        told = {name: box.describe(folder, name) for name in names(folder.fd)}
    links = {name for name, entry in told.items() if entry.kind == "link"}
    assert links == {name for name in told if name.startswith("out_")} | {"nowhere", "loop"}
    assert all(told[name].stat is None for name in links)
    assert told["in_folder"].kind == "directory"
    assert told["in_absolute"].stat.st_size == len("inside b")


@pytest.mark.promise("FS-1")
def test_going_down_never_follows_a_link(place: Place) -> None:
    """A walk through a tree enters folders and reads files only where no link is."""
    box = place.sandbox()
    with box.open_directory(str(place.root)) as folder:
        for name in ("out_folder", "in_folder", "out_file", "in_file"):
            assert code(box.child_directory, folder, name) in ("not_a_directory", "denied")
            assert code(box.child_file, folder, name) == "denied"
        for name in ("..", ".", "", "sub/deep", "../outside", "a\0"):
            assert code(box.child_directory, folder, name) == "invalid_path"
            assert code(box.child_file, folder, name) == "invalid_path"
            assert code(box.describe, folder, name) == "invalid_path"
        with box.child_directory(folder, "sub") as sub, box.child_file(sub, "b.txt") as file:
            assert (sub.beneath, file.beneath) == ("sub", "sub/b.txt")
            assert file.read() == b"inside b"


@pytest.mark.promise("FS-1")
def test_random_paths_open_only_what_is_inside(place: Place) -> None:
    """Of thousands of paths put together at random, none opens anything outside."""
    box, chance = place.sandbox(), random.Random(20_260)  # the same paths each time
    parts = ["..", ".", "", "sub", "deep", "a.txt", "b.txt", "root", "outside", "secret.txt"]
    parts += [name for name in names(place.root) if (place.root / name).is_symlink()]
    inside = {identity(place.root)} | {identity(path) for path in place.root.rglob("*")}
    opened = 0
    for _ in range(3000):
        path = "/".join(chance.choices(parts, k=chance.randint(1, 6)))
        path = f"{place.root}/{path}" if chance.random() < 0.3 else path
        try:
            status = box.stat(path)[1]
        except Refused:
            continue
        opened += 1
        assert (status.st_dev, status.st_ino) in inside, path
    assert opened > 100


def identity(path: Path) -> tuple[int, int]:
    """Return what tells a file from all others, without following a link."""
    status = path.lstat()
    return status.st_dev, status.st_ino


@pytest.fixture
def deep(place: Place) -> Iterator[str]:
    """A file far beyond PATH_MAX, as a path below the root."""
    fd = os.open(place.root, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("dd", dir_fd=fd)
        below = os.open("dd", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    with os.fdopen(os.open("f.txt", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=fd), "w") as file:
        file.write("deep down")
    os.close(fd)
    yield "dd/" * 3000 + "f.txt"
    # Python and pytest remove trees by recursion, which ends at a thousand levels.
    subprocess.run(["rm", "-rf", place.root / "dd"], check=True)


@pytest.mark.promise("FS-1", "FS-4")
def test_a_very_deep_path_is_served(place: Place, deep: str) -> None:
    """A file 3,000 folders down is read and written without holding them all open."""
    box, before = place.sandbox(), descriptors()
    assert read(box, deep) == "deep down"
    write(box, deep, "changed")
    assert read(box, deep) == "changed"
    assert code(box.open_file, "dd/" * 30 + "../" * 31 + "outside/secret.txt") == "denied"
    # Every ".." goes back to the start, so a great many of them deep down are too much.
    far_up = "dd/" * 3000 + "../" * 3001 + "outside/secret.txt"
    assert code(box.open_file, far_up) == "invalid_path"
    assert descriptors() == before


def descriptors() -> int:
    """Return how many descriptors this process has open."""
    return len(names("/dev/fd"))


@pytest.mark.promise("FS-4")
def test_nothing_is_left_open(place: Place) -> None:
    """Neither success nor refusal leaves a descriptor behind."""
    box = place.sandbox(blocked_extensions=[".exe"])
    (place.root / "x.exe").touch()
    (place.root / "to_env").symlink_to("sub/.env")
    (place.root / "sub" / ".env").touch()
    before = descriptors()
    paths = [*names(place.root), "missing", "a.txt/x", "sub/../..", "dd/" * 2000, "sub/.env"]
    for path in paths:
        for call in (read, box.stat, box.open_directory, box.parent):
            try:
                handle = call(box, path) if call is read else call(path)
            except Refused:
                continue
            if hasattr(handle, "close"):
                handle.close()
    assert descriptors() == before


# -- special files, sizes, types ----------------------------------------------------------------


@pytest.mark.promise("FS-4")
def test_fifos_and_sockets_are_refused_at_once(place: Place) -> None:
    """Nothing that is not a regular file is opened for its content, replaced or moved."""
    box = place.sandbox()
    os.mkfifo(place.root / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        fd = os.open(place.root, os.O_RDONLY)
        listening.bind(f"/proc/self/fd/{fd}/socket" if sys.platform == "linux" else "socket")
        os.close(fd)
        for name in ("fifo", "socket"):
            assert code(box.open_file, name) == "not_regular"
            assert code(write, box, name, "x") == "not_regular"
            assert code(move, box, name, "elsewhere") == "not_regular"
            with box.parent(name) as parent:
                assert code(changes.remove_file, parent) == "not_regular"
            with box.open_directory(".") as folder:
                assert box.describe(folder, name).kind == "other"
                assert code(box.child_file, folder, name) == "not_regular"
    assert code(box.open_file, "sub") == "is_directory"
    assert code(box.open_file, ".") == "is_directory"
    assert code(box.open_directory, "a.txt") == "not_a_directory"
    assert code(box.open_file, "a.txt/") == "not_a_directory"
    assert code(box.open_file, "a.txt/x") == "not_a_directory"
    (place.root / "slash").symlink_to("a.txt/")
    assert code(box.open_file, "slash") == "not_a_directory"


@pytest.mark.promise("FS-2", "FS-4")
def test_large_files_are_neither_read_nor_written(place: Place) -> None:
    """The limit holds before reading, while a file grows, and for what is written."""
    with (place.root / "big").open("wb") as big:
        big.truncate(3 * 1024**3)
    (place.root / "fits").write_bytes(b"x" * LIMIT)
    box = place.sandbox()
    assert code(box.open_file, "big") == "too_large"
    assert len(read(box, "fits")) == LIMIT
    with box.open_file("fits") as file:
        with (place.root / "fits").open("ab") as more:
            more.write(b"y")
        assert code(file.read) == "too_large"
    assert code(write, box, "new", "x" * (LIMIT + 1)) == "too_large"
    assert not (place.root / "new").exists()
    place.sandbox(max_file_size=4 * 1024**3).open_file("big").close()


TYPES = [
    # name, allowed, blocked, served
    ("a.txt", [".txt"], [], True),
    ("A.TXT", [".txt"], [], True),
    ("a.md", [".txt"], [], False),
    ("Makefile", [".txt"], [], False),
    ("txt", [".txt"], [], False),
    ("a.exe", [], [".exe"], False),
    ("a.EXE", [], [".exe"], False),
    ("a.exe ", [], [".exe"], False),
    ("a.exe.", [], [".exe"], False),
    ("a.exe. . ", [], [".exe"], False),
    ("a.exe\u00a0", [], [".exe"], False),
    ("a.e\u200bxe", [], [".exe"], False),
    ("a.txt.exe", [".txt"], [".exe"], False),
    ("a.exe.txt", [], [".exe"], True),
    (".exe", [], [".exe"], False),
    ("a.tar.gz", [], [".gz"], False),
    ("a.tar.gz", [], [".tar.gz"], False),
    ("a.gz", [], [".tar.gz"], True),
    ("a.tar.gz", [".gz"], [], True),
    (".bashrc", [".bashrc"], [], True),
    ("a.\u017fh", [], [".sh"], False),
]


@pytest.mark.promise("FS-2")
@pytest.mark.parametrize(("name", "allowed", "blocked", "served"), TYPES)
def test_types_are_checked_wherever_content_goes(
    place: Place, name: str, allowed: list[str], blocked: list[str], served: bool
) -> None:
    """A type that is not served is not read, written, replaced, moved from or moved to."""
    box = place.sandbox(allowed_extensions=allowed, blocked_extensions=blocked)
    everything = place.sandbox()
    refused = None if served else "type_not_allowed"

    def outcome(call: Callable[..., Any], *args: Any, **named: Any) -> str | None:
        try:
            call(*args, **named)
        except Refused as error:
            return str(error.code)
        return None

    assert outcome(write, box, name, "1") == refused
    write(everything, name, "2")
    assert outcome(write, box, name, "3") == refused
    assert outcome(read, box, name) == refused
    with box.open_directory(".") as folder:
        assert outcome(lambda: box.child_file(folder, name).close()) == refused
    assert outcome(move, box, name, f"sub/{name}") == refused
    if served:
        move(box, f"sub/{name}", name)
    else:
        write(everything, "sub/good.txt", "4")
        assert outcome(move, box, "sub/good.txt", name, replace=True) == refused
        assert outcome(move, box, name, "sub/other.txt") == refused
        with box.parent(name) as parent:
            assert outcome(changes.remove_file, parent) == refused


@pytest.mark.promise("FS-2")
def test_the_type_of_a_link_and_of_its_target_count(place: Place) -> None:
    """An innocent name for a blocked file does not help, nor a blocked name for another."""
    box = place.sandbox(blocked_extensions=[".exe"])
    (place.root / "real.exe").write_text("x")
    (place.root / "innocent.txt").symlink_to("real.exe")
    (place.root / "blocked.exe").symlink_to("a.txt")
    for name in ("innocent.txt", "blocked.exe"):
        assert code(read, box, name) == "type_not_allowed"
        assert code(write, box, name, "y") == "type_not_allowed"
    assert (place.root / "real.exe").read_text() == "x"
    assert read(box, "in_file") == "inside a"


@pytest.mark.promise("FS-2")
def test_a_file_that_vanishes_while_it_is_opened_has_no_other_type(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Removed at that moment, a blocked file is not taken for what the kernel then calls it."""
    (place.root / "real.exe").write_text(SECRET)
    (place.root / "innocent.txt").symlink_to("real.exe")
    box, opened = place.sandbox(blocked_extensions=[".exe"]), kernel.openat2

    def open_and_remove(*args: Any) -> Any:
        fd = opened(*args)
        (place.root / "real.exe").unlink()
        return fd

    monkeypatch.setattr(kernel, "openat2", open_and_remove)
    assert code(read, box, "innocent.txt") in ("not_found", "type_not_allowed")
    (place.root / "kept (deleted)").write_text("an odd name")
    monkeypatch.setattr(kernel, "openat2", opened)
    assert read(box, "kept (deleted)") == "an odd name"


DENIED = [
    ".env",
    "sub/.env",
    "sub/.ENV",
    "sub/.env.",
    "sub/.env ",
    "sub/.e\u200bnv",
    ".env/file",
    "sub/../.env",
    "key.pem",
    "sub/KEY.Pem",
    "sub/key.pem. ",
    ".git/hooks",
    ".git/hooks/pre-commit",
    "sub/.git/hooks/deep/er",
    ".git/x/../hooks/pre-commit",
    "sub/.GIT/Hooks/x",
    "vault/one/inner",
    "sub/vault/two/inner/x",
    "{root}/sub/.env",
]
NOT_DENIED = [".environment", "env", "pem", "x.pem.txt", ".git/config", "hooks", "vault/inner"]


@pytest.mark.promise("FS-1")
@pytest.mark.parametrize("path", DENIED)
def test_denied_paths_do_not_exist_for_clients(place: Place, path: str) -> None:
    """What the setting deny names is refused alike whether it exists or not, at any depth."""
    box, path = place.sandbox(), path.format(root=place.root)

    def outcomes() -> list[tuple[str, str]]:
        return [
            refusal(box.open_file, path),
            refusal(box.open_directory, path),
            refusal(box.stat, path),
            refusal(write, box, path, "x", make=True),
            refusal(box.parent, path, make=True),
        ]

    before = outcomes()
    real = Path(os.path.normpath(place.root / path))
    assert not real.exists()
    (place.root / ".git" / "x").mkdir(parents=True, exist_ok=True)
    real.parent.mkdir(parents=True, exist_ok=True)
    real.write_text(SECRET)
    assert outcomes() == before
    assert {kind for kind, _ in before} == {"denied"}


@pytest.mark.promise("FS-1")
@pytest.mark.parametrize("path", NOT_DENIED)
def test_deny_takes_no_more_than_it_says(place: Place, path: str) -> None:
    """Names that only look like a denied one are served."""
    box = place.sandbox()
    write(box, path, "x", make=True)
    assert read(box, path) == "x"
    folder, _, name = path.rpartition("/")
    assert box.visible(folder, name)


@pytest.mark.promise("FS-1")
@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("secrets/", "secrets/x"),
        ("secrets/.", "secrets/x"),
        ("./secrets", "secrets"),
        ("**/secrets", "a/b/secrets/x"),
        ("secrets/**", "secrets/x"),
        ("a/**/z", "a/b/c/z"),
        ("a/**/z", "a/z"),
        ("{one,two}/x*", "two/xyz"),
        ("*secret*", "my.secret.txt"),
        ("[ab]?", "b7"),
        ("[!a]x", "bx"),
        ("x\\*y", "x*y"),
        ("SECRETS", "secrets"),
        ("caf\u00e9", "CAFE\u0301"),
        ("odd.", "odd."),
    ],
)
def test_every_form_of_pattern_denies(place: Place, pattern: str, path: str) -> None:
    """Whatever a pattern is made of, what it names is refused and not listed."""
    box = place.sandbox(deny=[pattern])
    assert code(box.open_file, path) == "denied"
    assert code(box.open_file, f"sub/{path}") == "denied"
    parts = path.split("/")
    assert not all(box.visible("/".join(parts[:at]), name) for at, name in enumerate(parts))


@pytest.mark.promise("FS-1")
def test_denied_entries_are_not_listed_and_links_do_not_reach_them(place: Place) -> None:
    """A denied entry is not visible, not described, and not read through a link inside."""
    (place.root / ".git" / "hooks").mkdir(parents=True)
    (place.root / ".git" / "hooks" / "run").write_text(SECRET)
    (place.root / ".env").write_text(SECRET)
    (place.root / "to_env").symlink_to(".env")
    (place.root / "to_hooks").symlink_to(".git/hooks")
    box = place.sandbox()
    assert not box.visible("", ".env")
    assert not box.visible("a/.git", "hooks")
    assert box.visible("a", "hooks")
    for path in ("to_env", "to_hooks/run"):
        assert code(read, box, path) == "denied"
        assert code(box.stat, path) == "denied"
        assert code(write, box, path, "x") == "denied"
    assert code(box.open_directory, "to_hooks") == "denied"
    (place.root / "to_git").symlink_to(".git")
    (place.root / ".git" / "hooks" / "run").unlink()
    (place.root / ".git" / "hooks").rmdir()
    assert code(write, box, "to_git/hooks/run", "x", make=True) == "denied"
    assert not (place.root / ".git" / "hooks").exists()
    (place.root / ".git" / "hooks").mkdir()
    with box.open_directory(".") as folder:
        assert box.describe(folder, ".env") is None
        assert box.describe(folder, "to_env").stat is None
        assert code(box.child_file, folder, ".env") == "denied"
        with box.child_directory(folder, ".git") as git:
            assert code(box.child_directory, git, "hooks") == "denied"


@pytest.mark.promise("FS-1")
def test_a_folder_is_not_moved_into_or_out_of_a_denied_place(place: Place) -> None:
    """Renaming a parent neither brings forth what is denied nor puts content there."""
    for folder in ("git/hooks", "sub/.git/hooks", "vault/x", "sub/one"):
        (place.root / folder).mkdir(parents=True)
    box = place.sandbox()
    for source, target in [
        ("git", ".git"),
        ("sub/.git", "sub/git"),
        ("vault", "other"),
        ("sub/one", "vault/one"),
        ("vault/x", "sub/x"),
    ]:
        assert code(move, box, source, target) == "denied", (source, target)
    move(box, "sub/deep", "moved")
    assert (place.root / "moved").is_dir()


@pytest.mark.promise("FS-1")
def test_hard_links_can_be_refused(place: Place) -> None:
    """With deny_hardlinks a file that has another name, perhaps outside, is not read."""
    os.link(place.outside / "secret.txt", place.root / "hard.txt")
    assert read(place.sandbox(), "hard.txt") == SECRET
    box = place.sandbox(deny_hardlinks=True)
    assert code(box.open_file, "hard.txt") == "denied"
    assert read(box, "a.txt") == "inside a"


@pytest.mark.promise("FS-1")
def test_overwriting_leaves_other_names_of_a_file_alone(place: Place) -> None:
    """A file is replaced, not written into, so a hard link outside keeps its content."""
    os.link(place.outside / "secret.txt", place.root / "hard.txt")
    write(place.sandbox(), "hard.txt", "new")
    assert (place.outside / "secret.txt").read_text() == SECRET


# -- read-only ----------------------------------------------------------------------------------


@pytest.mark.promise("FS-3")
def test_a_read_only_root_gives_no_handle_for_changes(place: Place) -> None:
    """Nothing can be changed in a root that is served read-only, and it can be read."""
    box = place.sandbox((place.root, False))
    for path in ("a.txt", "new.txt", "sub/new.txt", "in_folder/b.txt"):
        assert code(box.parent, path) == "read_only"
        assert code(box.parent, path, make=True) == "read_only"
    assert read(box, "a.txt") == "inside a"


@pytest.mark.promise("FS-3")
def test_a_read_only_root_inside_a_writable_one_stays_read_only(place: Place) -> None:
    """No spelling, link or move through the outer root changes what is in the inner one."""
    frozen = place.root / "sub" / "frozen"
    (frozen / "more").mkdir(parents=True)
    (frozen / "f.txt").write_text("frozen")
    (place.root / "to_frozen").symlink_to("sub/frozen")
    before = tree(frozen)
    box = place.sandbox((place.root, True), (frozen, False))
    for path in (
        f"{frozen}/f.txt",
        "sub/frozen/f.txt",
        "sub/../sub/frozen/more/new.txt",
        "to_frozen/f.txt",
        "in_folder/frozen/new.txt",
        "sub/frozen/a/b/new.txt",
        f"{place.root}/sub/deep/../frozen/f.txt",
    ):
        assert code(box.parent, path, make=True) == "read_only"
    for path in ("sub/frozen", "sub"):
        assert code(move, box, path, "elsewhere") == "denied"
        with box.parent(path) as parent:
            assert code(changes.remove_directory, parent) == "denied"
    assert tree(frozen) == before
    assert not (frozen / "a").exists()
    write(box, "sub/b.txt", "still writable")
    write(box, str(place.root / "sub" / "new.txt"), "still writable")


@pytest.mark.promise("FS-3")
def test_a_writable_root_inside_a_read_only_one_is_writable_by_its_own_name(place: Place) -> None:
    """The inner root's own path writes; the way through the outer root does not."""
    drop = place.root / "sub"
    box = place.sandbox((place.root, False), (drop, True))
    write(box, f"{drop}/new.txt", "x")
    assert code(box.parent, f"{place.root}/new.txt") == "read_only"
    assert code(box.parent, f"{place.root}/in_folder/new.txt") == "read_only"


# -- roots --------------------------------------------------------------------------------------


@pytest.mark.promise("FS-1", "GEN-7")
@pytest.mark.parametrize("path", ["/", "//", "/proc", "/proc/self", "/sys", "/dev", "/usr/.."])
def test_system_folders_are_no_roots(place: Place, path: str) -> None:
    """The whole disk and what is not made of files is refused at the start."""
    if not Path(path).is_dir():
        pytest.skip("not on this system")
    with pytest.raises(ConfigError, match=r"FILESYSTEM__ALLOWED_PATHS: .* never served"):
        place.sandbox((Path(path), False))


@pytest.mark.promise("FS-1", "GEN-7")
def test_roots_that_cannot_be_served_stop_the_start(place: Place) -> None:
    """A missing folder, a file, or a contradiction is one line that names setting and path."""
    before = descriptors()
    for path, text in [
        (place.root / "missing", "does not exist"),
        (place.root / "a.txt", "is not a folder"),
        (place.root / "nowhere", "does not exist"),
        (Path(f"{place.root}\0"), "cannot be opened"),
    ]:
        with pytest.raises(ConfigError) as caught:
            place.sandbox((place.root, True), (path, True))
        assert "FILESYSTEM__ALLOWED_PATHS" in str(caught.value)
        assert text in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="twice"):
        place.sandbox((place.root, True), (place.root / "sub" / "..", False))
    with pytest.raises(ConfigError, match="ALLOWED_PATHS"):
        sandbox.Sandbox(
            [],
            follow_links=True,
            deny=[],
            allowed_extensions=[],
            blocked_extensions=[],
            deny_hardlinks=False,
            max_file_size=1,
        )
    assert descriptors() == before


@pytest.mark.promise("FS-1")
def test_a_system_without_directory_handles_is_refused(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a path can only be checked before it is used, as on Windows, nothing is served."""
    monkeypatch.setattr(os, "supports_dir_fd", set())
    with pytest.raises(ConfigError, match="Windows"):
        place.sandbox()


@pytest.mark.promise("FS-1")
def test_a_root_is_known_by_its_configured_and_its_real_path(place: Place) -> None:
    """A root that is configured through a link is served under both names."""
    alias = place.outside / "alias"
    alias.symlink_to(place.root)
    for roots in ([(alias, True)], [(alias, True), (place.root, True)], [(place.root, True)]):
        box = place.sandbox(*roots)
        assert [root.path for root in box.roots] == [str(place.root)]
        for path in (place.root / "a.txt", "in_absolute"):
            assert read(box, path).startswith("inside")
        if roots[0][0] == alias:
            assert read(box, alias / "a.txt") == "inside a"


@pytest.mark.promise("FS-1")
def test_a_root_stays_the_folder_that_was_opened(place: Place) -> None:
    """When the root's name is taken by a link to elsewhere, the server keeps the old folder."""
    box = place.sandbox()
    place.root.rename(place.root.parent / "renamed")
    place.root.symlink_to(place.outside)
    assert read(box, "a.txt") == "inside a"
    assert read(box, str(place.root / "sub" / "b.txt")) == "inside b"
    assert code(box.open_file, str(place.root / "secret.txt")) == "not_found"


# -- changes ------------------------------------------------------------------------------------


def no_such_call(*_: object) -> None:
    """Stand in for a system call that this system does not have."""
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


@pytest.fixture(params=["best", "oldest"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Changes work with O_TMPFILE and renameat2, and without both."""
    if request.param == "oldest":
        monkeypatch.setattr(changes, "_TMPFILE", 0)
        monkeypatch.setattr(kernel, "rename_exclusive", no_such_call)
    return str(request.param)


@pytest.mark.promise("FS-1")
@pytest.mark.usefixtures("system")
def test_files_are_published_whole_and_leave_nothing_behind(place: Place) -> None:
    """A new file is made with the umask, a replaced one keeps its mode, and no litter is left."""
    box = place.sandbox()
    old = os.umask(0o027)
    try:
        write(box, "sub/new/er/file.txt", "first", make=True)
    finally:
        os.umask(old)
    file = place.root / "sub" / "new" / "er" / "file.txt"
    assert (file.read_text(), file.stat().st_mode & 0o7777) == ("first", 0o640)
    file.chmod(0o4751)
    inode = file.stat().st_ino
    write(box, "sub/new/er/file.txt", "second")
    assert (file.read_text(), file.stat().st_mode & 0o7777) == ("second", 0o751)
    assert file.stat().st_ino != inode
    assert code(write, box, "sub/new/er/file.txt", "third", replace=False) == "conflict"
    assert code(write, box, "sub", "x") == "is_directory"
    assert [path.name for path in file.parent.iterdir()] == ["file.txt"]


@pytest.mark.promise("FS-1")
@pytest.mark.usefixtures("system")
def test_moving_never_destroys(place: Place) -> None:
    """Files and folders move only to free names, unless a file may replace a file."""
    box = place.sandbox()
    move(box, "a.txt", "sub/c.txt")
    assert code(move, box, "sub/c.txt", "sub/b.txt") == "conflict"
    assert code(move, box, "sub/c.txt", "sub/deep") == "conflict"
    assert code(move, box, "sub/c.txt", "sub/deep", replace=True) == "is_directory"
    assert code(move, box, "sub", "sub/deep/sub") == "conflict"
    assert code(move, box, "missing", "x") == "not_found"
    (place.root / "empty").mkdir()
    assert code(move, box, "sub", "empty", replace=True) == "conflict"
    assert not list((place.root / "sub" / "deep").iterdir())
    move(box, "sub", "renamed")
    move(box, "renamed/c.txt", "renamed/b.txt", replace=True)
    assert read(box, "renamed/b.txt") == "inside a"
    assert code(box.stat, "sub") == "not_found"


@pytest.mark.promise("FS-1")
def test_a_move_that_fails_half_way_is_taken_back(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a move takes two steps and the second is refused, the first is undone."""
    monkeypatch.setattr(kernel, "rename_exclusive", no_such_call)
    unlink = os.unlink

    def refuse(path: Any, **named: Any) -> None:
        if path == "a.txt":
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        unlink(path, **named)

    box = place.sandbox()
    monkeypatch.setattr(os, "unlink", refuse)
    assert code(move, box, "a.txt", "b.txt") == "denied"
    assert not (place.root / "b.txt").exists()
    assert read(box, "a.txt") == "inside a"


@pytest.mark.promise("FS-1")
def test_another_group_gains_nothing_when_a_file_is_replaced(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the group cannot be kept, the new one has no more rights than everybody."""
    file = place.root / "a.txt"
    file.chmod(0o664)
    try:
        os.chown(file, -1, file.stat().st_gid + 1)
    except PermissionError:
        pytest.skip("this account cannot give files away")
    monkeypatch.setattr(os, "fchown", no_such_call)
    write(place.sandbox(), "a.txt", "new")
    assert file.stat().st_mode & 0o777 == 0o644
    assert file.read_text() == "new"


@pytest.mark.promise("FS-1")
def test_a_link_inside_is_written_to_at_its_target(place: Place) -> None:
    """Writing to a link inside changes the file it leads to, and the link stays."""
    box = place.sandbox()
    write(box, "in_chain", "through")
    assert (place.root / "sub" / "b.txt").read_text() == "through"
    assert (place.root / "in_chain").is_symlink()
    assert code(write, box, "in_folder", "x") == "is_directory"


@pytest.mark.promise("FS-1")
def test_making_and_removing(place: Place) -> None:
    """Folders are made and removed one at a time, roots never, and only beneath the root."""
    box = place.sandbox()
    with box.parent("one/two/three/", make=True) as parent:
        changes.make_directory(parent)
        assert code(changes.make_directory, parent) == "conflict"
        assert code(changes.remove_file, parent) == "is_directory"
        changes.remove_directory(parent)
        assert code(changes.remove_directory, parent) == "not_found"
    with box.parent("one") as parent:
        assert code(changes.remove_directory, parent) == "conflict"
    with box.parent("a.txt") as parent:
        assert code(changes.remove_directory, parent) == "not_a_directory"
        changes.remove_file(parent)
    for path in (".", str(place.root), f"{place.root}/", "./."):
        assert code(box.parent, path) == "denied"
    assert code(box.parent, "sub/..") == "invalid_path"
    assert code(box.parent, "a/b") == "not_found"


@pytest.mark.promise("FS-1")
def test_unfinished_files_are_out_of_reach(place: Place) -> None:
    """What a crash may leave behind is neither listed nor readable, nor can it be made."""
    name = f"{sandbox.TEMPORARY_PREFIX}0123"
    (place.root / name).write_text(SECRET)
    box = place.sandbox(deny=[])
    assert not box.visible("", name)
    assert code(read, box, name) == "denied"
    assert code(write, box, name, "x") == "denied"


@pytest.mark.promise("FS-1")
def test_a_protected_file_is_not_replaced(place: Place) -> None:
    """A file that this account may not write to is not replaced either."""
    (place.root / "a.txt").chmod(0o444)
    if os.access(place.root / "a.txt", os.W_OK):
        pytest.skip("this account may write to everything")
    box = place.sandbox()
    assert code(write, box, "a.txt", "x") == "denied"
    assert code(move, box, "sub/b.txt", "a.txt", replace=True) == "denied"
    assert read(box, "a.txt") == "inside a"


@pytest.mark.promise("FS-1", "GEN-7")
def test_what_this_account_may_not_read_is_refused(place: Place) -> None:
    """An unreadable root stops the start, an unreadable file or folder is denied."""
    (place.root / "a.txt").chmod(0)
    (place.root / "sub").chmod(0)
    if os.access(place.root / "a.txt", os.R_OK):
        pytest.skip("this account may read everything")
    box = place.sandbox()
    assert code(read, box, "a.txt") == "denied"
    assert code(box.open_directory, "sub") == "denied"
    assert code(read, box, "sub/b.txt") == "denied"
    with pytest.raises(ConfigError, match="cannot be read"):
        place.sandbox((place.root / "sub", False))
    (place.root / "sub").chmod(0o700)


@pytest.mark.promise("GEN-6")
def test_refusals_never_show_more_than_the_client_wrote(place: Place) -> None:
    """No message holds the path of a root, nor more of a long path than a line."""
    box = place.sandbox(blocked_extensions=[".exe"])
    for path in ("missing", "x.exe", "../x", ".env", "sub", "a.txt/x", "y" * 300, "d/" * 3000):
        message = refusal(box.open_file, path)[1]
        assert str(place.root) not in message
        assert len(message) < 300
    if sys.platform == "darwin":
        return  # it has no names that are not Unicode
    os.mkfifo(os.fsencode(place.root) + b"/\xff")
    with box.open_directory(".") as folder:
        name = next(name for name in names(folder.fd) if not name.isprintable())
        assert refusal(box.child_file, folder, name)[1].encode()
