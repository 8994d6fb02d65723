# managed: part of the template; modelctx updates may rewrite it. Your tests live in tests/custom/.
"""Folders on the command line."""

import json
from pathlib import Path

import pytest
from conftest import PACKAGE, run, var

COMMAND = PACKAGE.replace("_", "-")


def test_a_snippet_names_folders_by_absolute_paths(tmp_path: Path) -> None:
    """A client starts the server from anywhere; a folder's mode stays with it."""
    for name in ("docs", "notes"):
        (tmp_path / name).mkdir()
    done = run("docs", "notes:ro", "--print-config", "cursor", home=tmp_path, cwd=tmp_path)
    entry = json.loads(done.stdout)["mcpServers"][COMMAND]
    assert entry["args"][-2:] == [str(tmp_path / "docs"), f"{tmp_path / 'notes'}:ro"]
    assert var("FILESYSTEM__ALLOWED_PATHS") not in entry.get("env", {})


def test_a_folder_wins_over_the_environment(tmp_path: Path) -> None:
    """An argument is a flag."""
    (tmp_path / "docs").mkdir()
    assert str(tmp_path / "docs") in run("docs", "--check", home=tmp_path, cwd=tmp_path).stdout


@pytest.mark.parametrize("flags", [["--check"], ["--print-config", "cursor"], []])
def test_a_folder_that_is_missing_stops_the_start(tmp_path: Path, flags: list[str]) -> None:
    """One line says which, and nothing is printed for a client."""
    done = run(tmp_path / "missing", *flags, home=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert str(tmp_path / "missing") in done.stderr


def test_folders_are_named_in_one_way(tmp_path: Path) -> None:
    """Of arguments and a flag one would be left out in silence."""
    done = run(tmp_path, "--filesystem-allowed-paths", tmp_path, "--check", home=tmp_path)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "--filesystem-allowed-paths" in done.stderr


@pytest.mark.parametrize("folder", ["", ":ro"])
def test_an_empty_folder_is_refused(tmp_path: Path, folder: str) -> None:
    """A variable of the shell that is not set must not serve wherever the server is started."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = run(folder, "--check", home=tmp_path, cwd=elsewhere)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.promise("FS-1")
@pytest.mark.parametrize("pattern", ["{root}/priv", "{root}", "~/priv", "priv\\"])
def test_a_pattern_that_can_match_nothing_is_refused(tmp_path: Path, pattern: str) -> None:
    """What it is to protect would be served."""
    deny = json.dumps([pattern.format(root=tmp_path / "files")])
    done = run("--check", home=tmp_path, env={var("FILESYSTEM__DENY"): deny})
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert var("FILESYSTEM__DENY") in done.stderr


def test_a_start_that_is_refused_leaves_no_audit_log(tmp_path: Path) -> None:
    """Least of all in a folder that was to be served."""
    log = tmp_path / "files" / "audit.jsonl"
    done = run(home=tmp_path, env={var("AUDIT__PATH"): str(log)})
    assert done.returncode == 1
    assert list((tmp_path / "files").iterdir()) == []
