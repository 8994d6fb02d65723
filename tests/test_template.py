"""What every render must be, whatever is answered."""

import ast
import json
import re
import shutil
import tomllib
from pathlib import Path, PureWindowsPath
from typing import Any

import pytest
import yaml
from conftest import BACKENDS, ENGINES, QUESTIONS, TEMPLATE, VARIANTS, render, run, snapshot

MARKERS = ("managed:", "merged:", "yours:", "managed by Copier")
COMMENTED = (".py", ".toml", ".yml", ".yaml", ".md", ".sh", ".jinja")


@pytest.mark.promise("TPL-2")
@pytest.mark.parametrize("answers", VARIANTS.values(), ids=VARIANTS)
def test_a_render_parses_and_ruff_has_nothing_to_change(
    template: Path, tmp_path: Path, answers: dict[str, Any]
) -> None:
    """Every generated file parses; the formatter and the linter are content with a fresh render."""
    project = render(template, tmp_path / "p", **answers)
    for path, content in snapshot(project).items():
        parse(path, content.decode())
    run("ruff", "format", "--check", ".", cwd=project)
    run("ruff", "check", ".", cwd=project)


@pytest.mark.promise("TPL-4")
def test_rendering_twice_gives_the_same_bytes(template: Path, tmp_path: Path) -> None:
    """A render depends on nothing but the answers."""
    first = render(template, tmp_path / "a", backends=BACKENDS)
    second = render(template, tmp_path / "b", backends=BACKENDS)
    assert snapshot(first) == snapshot(second)


def test_rendering_over_a_project_changes_nothing(template: Path, tmp_path: Path) -> None:
    """Generating again into the same folder with the same answers is no change."""
    project = render(template, tmp_path / "p")
    before = snapshot(project)
    import copier
    from copier import Settings

    copier.run_copy(
        str(template), project, data={"project_name": "demo server"}, defaults=True,
        unsafe=True, quiet=True, overwrite=True, settings=Settings(),
    )  # fmt: skip
    assert snapshot(project) == before


def test_nearly_all_python_comes_from_files_without_jinja(template: Path, tmp_path: Path) -> None:
    """At least 95% of the generated Python lines stand in the template as they are generated."""
    project = render(template, tmp_path / "p", backends=BACKENDS)
    plain = rendered = 0
    for path, content in snapshot(project).items():
        if path.endswith(".py"):
            lines = content.count(b"\n")
            rendered += lines
            plain += lines if content in PLAIN_PYTHON else 0
    assert rendered > 1000
    assert plain / rendered >= 0.95


PLAIN_PYTHON = {path.read_bytes() for path in TEMPLATE.rglob("*.py")}


def test_names_in_the_template_are_legal_on_windows() -> None:
    """Everybody can clone the template, also on Windows."""
    for path in TEMPLATE.rglob("*"):
        if "__pycache__" in path.parts or any(part.endswith("_cache") for part in path.parts):
            continue
        name = path.name
        assert not re.search(r'[<>:"|?*\\\x00-\x1f]', name), path
        assert not PureWindowsPath(name).is_reserved(), path
        assert not name.endswith((" ", ".")), path


def test_each_file_says_in_its_first_line_who_owns_it(template: Path, tmp_path: Path) -> None:
    """Whoever opens a generated file knows whether an update may rewrite it."""
    project = render(template, tmp_path / "p", backends=BACKENDS)
    for path, content in snapshot(project).items():
        if path == "LICENSE" or path.endswith(".json"):
            continue
        first = content.decode().partition("\n")[0]
        assert any(marker in first for marker in MARKERS), f"{path}: {first}"


def test_a_backend_that_is_not_chosen_leaves_no_trace(template: Path, tmp_path: Path) -> None:
    """No file of a project speaks of a backend that it does not have, nor of another engine."""
    for name, answers in VARIANTS.items():
        project = render(template, tmp_path / name, **answers)
        missing = {f"{backend}." for backend in BACKENDS if backend not in answers["backends"]}
        if "database" in answers["backends"]:
            missing |= {module for engine in ENGINES if engine not in name for module in OF[engine]}
        if not {"api", "webscraper"} & set(answers["backends"]):
            missing |= {"egress", "world.py", "httpx2.Headers"}
        for path, content in snapshot(project).items():
            for word in missing:
                assert word.strip(".") not in path.split("/")
                assert word not in content.decode(), f"{path}: {word}"


