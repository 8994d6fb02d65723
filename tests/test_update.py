"""Updates: a later release reaches a project whole, and what its owner wrote stays."""

import re
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import copier
import pytest
import yaml
from conftest import REPOSITORY, copy_template, render, run, snapshot
from copier import Settings, VcsRef
from copier.errors import UserMessageError

pytestmark = pytest.mark.promise("TPL-4")
PACKAGE = Path("template/src/{{ package_name }}")
FIX = "fixed_in_the_second_release"


def git(*args: str, cwd: Path) -> str:
    return run("git", *args, cwd=cwd)


def commit(repository: Path, message: str, tag: str | None = None) -> None:
    git("add", "--all", cwd=repository)
    git("commit", "--quiet", "--message", message, cwd=repository)
    if tag:
        git("tag", tag, cwd=repository)


def replace(file: Path, old: str, new: str) -> None:
    """Change a file at a place that must exist."""
    text = file.read_text(encoding="utf-8")
    assert old in text, f"{file}: {old!r} is not there"
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def append(file: Path, text: str) -> None:
    file.write_text(file.read_text(encoding="utf-8") + text, encoding="utf-8")


def second_release(template: Path) -> None:
    """A security fix in the guard, in the sandbox and in the escaper; a setting; a dependency."""
    append(template / PACKAGE / "guard/pipeline.py", f"\n\n{FIX} = True\n")
    sandbox = next(template.glob("template/src/*/*filesystem*/sandbox.py"))
    append(sandbox, f"\n\n{FIX} = True\n")
    append(template / "extensions/escaping.py", ESCAPER_FIX)
    replace(
        template / PACKAGE / "settings.py",
        "    log_level: Literal",
        '    new_in_two: bool = Field(default=False, description="New.")\n    log_level: Literal',
    )
    append(template / "template/.env.example.jinja", "# New.\n# {{ env_prefix | envname }}_NEW=x\n")
    pyproject = template / "template/pyproject.toml.jinja"
    replace(pyproject, '"mcp>=2.3,<3"', '"mcp>=2.3.0,<3"')


# The escaper of the second release marks what it has escaped in Markdown.
ESCAPER_FIX = """

FILTERS["md"] = lambda text: escape_markdown(text) + " (fixed)"
"""


def third_release(template: Path) -> None:
    """Ordinary work in every kind of file that the template owns."""
    append(template / PACKAGE / "guard/audit.py", "\n\nTHIRD = 3\n")
    replace(template / "template/README.md.jinja", "## Start", "## Start here")
    pyproject = template / "template/pyproject.toml.jinja"
    replace(pyproject, '"pytest>=9"', '"pytest>=9.0.1"')
    replace(pyproject, "{{ description | toml }}", "{{ description | toml }} # new")
    replace(template / "template/.gitignore", "dist/", "dist/\nbuild/")
    (template / "template/NEW.md").write_text("<!-- managed: new -->\n# New\n", encoding="utf-8")


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of the template with the releases v1.0.0, v2.0.0 and v3.0.0."""
    return make_releases(tmp_path_factory.mktemp("releases"), second_release, third_release)


def make_releases(folder: Path, *changes: Callable[[Path], None]) -> Path:
    template = copy_template(folder / "modelctx")
    git("init", "--quiet", "--initial-branch=main", cwd=template)
    commit(template, "feat: first", "v1.0.0")
    for number, change in enumerate(changes, start=2):
        change(template)
        commit(template, f"fix: release {number}", f"v{number}.0.0")
    return template


def generate(template: Path, project: Path, tag: str, **answers: Any) -> Path:
    """Generate a project from a tag and commit it, as its owner does."""
    copier.run_copy(
        str(template), project, data={"project_name": "demo server", **answers},
        defaults=True, unsafe=True, quiet=True, vcs_ref=tag, settings=Settings(),
    )  # fmt: skip
    git("init", "--quiet", "--initial-branch=main", cwd=project)
    commit(project, "feat: generate")
    return project


def update(project: Path, tag: str | VcsRef, **options: Any) -> None:
    """Update as README says."""
    copier.run_update(
        project, vcs_ref=tag, defaults=True, unsafe=True, quiet=True, overwrite=True,
        **{"conflict": "rej", "settings": Settings(), **options},
    )  # fmt: skip


def edit_what_is_yours(project: Path, *, first: bool = False) -> dict[str, str]:
    """Do realistic work in each class of file; return the text that must survive, by file.

    Args:
        first: the project is of release 0.1.0. There .gitignore and the version were not yours
            yet, and what uv added had to be moved below the fence.
    """
    package = "src/demo_server"
    replace(
        project / package / "custom/tools.py",
        '    """Add your tools',
        '    settings.custom  # mine\n    """Add your tools',
    )
    append(project / package / "custom/settings.py", "\n    greeting: str = 'mine'\n")
    append(project / "tests/custom/test_example.py", "\n\ndef test_mine() -> None:\n    assert 1\n")
    (project / "src/demo_server/custom/mine.py").write_text("MINE = 1\n", encoding="utf-8")
    pyproject = project / "pyproject.toml"
    append(pyproject, '\n[tool.mine]\nkey = "mine"\n')
    if first:
        fence = "  # The template changes only what stands above it.\n  #\n"
        replace(pyproject, fence, f'{fence}  "aiohttp>=3",\n')
    else:
        # Names that would stand first, last and between the template's own.
        add = ("uv", "add", "--frozen", "--quiet")
        run(*add, "aiohttp>=3", "numpy>=2", "zstandard>=0", cwd=project)
        run(*add, "--dev", "hypothesis>=6", "types-requests", cwd=project)
        replace(pyproject, 'version = "0.1.0"', 'version = "9.9.9"')
        append(project / ".gitignore", "my-data/\n")
    append(project / "README.md", "\n## My own chapter\n")
    (project / "uv.lock").write_text("# as uv wrote it\n", encoding="utf-8")
    commit(project, "feat: my own work")
    return {
        f"{package}/custom/tools.py": "settings.custom  # mine",
        f"{package}/custom/settings.py": "greeting: str = 'mine'",
        f"{package}/custom/mine.py": "MINE = 1",
        "tests/custom/test_example.py": "def test_mine()",
        "pyproject.toml": '"aiohttp>=3",',
        **({} if first else {".gitignore": "my-data/"}),
        "README.md": "## My own chapter",
        "uv.lock": "# as uv wrote it",
    }


