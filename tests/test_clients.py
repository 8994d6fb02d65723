"""Clients that others wrote: the MCP Inspector, the official conformance suite, and clients of the
reference filesystem server, whose calls get the same answers from ours."""

import fcntl
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import BUSY, serving
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client

# The Inspector and the suite need Node 22 or newer, which many machines do not have yet.
PACKAGES = {
    "node": "24.21.0",
    "@modelcontextprotocol/inspector": "2.12.0",
    "@modelcontextprotocol/conformance": "0.2.0-alpha.12",
    "@modelcontextprotocol/server-filesystem": "2026.8.31",
}


@pytest.fixture(scope="session")
def npm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the packages above. pytest's cache keeps it from run to run."""
    cache = getattr(request.config, "cache", None)
    folder = cache.mkdir("npm") if cache else tmp_path_factory.mktemp("npm")
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs at once must not install into one folder
        if problem := install(folder):
            # The CI of this repository must not pass because it could not look.
            (pytest.fail if os.environ.get("CI") else pytest.skip)(problem)
    return folder / "node_modules"


def install(folder: Path) -> str | None:
    """Install the packages, unless they are there; say what is missing and what to do about it."""
    if not shutil.which("npm"):
        return "npm is missing: run `apt-get install npm` or `brew install node`"
    manifest = json.dumps({"private": True, "dependencies": PACKAGES})
    (folder / "package.json").write_text(manifest, encoding="utf-8")
    command = ["npm", "install", "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    reason = (done.stderr.strip().splitlines() or ["no reason given"])[0]
    retry = "run `./dev test tests/test_clients.py` where npm reaches its registry"
    return f"npm cannot install ({reason}): {retry}"


@pytest.fixture
def node(npm: Path, tmp_path: Path) -> "Node":
    """Runs the commands of the packages, away from your own home."""
    return Node(npm, tmp_path)


class Node:
    """The Node that was installed, and what runs on it."""

    def __init__(self, npm: Path, home: Path) -> None:
        self.program = npm / "node/bin/node"
        self.env = {"PATH": f"{self.program.parent}:{os.environ['PATH']}", "HOME": str(home)}
        self._commands = npm / ".bin"

    def command(self, name: str, *arguments: str | Path) -> list[str]:
        """Return the command line of a package's command."""
        return [str(self.program), str(self._commands / name), *map(str, arguments)]

    def run(self, name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return subprocess.run(
            self.command(name, *arguments), env=self.env, capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to serve."""
    made = tmp_path_factory.mktemp("files")
    (made / "a.txt").write_text("one\ntwo\nthree\n", encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def address(
    installed: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Where the untouched generated server listens over HTTP."""
    home = tmp_path_factory.mktemp("home")
    env = {"PATH": os.environ["PATH"], "HOME": str(home), **BUSY}
    program = str(installed / ".venv/bin/demo-server")
    command = [program, "--transport", "http", "--port", "0", str(folder)]
    log = home / "log"
    with log.open("w") as stderr, subprocess.Popen(command, env=env, stderr=stderr) as server:
        try:
            yield told(log, server)
        finally:
            server.terminate()


def told(log: Path, server: subprocess.Popen[bytes]) -> str:
    """Wait until the server has said where it listens."""
    until = time.monotonic() + 20
    while not (found := re.search(r"http://\S+", text := log.read_text(encoding="utf-8"))):
        assert server.poll() is None, text
        assert time.monotonic() < until, text
        time.sleep(0.05)
    return found.group()


# --- The Inspector.


@pytest.mark.promise("GEN-2", "FS-1", "FS-3")
@pytest.mark.parametrize("era", ["legacy", "modern"])
@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_the_inspector_lists_calls_and_is_refused(
    node: Node, installed: Path, folder: Path, address: str, era: str, transport: str
) -> None:
    """Strict schemas pass; a call is answered; a refusal is exit code 5, an unknown tool too."""
    target = [address] if transport == "http" else [installed / ".venv/bin/demo-server", folder]
    options = ["--protocol-era", era, "--format", "json", "-q"]

    def ask(*more: str) -> subprocess.CompletedProcess[str]:
        return node.run("inspector", "--cli", *target, *options, *more)

    def call(tool: str, **arguments: str) -> subprocess.CompletedProcess[str]:
        given = ("--tool-name", tool, "--tool-args-json", json.dumps(arguments))
        return ask("--method", "tools/call", *given)

    listed = ask("--strict", "--method", "tools/list")
    assert listed.returncode == 0, listed.stderr
    tools = {tool["name"] for tool in json.loads(listed.stdout)["result"]["tools"]}
    assert {"read_text_file", "search_content"} <= tools
    assert not tools & {"write_file", "edit_file", "move_file", "delete_file"}

    read = call("read_text_file", path=str(folder / "a.txt"))
    assert read.returncode == 0, read.stderr
    assert json.loads(read.stdout)["result"]["structuredContent"]["content"] == "one\ntwo\nthree\n"
    refused = call("read_text_file", path="/etc/passwd")
    assert (refused.returncode, reason(refused)) == (5, "tool_is_error")
    assert "root:" not in refused.stdout
    unlisted = call("write_file", path=str(folder / "b.txt"), content="")
    assert (unlisted.returncode, reason(unlisted)) == (5, "tool_not_found")
    assert not (folder / "b.txt").exists()


def reason(done: subprocess.CompletedProcess[str]) -> str:
    """Return the code of the error that the Inspector reports."""
    return str(json.loads(done.stderr.strip().splitlines()[-1])["error"]["code"])


@pytest.mark.promise("GEN-1")
def test_the_inspector_finds_nothing_in_the_schemas_of_tools_that_write(
    node: Node, installed: Path, folder: Path
) -> None:
    """All tools pass its strict check, not only those of a read-only server."""
    target = (installed / ".venv/bin/demo-server", folder, "-e", "DEMO_SERVER_READ_ONLY=false")
    options = ("--strict", "--method", "tools/list", "--format", "json", "-q")
    listed = node.run("inspector", "--cli", *target, *options)
    assert listed.returncode == 0, listed.stderr
    assert len(json.loads(listed.stdout)["result"]["tools"]) == 17 + 5 + 4 + 6


# --- The conformance suite.

LISTS = {"tools-list", "resources-list", "prompts-list"}
HTTP = {"dns-rebinding-protection", "server-sse-multiple-streams"}
# What every server has to pass, whatever it serves. The first revision is that of older clients.
APPLIES = {
    "2025-11-25": {"server-initialize", "server-session-lifecycle", "ping", *LISTS, *HTTP},
    "2026-07-28": {
        "server-stateless", "http-header-validation", "caching", "sep-2164-resource-not-found",
        "input-required-result-unsupported-methods", *LISTS, *HTTP,
    },
}  # fmt: skip
FIXTURE = "calls a tool, prompt or resource that only the suite's own example server has"
NOT_OFFERED = "optional, and this server does not declare it"
DEPRECATED = "deprecated by 2026-07-28, and this server does not declare it"
EXTENSION = "an extension of the protocol that this server does not declare"
# Why a scenario says nothing about a server without the suite's own tools.
DOES_NOT_APPLY = {
    "completion-complete": NOT_OFFERED,
    "resources-subscribe": NOT_OFFERED,
    "resources-unsubscribe": NOT_OFFERED,
    "logging-set-level": DEPRECATED,
    "server-sse-polling": "pending: a stream that can be resumed, which 2026-07-28 has removed",
    **dict.fromkeys(
        (
            "tools-call-simple-text", "tools-call-image", "tools-call-audio",
            "tools-call-embedded-resource", "tools-call-mixed-content", "tools-call-with-logging",
            "tools-call-error", "tools-call-with-progress", "tools-call-sampling",
            "tools-call-elicitation", "elicitation-sep1034-defaults", "elicitation-sep1330-enums",
            "json-schema-2020-12", "http-custom-header-server-validation",
            "resources-read-text", "resources-read-binary", "resources-templates-read",
            "prompts-get-simple", "prompts-get-with-args", "prompts-get-embedded-resource",
            "prompts-get-with-image", "input-required-result-basic-elicitation",
            "input-required-result-basic-sampling", "input-required-result-basic-list-roots",
            "input-required-result-request-state", "input-required-result-multiple-input-requests",
            "input-required-result-multi-round", "input-required-result-missing-input-response",
            "input-required-result-non-tool-request", "input-required-result-result-type",
            "input-required-result-tampered-state", "input-required-result-capability-check",
            "input-required-result-ignore-extra-params", "input-required-result-validate-input",
        ),
        FIXTURE,
    ),
    **dict.fromkeys(
        (
            "sep-2640-skills-directory", "sep-2640-skills-enumeration", "sep-2640-skills-manifest",
            "tasks-lifecycle", "tasks-capability-negotiation", "tasks-wire-fields",
            "tasks-request-state-removal", "tasks-mrtr-input", "tasks-request-headers",
            "tasks-dispatch-and-envelope", "tasks-status-notifications",
            "tasks-required-task-error", "tasks-mrtr-composition",
        ),
        EXTENSION,
    ),
}  # fmt: skip
# Checks inside scenarios that apply: each says of itself that it needs a tool of the suite's own.
NOT_TESTABLE = {
    "2025-11-25": set[str](),
    "2026-07-28": {
        "sep-2575-server-rejects-undeclared-capability",
        "sep-2575-missing-capability-http-400",
        "sep-2575-http-server-no-independent-requests-on-stream",
        "sep-2575-server-no-log-without-loglevel",
    },
}


def test_every_scenario_of_the_suite_is_run_or_does_not_apply_for_a_reason(node: Node) -> None:
    """A scenario that is in neither list, or in a list but not in the suite, fails this test."""
    listed = node.run("conformance", "list", "--server").stdout
    revisions = dict(re.findall(r"^\s+- (\S+) \[(.+)\]$", listed, re.MULTILINE))
    for revision, applying in APPLIES.items():
        required = node.run("conformance", "list", "--server", "--requirements", revision).stdout
        frozen = re.findall(r"^\s+- (\S+)", required.partition("Client scenarios")[0], re.MULTILINE)
        assert len(frozen) > 20, required
        assert set(frozen) | applying <= revisions.keys()
        assert all(revision in revisions[scenario] for scenario in applying)
        assert set(frozen) <= applying | DOES_NOT_APPLY.keys()
    known = set().union(*APPLIES.values())
    assert not known & DOES_NOT_APPLY.keys()
    assert known | DOES_NOT_APPLY.keys() == {
        name
        for name, versions in revisions.items()
        if versions == "extension" or any(revision in versions for revision in APPLIES)
    }


@pytest.mark.promise("GEN-1", "GEN-2")
@pytest.mark.parametrize("revision", APPLIES)
def test_the_scenarios_that_apply_to_any_server_pass(
    node: Node, address: str, tmp_path: Path, revision: str
) -> None:
    """What the protocol asks of every server, against the untouched one; warnings count too."""
    excused: set[str] = set()
    for scenario in sorted(APPLIES[revision]):
        arguments = ("--url", address, "--scenario", scenario, "--spec-version", revision)
        done = node.run("conformance", "server", *arguments, "-o", tmp_path / scenario)
        files = [*(tmp_path / scenario).rglob("checks.json")]
        checks = [c for file in files for c in json.loads(file.read_text(encoding="utf-8"))]
        assert any(check["status"] == "SUCCESS" for check in checks), f"{scenario}\n{done.stdout}"
        bad = [c for c in checks if c["status"] not in ("SUCCESS", "SKIPPED", "INFO")]
        not_testable = {c["id"] for c in bad if c["errorMessage"].startswith("Not testable: ")}
        excused |= not_testable
        assert {c["id"] for c in bad} <= not_testable, f"{scenario}: {bad}"
    assert excused == NOT_TESTABLE[revision]


# --- Clients of the reference server.

Call = tuple[str, dict[str, Any]]
TIME = re.compile(r"\w{3} \w{3} \d\d \d{4} \d\d:\d\d:\d\d GMT\+0000 \(Coordinated Universal Time\)")

FILES = {
    "a.txt": b"one\ntwo\nthree\n",
    "big.bin": bytes(1536),
    "crlf.txt": b"x\r\ny\r\n",
    "latin.txt": b"caf\xe9\n",
    "long.txt": b"0123456789abcde\n" * 1000,
    "no newline.txt": b"a\nb",
    "nothing": b"",
    "pixel.png": b"\x89PNG\r\n\x1a\n" + bytes(20),
    "sound.wav": b"RIFF\0\0\0\0WAVEfmt ",
    "sub/b.md": b"```py\nx\n```\n",
    "sub/deep/c.py": b"def f():\n    return 1\n",
    "\u00fcml\u00e4ut \u4e2d.txt": "z\u00fc\n".encode(),
    ".hidden": b"h",
}
TEXTS = [name for name in FILES if not name.endswith((".png", ".wav", ".bin"))]
GLOBS = ["*", "**", "**/*", "*.md", "**/*.md", "sub", "sub/*", "**/deep/**", "{a,b}*", "a?txt",
         "[ab]*", "!*.txt", ".*", "*.TXT", "**/c.py", "no such*"]  # fmt: skip
EXCLUDED = [["*.md"], ["**/*.py"], ["deep"], ["sub"], ["sub/**"], ["*"], ["b.md", "a.txt"]]


def edit(path: str, *pairs: tuple[str, str], **more: bool) -> Call:
    edits = [{"oldText": old, "newText": new} for old, new in pairs]
    return ("edit_file", {"path": path, "edits": edits, **more})


CALLS: list[Call] = [
    ("list_allowed_directories", {}),
    *(("read_text_file", {"path": path}) for path in [*TEXTS, "link", "sub/../a.txt"]),
    *(
        (tool, {"path": path, end: lines})
        for tool in ("read_text_file", "read_file")
        for path in ("a.txt", "crlf.txt", "no newline.txt", "nothing", "latin.txt", "long.txt")
        for end in ("head", "tail")
        for lines in (0, 1, 2, 5)
    ),
    ("read_file", {"path": "a.txt"}),
    ("read_multiple_files", {"paths": ["a.txt", "sub/b.md", "nothing"]}),
    *(("read_media_file", {"path": p}) for p in ("pixel.png", "sound.wav", "big.bin", "a.txt")),
    *(("list_directory", {"path": path}) for path in (".", "sub", "empty")),
    *(("list_directory_with_sizes", {"path": path}) for path in (".", "sub", "empty")),
    ("list_directory_with_sizes", {"path": "sub/deep", "sortBy": "size"}),
    *(("directory_tree", {"path": path}) for path in (".", "empty")),
    *(("directory_tree", {"path": ".", "excludePatterns": those}) for those in EXCLUDED),
    *(("search_files", {"path": ".", "pattern": glob}) for glob in GLOBS),
    ("search_files", {"path": "sub", "pattern": "*"}),
    *(("search_files", {"path": ".", "pattern": "**", "excludePatterns": e}) for e in EXCLUDED),
    *(("get_file_info", {"path": path}) for path in ("a.txt", "sub", "link")),
    *(("create_directory", {"path": path}) for path in ("new/deep", "new")),
    ("write_file", {"path": "new/w.txt", "content": "written \u00fc\n"}),
    ("write_file", {"path": "new/w.txt", "content": "again\n"}),
    ("write_file", {"path": "link", "content": "through a link\none\ntwo\nthree"}),
    edit("a.txt", ("two", "2"), dryRun=True),
    edit("a.txt", ("two", "2"), ("three", "3\n4\n")),
    edit("no newline.txt", ("b", "c\n")),
    edit("sub/deep/c.py", ("def f():\nreturn 1", "def g():\n  return 2\n  # more")),
    edit("sub/b.md", ("x", "y")),
    edit("a.txt"),
    ("move_file", {"source": "new/w.txt", "destination": "new/m.txt"}),
    ("move_file", {"source": "new", "destination": "moved"}),
    ("list_directory", {"path": "moved"}),
]

# Refused by both. The words differ: ours begin with a code and name no path but the client's own.
REFUSED: list[Call] = [
    *(("read_text_file", {"path": p}) for p in ("sub", "missing", "/etc/passwd", "../x", "out")),
    ("read_text_file", {"path": "a.txt", "head": 1, "tail": 1}),
    ("read_text_file", {}),
    ("read_multiple_files", {"paths": []}),
    ("list_directory", {"path": "a.txt"}),
    ("get_file_info", {"path": "missing"}),
    ("create_directory", {"path": "a.txt"}),
    ("write_file", {"path": "missing/w.txt", "content": "x"}),
    ("write_file", {"path": "sub", "content": "x"}),
    edit("a.txt", ("absent", "x")),
    ("move_file", {"source": "big.bin", "destination": "a.txt"}),
    ("move_file", {"source": "missing", "destination": "new"}),
]

# Where ours is different on purpose: why, and calls of which the last has another answer.
DIFFERENT: dict[str, list[Call]] = {
    "of several files, one that fails is named with our words": [
        ("read_multiple_files", {"paths": ["a.txt", "missing"]}),
    ],
    "the type of a file is told from its content, not from its name": [
        ("read_media_file", {"path": "document.pdf"}),
    ],
    "a link to a folder inside is shown as what it leads to": [
        ("list_directory", {"path": "links"}),
    ],
    "a link that leads outside has a name like any other entry": [
        ("search_files", {"path": "links", "pattern": "out*"}),
    ],
    "a folder has no size that it could be sorted by": [
        ("list_directory_with_sizes", {"path": ".", "sortBy": "size"}),
    ],
    "names are in the order of list_directory, by code point and not by locale": [
        ("list_directory_with_sizes", {"path": "mixed"}),
    ],
    "a passage that stands there twice is ambiguous": [edit("long.txt", ("0123", "x"))],
    "an edit leaves the ends of lines as they are": [
        edit("crlf.txt", ("x", "z")),
        ("read_text_file", {"path": "crlf.txt"}),
    ],
}


def plant(root: Path) -> Path:
    """Make the folder that the calls above are about."""
    for name, data in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    (root / "empty").mkdir()
    (root / "link").symlink_to("a.txt")
    return root


def plant_more(root: Path) -> None:
    """Add what the refusals and the differences are about."""
    (root / "out").symlink_to("/etc")
    (root / "document.pdf").write_bytes(b"%PDF-1.7\n")
    (root / "links").mkdir()
    (root / "links" / "folder").symlink_to("../sub")
    (root / "links" / "outside").symlink_to("/etc")
    (root / "mixed").mkdir()
    for name in ("a", "B", "c"):
        (root / "mixed" / name).touch()


def planted(root: Path) -> dict[str, bytes | None]:
    """Return what a folder holds now."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes() if path.is_file() else None
        for path in root.rglob("*")
    }


@pytest.mark.anyio
@pytest.mark.promise("FS-1")
@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_clients_of_the_reference_server_get_the_same_answers(
    node: Node, installed: Path, tmp_path: Path, mode: str
) -> None:
    """The same calls of all its tools on equal folders: equal content, structure and files."""
    ours, theirs = plant(tmp_path / "a" / "files"), plant(tmp_path / "b" / "files")
    command, *arguments = node.command("mcp-server-filesystem", theirs)
    started = StdioServerParameters(
        command=command, args=arguments, env={**node.env, "TZ": "UTC"}, cwd=theirs
    )
    with (tmp_path / "log").open("w") as log:
        async with (
            serving(installed, ours, home=tmp_path, mode=mode, READ_ONLY="false") as client,
            Client(stdio_client(started, errlog=log), mode="legacy") as reference,
        ):

            async def both(call: Call) -> tuple[Answer, Answer]:
                return await play(client, ours, call), await play(reference, theirs, call)

            await takes_the_same_arguments(client, reference)
            for call in CALLS:
                answer, expected = await both(call)
                assert not expected.refused, f"{call}: {expected}"
                assert answer == expected, call
            plant_more(ours)
            plant_more(theirs)
            for call in REFUSED:
                answer, expected = await both(call)
                assert answer.refused, call
                assert expected.refused, call
            assert planted(ours) == planted(theirs)
            for why, calls in DIFFERENT.items():
                answer, expected = [await both(call) for call in calls][-1]
                assert answer != expected, f"this is a difference no longer: {why}"


async def takes_the_same_arguments(client: Client, reference: Client) -> None:
    """What a client may or must give to the reference server, it may or need give to ours."""
    ours = {tool.name: tool for tool in (await client.list_tools()).tools}
    theirs = (await reference.list_tools()).tools
    assert {tool.name for tool in theirs} == {tool for tool, _ in CALLS}
    assert len(theirs) == 14
    for tool in theirs:
        schema = ours[tool.name].input_schema
        assert tool.input_schema.get("properties", {}).keys() <= schema["properties"].keys()
        assert {*schema.get("required", ())} <= {*tool.input_schema.get("required", ())}


@dataclass(frozen=True)
class Answer:
    """What a client of the reference server looks at."""

    refused: bool
    content: str = ""
    structure: str = ""


async def play(client: Client, root: Path, call: Call) -> Answer:
    """Make a call, with absolute paths; a folder's own place and times stand for any."""
    tool, arguments = call
    absolute = {
        name: [str(root / item) for item in value] if name == "paths"
        else str(root / value) if name in ("path", "source", "destination")
        else value
        for name, value in arguments.items()
    }  # fmt: skip
    try:
        result = await client.call_tool(tool, absolute)
    except MCPError:
        return Answer(refused=True)
    if result.is_error:
        return Answer(refused=True)

    def plain(value: Any) -> str:
        return TIME.sub("TIME", json.dumps(value, sort_keys=True).replace(str(root), "ROOT"))

    blocks = [block.model_dump(mode="json", exclude_none=True) for block in result.content]
    return Answer(False, plain(blocks), plain((result.structured_content or {})["content"]))
