"""Hostile answers to every question of copier.yml, against every generated file."""

import ast
import json
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import BACKENDS, render, snapshot
from copier.errors import CopierError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_escaping import PAYLOADS

pytestmark = pytest.mark.promise("TPL-1")

# The words of the benign render, none of which the template uses itself.
BENIGN = {"description": "Zebra quagga okapi", "author_name": "Tapir Vicuna"}
TEXT = list(BENIGN)


@pytest.fixture(scope="module")
def benign(template: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The structure of every file when the answers are harmless."""
    project = render(template, tmp_path_factory.mktemp("b") / "p", backends=BACKENDS, **BENIGN)
    return {path: shape(path, content) for path, content in snapshot(project).items()}


def check(template: Path, project: Path, benign: dict[str, Any], answers: dict[str, str]) -> bool:
    """Render with the answers; return False where they were refused, with nothing written."""
    shutil.rmtree(project, ignore_errors=True)
    try:
        render(template, project, backends=BACKENDS, **{**BENIGN, **answers})
    except (ValueError, CopierError):
        written = project.exists() and snapshot(project)
        assert not written
        return False
    files = snapshot(project)
    assert {path: shape(path, content) for path, content in files.items()} == benign
    recorded = yaml.safe_load(files[".copier-answers.yml"])
    metadata = tomllib.loads(files["pyproject.toml"].decode())["project"]
    for question, text in answers.items():
        assert recorded[question] == text
    if "description" in answers:
        assert metadata["description"] == answers["description"]
    if answers.get("author_name"):
        assert metadata["authors"][0]["name"] == answers["author_name"]
    return True


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_a_hostile_answer_changes_no_structure_or_is_refused(
    template: Path, tmp_path: Path, benign: dict[str, Any], payload: str
) -> None:
    """In both questions that take free text: data, unchanged, or refused with nothing written."""
    check(template, tmp_path / "p", benign, dict.fromkeys(TEXT, payload[:100]))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.text(max_size=100))
def test_any_answer_changes_no_structure_or_is_refused(
    template: Path, tmp_path: Path, benign: dict[str, Any], text: str
) -> None:
    """The same for text that nobody thought of."""
    check(template, tmp_path / "p", benign, dict.fromkeys(TEXT, text))


def test_ordinary_answers_are_not_refused(
    template: Path, tmp_path: Path, benign: dict[str, Any]
) -> None:
    """Quotes, braces and other scripts are what people write."""
    for text in (
        'The team\'s "notes" & more', "C:\\notes {draft} #1", "Café 日本語 😀", "100% <b>bold</b>",
        "{{ 7 * 7 }} ${{ secrets.X }} $(id) `id`", '"""; import os; """',
    ):  # fmt: skip
        assert check(template, tmp_path / "p", benign, dict.fromkeys(TEXT, text)), text


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_an_address_of_an_api_is_an_address(template: Path, tmp_path: Path, payload: str) -> None:
    """What is none, or holds more than one, is refused, and nothing is written."""
    for text in (payload, f"https://api.example.com/{payload}"):
        if re.fullmatch(r"(https://api[.]example[.]com/[A-Za-z0-9._~/-]*)?", text):
            continue
        with pytest.raises(ValueError, match=r"Write e\.g\. https://"):
            render(template, tmp_path / "p", backends=["api"], api_base_url=text)
        assert not (tmp_path / "p").exists() or not snapshot(tmp_path / "p")


def test_an_address_of_an_api_is_a_default_and_nothing_else(template: Path, tmp_path: Path) -> None:
    """It stands in the code as a text."""
    url = "https://api.example.com:8443/v1/~x"
    project = render(
        template, tmp_path / "p", backends=["api"], api_base_url=url, api_auth="bearer"
    )
    code = (project / "src/demo_server/api/answers.py").read_text(encoding="utf-8")
    found = {
        node.target.id: ast.literal_eval(node.value)
        for node in ast.parse(code).body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value
    }
    assert found == {"BASE_URL": url, "AUTH": "bearer"}


@pytest.mark.parametrize("name", ["a", "A B", "notes-server", "Notes Server 2", "a_b-c d"])
def test_a_project_name_gives_names_that_agree(template: Path, tmp_path: Path, name: str) -> None:
    """Package, command and variables follow from the name, in every file."""
    project = render(template, tmp_path / "p", project_name=name)
    package = re.sub("[ -]", "_", name.lower())
    metadata = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    assert (project / "src" / package / "__main__.py").is_file()
    assert metadata["project"]["name"] == package.replace("_", "-")
    assert list(metadata["project"]["scripts"].values()) == [f"{package}.__main__:main"]
    assert f"#{package.upper()}_READ_ONLY=" in (project / ".env.example").read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize("licence", ["MIT", "Apache-2.0", "Proprietary"])
def test_each_licence_names_its_owner(template: Path, tmp_path: Path, licence: str) -> None:
    """LICENSE is the text of the chosen licence, and pyproject.toml says the same."""
    project = render(template, tmp_path / "p", license=licence, author_name="Okapi Team")
    text = (project / "LICENSE").read_text(encoding="utf-8")
    spdx = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "license"
    ]
    assert ("Okapi Team" in text) is (licence != "Apache-2.0")
    assert spdx == {"Proprietary": "LicenseRef-Proprietary"}.get(licence, licence)


def shape(path: str, content: bytes) -> Any:
    """Return what may not depend on an answer: the tree, the keys and types, or the lines."""
    text = content.decode()
    match Path(path).suffix:
        case ".py":
            return ast.dump(ast.parse(text))
        case ".toml":
            return kinds(tomllib.loads(text))
        case ".yml" | ".yaml":
            return kinds(list(yaml.safe_load_all(text)))
        case ".json":
            return kinds(json.loads(text))
    # Where an answer stands, its line is text: what is left of it has no markup.
    return [line for line in text.split("\n") if line in FIXED_LINES] + [text.count("\n")]


def kinds(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: kinds(item) for key, item in value.items()}
    if isinstance(value, list):
        return [kinds(item) for item in value]
    return type(value).__name__


FIXED_LINES = {
    line
    for path in (Path(__file__).resolve().parents[1] / "template").rglob("*")
    if path.is_file() and not any(part.endswith(("_cache", "__pycache__")) for part in path.parts)
    for line in path.read_text(encoding="utf-8").split("\n")
}