def assert_no_conflict(project: Path) -> None:
    for path, content in snapshot(project).items():
        assert not path.endswith(".rej"), f"{path}\n{content.decode()}"
        assert b"<<<<<<<" not in content.replace(b"(<<<<<<<|", b""), path


def assert_same(project: Path, fresh: Path) -> None:
    """Equal byte for byte; the answers file up to the order, which follows the command line."""
    here, there = snapshot(project), snapshot(fresh)
    answers = ".copier-answers.yml"
    assert yaml.safe_load(here.pop(answers)) == yaml.safe_load(there.pop(answers))
    assert here == there


@pytest.mark.parametrize("path", [["v3.0.0"], ["v2.0.0", "v3.0.0"]], ids="-".join)
def test_an_update_keeps_your_work_and_equals_a_fresh_render(
    releases: Path, tmp_path: Path, path: list[str]
) -> None:
    """From every release, at once or in steps: no conflict, your work stays, the rest is fresh."""
    project = generate(releases, tmp_path / "project", "v1.0.0")
    mine = edit_what_is_yours(project)
    for tag in path:
        update(project, tag)
        assert_no_conflict(project)
        commit(project, f"chore: update to {tag}")

    fresh = snapshot(generate(releases, tmp_path / "fresh", "v3.0.0"))
    updated = snapshot(project)
    for file, text in mine.items():
        assert text in updated[file].decode(), file
    for file in fresh.keys() - mine.keys():
        assert updated[file] == fresh[file], file
    assert updated.keys() - fresh.keys() == mine.keys() - fresh.keys()
    pyproject = tomllib.loads(updated["pyproject.toml"].decode())
    assert pyproject["project"]["version"] == "9.9.9"
    assert pyproject["project"]["dependencies"][1] == "mcp>=2.3.0,<3"
    mine_added = ["aiohttp>=3", "numpy>=2", "zstandard>=0"]
    assert pyproject["project"]["dependencies"][2:] == mine_added
    assert pyproject["dependency-groups"]["dev"][-2:] == ["hypothesis>=6", "types-requests"]
    assert pyproject["tool"]["mine"] == {"key": "mine"}
    assert "Start here" in updated["README.md"].decode()
    for fixed in ("guard/pipeline.py", "filesystem/sandbox.py"):
        assert FIX in updated[f"src/demo_server/{fixed}"].decode()


