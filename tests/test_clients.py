"""Clients that others wrote: the MCP Inspector, the official conformance suite, and clients of the
reference filesystem server, whose calls get the same answers from ours."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import BUSY, run, serving, text_of
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

NODE = "node@24.21.0"  # the Inspector and the suite need 22 or newer
INSPECTOR = "@modelcontextprotocol/inspector@2.12.0"
CONFORMANCE = "@modelcontextprotocol/conformance@0.2.0-alpha.12"
REFERENCE = "@modelcontextprotocol/server-filesystem@2026.8.31"


@pytest.fixture(scope="module")
def npm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with Node and the three packages, in the versions above."""
    folder = tmp_path_factory.mktemp("npm")
    packages = (NODE, INSPECTOR, CONFORMANCE, REFERENCE)
    if not shutil.which("npm") and not os.environ.get("CI"):
        pytest.skip("Node's npm is missing: apt-get install npm, or brew install node")
    run("npm", "install", "--silent", "--no-audit", "--no-fund", *packages, cwd=folder)
    return folder / "node_modules"


def node(npm: Path, package: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command of a package with the Node that was installed."""
    program = npm / "node/bin/node"
    return subprocess.run(
        [program, npm / ".bin" / package, *arguments], capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}, timeout=120,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to serve."""
    made = tmp_path_factory.mktemp("files")
    (made / "a.txt").write_text("one\ntwo\nthree\n", encoding="utf-8")
    (made / "sub").mkdir()
    (made / "sub" / "b.md").write_text("# b\n", encoding="utf-8")
    (made / "pixel.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(20))
    return made


@pytest.fixture(scope="module")
def address(
    installed: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Where the untouched generated server listens over HTTP."""
    with listening(installed, folder, tmp_path_factory.mktemp("home")) as url:
        yield url


@contextmanager
def listening(project: Path, folder: Path, home: Path) -> Iterator[str]:
    env = {"PATH": os.environ["PATH"], "HOME": str(home), **BUSY}
    command = [project / ".venv/bin/demo-server", "--transport", "http", "--port", "0", folder]
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr
        found = (re.search(r"http://\S+", line) for line in server.stderr)
        yield next(match.group() for match in found if match)
        server.terminate()


# --- The Inspector.


@pytest.mark.parametrize("era", ["legacy", "modern"])
@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_the_inspector_lists_calls_and_is_refused(
    npm: Path, installed: Path, folder: Path, address: str, era: str, transport: str
) -> None:
    """Strict schemas pass; a call is answered; a refusal is exit code 5, an unknown tool too."""
    target = [address] if transport == "http" else [installed / ".venv/bin/demo-server", folder]
    options = ["--protocol-era", era, "--format", "json", "-q"]

    def ask(*more: str) -> subprocess.CompletedProcess[str]:
        return node(npm, "inspector", "--cli", *target, *options, *more)

    listed = ask("--strict", "--method", "tools/list")
    assert listed.returncode == 0, listed.stderr
    tools = {tool["name"] for tool in json.loads(listed.stdout)["result"]["tools"]}
    assert {"read_text_file", "search_content"} <= tools
    assert "write_file" not in tools

    call = ("--method", "tools/call", "--tool-name")
    read = ask(
        *call, "read_text_file", "--tool-args-json", json.dumps({"path": str(folder / "a.txt")})
    )
    assert read.returncode == 0, read.stderr
    assert json.loads(read.stdout)["result"]["structuredContent"]["content"] == "one\ntwo\nthree\n"
    refused = ask(*call, "read_text_file", "--tool-args-json", '{"path":"/etc/passwd"}')
    assert refused.returncode == 5
    assert "root:" not in refused.stdout
    assert ask(*call, "write_file", "--tool-args-json", '{"path":"x","content":""}').returncode == 5


# --- The conformance suite.

FIXTURE = "needs a tool, prompt or resource of the suite's own example server"
NO_COMPLETION = "this server offers no completion, and declares none"
DEPRECATED = "deprecated in 2026-07-28; this server does not declare it"
# Why a scenario of a revision's frozen set does not apply to a server without the suite's fixtures.
DOES_NOT_APPLY = {
    "completion-complete": NO_COMPLETION,
    "logging-set-level": DEPRECATED,
    "resources-subscribe": "no resource changes, so none can be subscribed to",
    "resources-unsubscribe": "no resource changes, so none can be subscribed to",
    "server-sse-polling": "an optional retry field that the SDK does not send",
    "http-custom-header-server-validation": FIXTURE,
    "json-schema-2020-12": FIXTURE,
    **dict.fromkeys(
        (
            "tools-call-simple-text", "tools-call-image", "tools-call-audio",
            "tools-call-embedded-resource", "tools-call-mixed-content", "tools-call-with-logging",
            "tools-call-error", "tools-call-with-progress", "tools-call-sampling",
            "tools-call-elicitation", "elicitation-sep1034-defaults", "elicitation-sep1330-enums",
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
}  # fmt: skip
# Checks inside an applying scenario that say of themselves "not testable" without a fixture tool.
NOT_TESTABLE = {
    "sep-2575-server-rejects-undeclared-capability",
    "sep-2575-missing-capability-http-400",
    "sep-2575-http-server-no-independent-requests-on-stream",
    "sep-2575-server-no-log-without-loglevel",
}


@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
def test_the_scenarios_that_apply_to_any_server_pass(
    npm: Path, address: str, tmp_path: Path, revision: str
) -> None:
    """What a revision requires of a server passes, or does not apply for a named reason."""
    listed = node(npm, "conformance", "list", "--server", "--requirements", revision).stdout
    required = set(re.findall(r"^\s+- ([a-z0-9-]+)", listed.partition("Client scenarios")[0], re.M))
    applying = required - DOES_NOT_APPLY.keys()
    assert len(applying) >= 7
    for scenario in sorted(applying):
        results = tmp_path / scenario
        arguments = ("--url", address, "--scenario", scenario, "--spec-version", revision)
        done = node(npm, "conformance", "server", *arguments, "-o", results)
        checks = [
            check
            for file in results.rglob("checks.json")
            for check in json.loads(file.read_text(encoding="utf-8"))
        ]
        bad = [
            check
            for check in checks
            if check["status"] not in ("SUCCESS", "SKIPPED", "INFO")
            and not (check["id"] in NOT_TESTABLE and "Not testable" in check["errorMessage"])
        ]
        assert not bad, f"{scenario}: {bad}"
        assert any(check["status"] == "SUCCESS" for check in checks), f"{scenario}\n{done.stdout}"


# --- Clients of the reference server.

CALLS: list[tuple[str, dict[str, Any]]] = [
    ("read_text_file", {"path": "a.txt"}),
    ("read_text_file", {"path": "a.txt", "head": 2}),
    ("read_text_file", {"path": "a.txt", "tail": 1}),
    ("read_file", {"path": "a.txt"}),
    ("read_multiple_files", {"paths": ["a.txt", "sub/b.md"]}),
    ("list_directory", {"path": "sub"}),
    ("list_directory_with_sizes", {"path": "."}),
    # Only files: the reference sorts a folder by the size of its own entry on the disk.
    ("list_directory_with_sizes", {"path": "sub", "sortBy": "size"}),
    ("directory_tree", {"path": "."}),
    ("directory_tree", {"path": ".", "excludePatterns": ["*.md"]}),
    ("search_files", {"path": ".", "pattern": "**/*.md"}),
    ("search_files", {"path": ".", "pattern": "nothing*"}),
    ("list_allowed_directories", {}),
    ("create_directory", {"path": "new/deep"}),
    ("write_file", {"path": "new/w.txt", "content": "written\n"}),
    ("edit_file", {"path": "new/w.txt", "edits": [{"oldText": "written", "newText": "edited"}]}),
    ("edit_file", {
        "path": "new/w.txt", "edits": [{"oldText": "edited", "newText": "x"}], "dryRun": True,
    }),
    ("move_file", {"source": "new/w.txt", "destination": "new/m.txt"}),
    ("read_text_file", {"path": "new/m.txt"}),
    ("read_media_file", {"path": "pixel.png"}),
]  # fmt: skip


@pytest.mark.anyio
async def test_clients_of_the_reference_server_get_the_same_answers(
    npm: Path, installed: Path, folder: Path, tmp_path: Path
) -> None:
    """The same calls to both servers, on equal folders: the same content, text and structure."""
    answers = []
    for ours in (True, False):
        root = tmp_path / ("ours" if ours else "reference") / "files"
        shutil.copytree(folder, root)
        if ours:
            async with serving(installed, root, home=tmp_path, READ_ONLY="false") as client:
                answers.append(await play(client, root))
        else:
            program = str(npm / "node/bin/node")
            arguments = [str(npm / ".bin/mcp-server-filesystem"), str(root)]
            started = StdioServerParameters(command=program, args=arguments)
            with (tmp_path / "log").open("w") as log:
                async with Client(stdio_client(started, errlog=log), mode="legacy") as client:
                    answers.append(await play(client, root))
    for (tool, arguments), ours_, reference in zip(CALLS, *answers, strict=True):
        assert ours_ == reference, f"{tool} {arguments}"


async def play(client: Client, root: Path) -> list[Any]:
    """Make the calls with absolute paths; return what a client of the reference server looks at."""
    results = []
    for tool, arguments in CALLS:
        absolute = {
            name: (
                [str(root / item) for item in value]
                if name == "paths"
                else str(root / value) if name in ("path", "source", "destination") else value
            )
            for name, value in arguments.items()
        }  # fmt: skip
        result = await client.call_tool(tool, absolute)
        assert not result.is_error, f"{tool}: {text_of(result)}"
        block = result.content[0].model_dump(exclude_none=True)
        block.pop("annotations", None)
        structured = result.structured_content["content"]
        results.append(json.loads(json.dumps([block, structured]).replace(str(root), "ROOT")))
    return results