OF = {
    "sqlite": ("set_authorizer", "SQLITE_LIMIT"),
    "postgresql": ("psycopg", "postgresql://reader"),
    "mysql": ("pymysql", "mysql://reader"),
}


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({"project_name": ""}, "Begin with a letter"),
        ({"project_name": "../../evil"}, "Begin with a letter"),
        ({"project_name": "name\n"}, "Letters, digits"),
        ({"project_name": "a\nb"}, "Letters, digits"),
        ({"project_name": "a  b"}, "Letters, digits"),
        ({"project_name": "-rf"}, "Begin with a letter"),
        ({"project_name": ".git/hooks"}, "Begin with a letter"),
        ({"project_name": "x" * 41}, "At most 40 characters"),
        ({"project_name": "json"}, "Taken; add a word"),
        ({"project_name": "class"}, "Taken; add a word"),
        ({"project_name": "CON"}, "Taken; add a word"),
        ({"project_name": "mcp"}, "Taken; add a word"),
        ({"project_name": "test"}, "Taken; add a word"),
        ({"project_name": "pytest"}, "Taken; add a word"),
        ({"description": ""}, "Write one sentence"),
        ({"description": "  "}, "No spaces or lines around it"),
        ({"description": "x" * 101}, "At most 100 characters"),
        ({"description": "a\nb"}, "no control characters"),
        ({"description": "a\x1b[31mb"}, "no control characters"),
        ({"author_name": "  "}, "No spaces or lines around it"),
        ({"author_name": "a\nb"}, "no control characters"),
        ({"author_name": "x" * 101}, "At most 100 characters"),
        ({"author_email": "nobody"}, "Write e.g. team@example.com"),
        ({"author_email": "a@example.com\n"}, "Write e.g. team@example.com"),
        ({"author_email": 'a"@example.com'}, "Write e.g. team@example.com"),
        ({"backends": []}, "Choose at least one backend"),
        ({"backends": ["nothing"]}, "Invalid choice"),
        ({"license": "x"}, "Invalid choice"),
        ({"backends": ["api"], "api_auth": "x"}, "Invalid choice"),
        ({"backends": ["api"], "api_base_url": "api.example.com"}, "Write e.g. https://"),
        ({"backends": ["api"], "api_base_url": "https://a:b@example.com"}, "Write e.g. https://"),
        ({"package_name": "other"}, "it follows from project_name"),
        ({"command_name": "ls"}, "it follows from project_name"),
        ({"env_prefix": "LD_PRELOAD"}, "it follows from project_name"),
    ],
)
def test_a_wrong_answer_is_refused_and_writes_nothing(
    template: Path, tmp_path: Path, answer: dict[str, Any], says: str
) -> None:
    """A validator says what to type, and no folder is left behind."""
    with pytest.raises(ValueError, match=re.escape(says)):
        render(template, tmp_path / "p", **answer)
    assert not (tmp_path / "p").exists() or not snapshot(tmp_path / "p")


def test_the_escaping_knows_where_the_template_is() -> None:
    """Its constants are those of copier.yml; a file elsewhere would be refused."""
    assert QUESTIONS["_subdirectory"] == "template"
    assert QUESTIONS["_templates_suffix"] == ".jinja"
    extension = (TEMPLATE.parent / "extensions/escaping.py").read_text(encoding="utf-8")
    assert 'TEMPLATE = "template/"' in extension
    assert 'SUFFIX = ".jinja"' in extension


def test_questions_are_few_and_explained() -> None:
    """Every question has a sentence of help; derived values are never asked and come last."""
    asked = [name for name, q in QUESTIONS.items() if name[0] != "_" and q.get("when") is not False]
    assert asked[:5] == ["project_name", "description", "author_name", "author_email", "backends"]
    # What is longer, a terminal of 80 columns cuts off.
    assert all(20 < len(QUESTIONS[name]["help"]) <= 75 for name in asked)
    assert all("Example: " in QUESTIONS[name]["help"] for name in asked)
    assert "default" not in QUESTIONS["project_name"]
    names = [name for name in QUESTIONS if name[0] != "_"]
    assert names[: len(asked)] == asked


def parse(path: str, text: str) -> None:
    """Parse a file as the language that its name says."""
    match Path(path).suffix:
        case ".py":
            ast.parse(text)
        case ".toml":
            tomllib.loads(text)
        case ".yml" | ".yaml":
            list(yaml.safe_load_all(text))
        case ".json":
            json.loads(text)
        case _:
            assert "{{" not in text.replace("${{", ""), path
            assert "{%" not in text, path
            assert "\x00" not in text


def test_ruff_is_there() -> None:
    """The checks above would prove nothing without it."""
    assert shutil.which("ruff")