def test_an_untouched_project_becomes_a_fresh_render(releases: Path, tmp_path: Path) -> None:
    """Byte for byte, the answers file included."""
    project = generate(releases, tmp_path / "project", "v1.0.0")
    update(project, "v3.0.0")
    assert snapshot(project) == snapshot(generate(releases, tmp_path / "fresh", "v3.0.0"))


def test_a_fix_in_the_escaper_alone_arrives(tmp_path: Path) -> None:
    """Two releases that differ in the escaper only: the new escaper renders the new version."""
    template = make_releases(tmp_path, lambda t: append(t / "extensions/escaping.py", ESCAPER_FIX))
    project = generate(template, tmp_path / "project", "v1.0.0")
    assert "(fixed)" not in (project / "README.md").read_text(encoding="utf-8")
    update(project, "v2.0.0")
    assert "(fixed)" in (project / "README.md").read_text(encoding="utf-8")
    assert_no_conflict(project)


def test_a_managed_file_that_you_edited_still_gets_the_fix(releases: Path, tmp_path: Path) -> None:
    """Where you edited the lines of the fix, it is active and your edit is set aside."""
    project = generate(releases, tmp_path / "project", "v1.0.0")
    pipeline = project / "src/demo_server/guard/pipeline.py"
    append(pipeline, "\n\nedited_by_owner = True\n")
    commit(project, "fix: edit what I should not")
    update(project, "v2.0.0")
    text = pipeline.read_text(encoding="utf-8")
    compile(text, str(pipeline), "exec")
    assert FIX in text
    rejected = pipeline.with_name("pipeline.py.rej")
    kept = rejected.read_text(encoding="utf-8") if rejected.exists() else text
    assert "edited_by_owner" in kept


def test_what_you_deleted_of_the_examples_stays_deleted(releases: Path, tmp_path: Path) -> None:
    """The example of a test does not come back; the starter that the server imports does."""
    project = generate(releases, tmp_path / "project", "v1.0.0")
    (project / "tests/custom/test_example.py").unlink()
    commit(project, "test: drop the example")
    update(project, "v3.0.0")
    assert not (project / "tests/custom/test_example.py").exists()
    assert_no_conflict(project)


def test_pretend_writes_nothing(releases: Path, tmp_path: Path) -> None:
    """`copier update --pretend` is a rehearsal."""
    project = generate(releases, tmp_path / "project", "v1.0.0")
    before = snapshot(project)
    update(project, "v3.0.0", pretend=True)
    assert snapshot(project) == before
    assert git("status", "--porcelain", cwd=project) == ""


def broken_release(template: Path) -> None:
    """A later file of the release shows an answer without escaping it."""
    append(template / PACKAGE / "guard/pipeline.py", f"\n\n{FIX} = True\n")
    (template / "template/zzz.py.jinja").write_text('# managed:\nX = "{{ description }}"\n')


def test_a_render_error_changes_nothing(tmp_path: Path) -> None:
    """A release that cannot be rendered leaves the project as it was, its answers included."""
    template = make_releases(tmp_path, broken_release)
    project = generate(template, tmp_path / "project", "v1.0.0")
    before = snapshot(project)
    with pytest.raises(UserMessageError, match=r"zzz\.py"):
        update(project, "v2.0.0")
    assert snapshot(project) == before
    assert git("status", "--porcelain", cwd=project) == ""


def queue_backend(template: Path) -> None:
    """Adds a backend as CONTRIBUTING says: a folder, a choice, two lines, a dependency, a test."""
    folder = template / PACKAGE / "{% if 'queue' in backends %}queue{% endif %}"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        '# managed: part of the template.\n"""A queue."""\n\nfrom .tools import register\n\n'
        '__all__ = ["register"]\n'
    )
    (folder / "settings.py").write_text(
        '# managed: part of the template.\n"""Settings of the queue."""\n\n'
        "from pydantic import BaseModel, Field\n\n\n"
        'class QueueSettings(BaseModel, extra="forbid"):\n    """The queue."""\n\n'
        '    length: int = Field(default=3, ge=1, description="How long it is.")\n'
    )
    (folder / "tools.py").write_text(
        '# managed: part of the template.\n"""Tools of the queue."""\n\n'
        "from mcp.types import ToolAnnotations\n\nfrom ..backend import Registered\n"
        "from ..guard import GuardedServer\nfrom ..settings import Settings\n\n\n"
        "def register(server: GuardedServer, settings: Settings) -> Registered:\n"
        '    """Add the tools."""\n\n'
        "    @server.tool(annotations=ToolAnnotations(read_only_hint=True))\n"
        "    async def queue_length() -> int:\n"
        '        """Say how long the queue is."""\n'
        "        return settings.queue.length\n\n"
        '    return Registered(name="queue", summary=f"queue: {settings.queue.length}")\n'
    )
    tests = template / "template/tests/{% if 'queue' in backends %}queue{% endif %}"
    tests.mkdir()
    (tests / "test_queue.py").write_text("# managed: part of the template.\n")
    replace(
        template / "copier.yml",
        '    "Files in folders that you allow": filesystem\n',
        '    "Files in folders that you allow": filesystem\n    "A queue": queue\n',
    )
    backends = template / PACKAGE / "backends.py.jinja"
    replace(
        backends,
        "\n\nif TYPE_CHECKING:",
        "\n{% if 'queue' in backends %}\nfrom .queue.settings import QueueSettings\n{% endif %}"
        "\n\nif TYPE_CHECKING:",
    )
    replace(
        backends,
        "\n\ndef registrars",
        "{% if 'queue' in backends %}\n    queue: QueueSettings = Field("
        'default_factory=QueueSettings, description="The queue.")\n{% endif %}\n\ndef registrars',
    )
    replace(
        backends,
        "    return found",
        "{% if 'queue' in backends %}\n    from .queue import register as queue\n\n"
        "    found.append(queue)\n{% endif %}\n    return found",
    )
    replace(
        template / "template/pyproject.toml.jinja",
        "  #\n  # yours: `uv add` puts",
        "{% if 'queue' in backends %}\n  # The queue.\n  \"attrs>=25\",\n{% endif %}"
        "  #\n  # yours: `uv add` puts",
    )


def test_a_backend_can_be_added_later(tmp_path: Path) -> None:
    """It brings its code, settings, tests and dependency, and the server serves it."""
    template = make_releases(tmp_path, queue_backend)
    project = generate(template, tmp_path / "project", "v1.0.0")
    update(project, "v2.0.0")
    assert not (project / "src/demo_server/queue").exists()
    commit(project, "chore: update")
    update(project, VcsRef.CURRENT, data={"backends": ["filesystem", "queue"]})
    assert_no_conflict(project)
    fresh = generate(template, tmp_path / "fresh", "v2.0.0", backends=["filesystem", "queue"])
    assert_same(project, fresh)
    assert (project / "tests/queue/test_queue.py").is_file()
    assert "attrs>=25" in (project / "pyproject.toml").read_text(encoding="utf-8")
    # And dropped again: no trace.
    commit(project, "feat: queue")
    update(project, VcsRef.CURRENT, data={"backends": ["filesystem"]})
    assert not (project / "src/demo_server/queue").exists()
    without = generate(template, tmp_path / "without", "v2.0.0")
    assert_same(project, without)


def released() -> list[tuple[str, str]]:
    """Return version and commit of each release that CHANGELOG.md records."""
    text = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    return re.findall(r"^## (\S+) \(.*\)\n+Commit: `([0-9a-f]{40})`", text, re.MULTILINE)


@pytest.mark.parametrize(("version", "revision"), released() or [("", "")])
def test_every_release_of_this_repository_updates_to_what_is_here(
    tmp_path: Path, version: str, revision: str
) -> None:
    """From each recorded release to the working tree: no conflict, equal to a fresh render."""
    if not revision:
        pytest.skip("CHANGELOG.md records no release with its commit yet")
    known = subprocess.run(
        ["git", "cat-file", "-e", f"{revision}^{{commit}}"], cwd=REPOSITORY, check=False,
        capture_output=True,
    )  # fmt: skip
    if known.returncode:
        pytest.skip(f"{version} is not in this clone; fetch the history: git fetch --unshallow")
    template = tmp_path / "modelctx"
    git("clone", "--quiet", str(REPOSITORY), str(template), cwd=tmp_path)
    git("tag", "--force", f"v{version}", revision, cwd=template)
    git("switch", "--quiet", "--detach", revision, cwd=template)
    git("rm", "-r", "--quiet", ".", cwd=template)
    copy_template(template)
    commit(template, "feat: the working tree", "v999.0.0")
    project = generate(template, tmp_path / "project", f"v{version}")
    mine = edit_what_is_yours(project, first=version == "0.1.0")
    update(project, "v999.0.0")
    assert_no_conflict(project)
    updated = snapshot(project)
    fresh = snapshot(generate(template, tmp_path / "fresh", "v999.0.0"))
    for file, text in mine.items():
        assert text in updated[file].decode(), file
    for file in fresh.keys() - mine.keys():
        assert updated[file] == fresh[file], file


def test_the_answers_file_is_what_copier_needs(template: Path, tmp_path: Path) -> None:
    """It records where the template is and every answer, and can be read back."""
    project = render(template, tmp_path / "p", description='it\'s "quoted": #1')
    answers = yaml.safe_load((project / ".copier-answers.yml").read_text(encoding="utf-8"))
    assert answers["description"] == 'it\'s "quoted": #1'
    assert answers["backends"] == ["filesystem"]
    assert "_src_path" in answers


QUERY = """
[queries.mine]
description = "Mine."
sql = "SELECT 1"
"""


def test_a_database_is_added_its_engine_changed_and_dropped(tmp_path: Path) -> None:
    """Each step is a fresh render but for what is yours; the queries of your own stay."""
    template = make_releases(tmp_path)
    project = generate(template, tmp_path / "project", "v1.0.0")
    mine = edit_what_is_yours(project)
    queries = project / "src/demo_server/custom/queries.toml"
    answers: dict[str, Any] = {"backends": ["filesystem", "database"]}
    for step, engine in enumerate(("sqlite", "postgresql", "mysql", "sqlite")):
        changed = {"database_engine": engine} if step else answers
        update(project, VcsRef.CURRENT, data=changed)
        assert_no_conflict(project)
        here = snapshot(project)
        fresh_folder = tmp_path / f"fresh{step}"
        answers["database_engine"] = engine
        fresh = snapshot(generate(template, fresh_folder, "v1.0.0", **answers))
        yours = {*mine, "src/demo_server/custom/queries.toml"}
        for file in fresh.keys() - yours - {".copier-answers.yml"}:
            assert here[file] == fresh[file], f"{engine}: {file}"
        assert here.keys() - fresh.keys() <= yours, engine
        for file, text in mine.items():
            assert text in here[file].decode(), f"{engine}: {file}"
        if not step:
            queries.write_text(QUERY, encoding="utf-8")
        assert queries.read_text(encoding="utf-8") == QUERY
        commit(project, f"feat: {engine}")
    update(project, VcsRef.CURRENT, data={"backends": ["filesystem"]})
    assert not (project / "src/demo_server/database").exists()
    assert not (project / "tests/database").exists()
    assert queries.read_text(encoding="utf-8") == QUERY


def test_backends_of_the_network_are_added_changed_and_dropped(tmp_path: Path) -> None:
    """Each step is a fresh render but for what is yours; the API's document of your own stays."""
    template = make_releases(tmp_path)
    project = generate(template, tmp_path / "project", "v1.0.0")
    mine = edit_what_is_yours(project)
    document = project / "src/demo_server/custom/openapi.json"
    steps: list[dict[str, Any]] = [
        {"backends": ["filesystem", "api"]},
        {"api_base_url": "https://api.example.com/v1", "api_auth": "oauth2"},
        {"backends": ["api", "webscraper"]},
        {"backends": ["webscraper"]},
        {"backends": ["filesystem"]},
    ]
    answers: dict[str, Any] = {}
    for step, changed in enumerate(steps):
        update(project, VcsRef.CURRENT, data=changed)
        assert_no_conflict(project)
        answers |= changed
        here = snapshot(project)
        fresh = snapshot(generate(template, tmp_path / f"fresh{step}", "v1.0.0", **answers))
        for file in fresh.keys() - {*mine, ".copier-answers.yml"}:
            assert here[file] == fresh[file], f"{changed}: {file}"
        assert here.keys() - fresh.keys() <= {*mine, "src/demo_server/custom/openapi.json"}
        for file, text in mine.items():
            assert text in here[file].decode(), f"{changed}: {file}"
        document.write_text("{}", encoding="utf-8")
        commit(project, f"feat: step {step}")
    assert not (project / "src/demo_server/net").exists()
    assert not (project / "tests/api").exists()
