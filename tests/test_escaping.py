"""extensions/escaping.py as a whole: hostile answers in every language, and what Copier writes."""

from __future__ import annotations

import ast
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import copier
import pytest
import yaml
from conftest import ESCAPING, load_escaping, run, snapshot
from copier import Settings
from copier.errors import UserMessageError
from dotenv import dotenv_values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jinja2 import FileSystemLoader
from jinja2.sandbox import SandboxedEnvironment
from markdown_it import MarkdownIt

PAYLOADS = {
    "plain": "A server for notes",
    "empty": "",
    "space": " ",
    "spaces around": "  a  b  ",
    "double quote": 'a "b" c',
    "single quote": "a 'b' c",
    "both quotes": "a 'b\" c",
    "three double quotes": '"""',
    "three single quotes": "'''",
    "docstring escape": '"""; import os; """',
    "quote at the end": 'a"',
    "backslash at the end": "a\\",
    "two backslashes": "a\\\\",
    "backslash and quote": '\\"',
    "windows path": "C:\\new\\table\\x41\\u0041",
    "named character": "\\N{DIGIT ONE}",
    "newline": "a\nb",
    "newlines": "\n\na\n\n",
    "carriage return": "a\rb",
    "crlf": "a\r\nb",
    "tab": "a\tb",
    "vertical tab": "a\vb",
    "form feed": "a\fb",
    "NUL": "a\0b",
    "escape": "a\x1b[31mb",
    "bell": "\a\b",
    "delete": "a\x7fb",
    "next line": "a\x85b",
    "no-break space": "a\xa0b",
    "soft hyphen": "a\xadb",
    "line separator": "a\u2028b",
    "paragraph separator": "a\u2029b",
    "byte order mark": "\ufeffa\ufeff",
    "right to left": "a\u202e\u2066b\u2069",
    "zero width": "a\u200bb",
    "joiner": "a\u200db",
    "noncharacters": "a\ufffe\uffff\U0001ffffb",
    "private use": "a\ue000b",
    "high surrogate": "a\ud83d",
    "low surrogate": "\ude00a",
    "surrogates swapped": "\ude00\ud83d",
    "emoji": "a 😀 👨\u200d👩\u200d👧 ⚠️",
    "tag characters": "a\U000e0041b",
    "accents": "Ünïcödé 日本語 العربية",
    "combining": "e\u0301\u0301\u0301",
    "Jinja output": "{{ 7 * 7 }}",
    "Jinja tag": "{% include '/etc/passwd' %}",
    "Jinja comment": "{# a #}",
    "percent format": "%s %(a)s %d %%",
    "brace format": "{0} {a!r} {}",
    "comment": "# a",
    "comment after a value": "a # b",
    "Python code": "'+__import__('os').getcwd()+'",
    "TOML end": '"\n[tool.x]\na = "b',
    "TOML bracket": "]",
    "YAML pair": "a: b",
    "YAML item": "- a",
    "YAML document": "---",
    "YAML end": "...",
    "YAML anchor": "&a b",
    "YAML alias": "*a",
    "YAML tag": "!!python/object/apply:os.system ['id']",
    "YAML directive": "%YAML 1.1",
    "YAML boolean": "yes",
    "YAML null": "~",
    "YAML date": "2001-01-01",
    "YAML octal": "0o17",
    "YAML sexagesimal": "1:20",
    "YAML merge": "<<: *a",
    "JSON": '{"a": [1]}',
    "number": "1",
    "version": "1.10",
    "digits and a dot": "1. a",
    "digits and a bracket": "2) a",
    "digits": "2024",
    "workflow expression": "${{ github.token }}",
    "shell": "$(id) `id` ; id & id | id > /x",
    "variable": "$HOME ${HOME} %PATH%",
    "script": "</script><script>alert(1)</script>",
    "HTML": "<img src=x onerror=alert(1)>",
    "comment end": "--> a <!--",
    "CDATA end": "]]>",
    "entity": "&lt;b&gt; &#60; &amp",
    "link": "[a](javascript:alert(1))",
    "image": "![a](x)",
    "reference": "[a][b]\u0020[a]: x",
    "autolink": "<https://example.com> https://example.com www.example.com",
    "footnote": "[^1]",
    "heading": "# a",
    "heading end": "a #",
    "setext": "===",
    "rule": "***",
    "bullets": "* a + b - c",
    "quote": "> a",
    "code": "`a` ``b`` ```c```",
    "fence": "~~~",
    "emphasis": "*a* **b** _c_ __d__ ~~e~~",
    "table": "a | b || c",
    "math": "$x$ $$y$$",
    "shortcode": ":smile: ::: note",
    "alert": "[!NOTE] a",
    "hard break": "a\\  ",
    "marker": "mcp-name: io.example/evil",
    "stand-in": "zq0123456789abcdefx0x",
    "very long": "ab\"'\\ 😀" * 5000,
}
VISIBLE = {"\u200c", "\u200d"}


def has_surrogate(text: str) -> bool:
    """Whether a text holds a code point that UTF-8 cannot write."""
    return bool(re.search("[\ud800-\udfff]", text))


def is_line(text: str) -> bool:
    """Whether a text is one visible line."""
    return bool(text.strip()) and all(c.isprintable() or c in VISIBLE for c in text)


# language: file, template, whether it can hold a text, how to read the text back
Reader = Callable[[str], list[Any]]
LANGUAGES: dict[str, tuple[str, str, Callable[[str], bool], Reader]] = {
    "py": (
        "x.py",
        "A = {{ v | py }}\nB = [{{ v | py }}, *{{ [v, v] | py }}]\n",
        lambda text: True,
        lambda text: [
            node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)
        ],
    ),
    "toml": (
        "x.toml",
        "a = {{ v | toml }}\n[b]\nc = {{ [v, v] | toml }}\nd = [{{ v | toml }}]\n",
        lambda text: not has_surrogate(text),
        lambda text: (
            [tomllib.loads(text)["a"]]
            + tomllib.loads(text)["b"]["c"]
            + tomllib.loads(text)["b"]["d"]
        ),
    ),
    "yaml": (
        "x.yml",
        "a: {{ v | yaml }}\nb: {{ [v, v] | yaml }}\nc:\n- {{ v | yaml }} # end\n",
        lambda text: not has_surrogate(text),
        lambda text: (
            [yaml.safe_load(text)["a"]] + yaml.safe_load(text)["b"] + yaml.safe_load(text)["c"]
        ),
    ),
    "json": (
        "x.json",
        '{"a": [{{ v | json }}, {{ v | json }}], "b": {{ [v, v] | json }}}\n',
        lambda text: not has_surrogate(text),
        lambda text: json.loads(text)["a"] + json.loads(text)["b"],
    ),
    "dotenv": (
        ".env.example",
        "# comment\n" + "".join(f"{name}={{{{ v | dotenv }}}}\n" for name in "ABCD"),
        lambda text: is_line(text) and not set(text) & set("'\\$"),
        lambda text: list(dotenv_values(stream=io.StringIO(text)).values()),
    ),
    "text": (
        "LICENSE",
        "(c) {{ v | text }}\n(c) {{ v | text }}\n(c) {{ v | text }}\n(c) {{ v | text }}\n",
        is_line,
        lambda text: [line.removeprefix("(c) ") for line in text.split("\n")[:-1]],
    ),
}


class Renderer:
    """Renders one template file again and again, in one environment."""

    def __init__(self, root: Path, name: str, source: str) -> None:
        module = load_escaping(f"escaping_{root.name}")
        path = root / "template" / f"{name}.jinja"
        path.parent.mkdir(parents=True)
        path.write_text(source, "utf-8")
        environment = SandboxedEnvironment(
            loader=FileSystemLoader(root),
            keep_trailing_newline=True,
            extensions=[module.Escaping],
        )
        self.template = environment.get_template(f"template/{name}.jinja")

    def __call__(self, **answers: Any) -> str:
        return self.template.render(**answers)


@pytest.fixture(scope="module")
def renderers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Renderer]:
    """One renderer for each language."""
    return {
        kind: Renderer(tmp_path_factory.mktemp(kind), name, source)
        for kind, (name, source, _, _) in LANGUAGES.items()
    }


def check_answer(render: Renderer, kind: str, answer: str) -> None:
    """The file parses and gives the answer back four times, or one clean line says why not."""
    _, _, can_hold, read = LANGUAGES[kind]
    if not can_hold(answer):
        with pytest.raises(UserMessageError) as caught:
            render(v=answer)
        assert re.fullmatch(r"template/\S+:[12]: 'v' (holds|is empty)[ -~]+", caught.value.message)
        return
    text = render(v=answer)
    text.encode()  # Copier writes UTF-8
    expected = answer.strip() if kind == "text" else answer
    assert read(text) == [expected] * 4
    assert text.count("\n") == render(v="benign").count("\n")
    assert not [char for char in text if not char.isprintable() and char not in {"\n", *VISIBLE}]


@pytest.mark.promise("TPL-1")
@pytest.mark.parametrize("kind", LANGUAGES)
@pytest.mark.parametrize("answer", PAYLOADS.values(), ids=PAYLOADS.keys())
def test_a_hostile_answer_comes_back_unchanged_or_is_refused(
    renderers: dict[str, Renderer], kind: str, answer: str
) -> None:
    """In every language each payload is data, and stays the text that was typed."""
    check_answer(renderers[kind], kind, answer)


anything = st.text(st.characters(codec=None, exclude_categories=[]), max_size=30)
nasty = st.lists(
    st.sampled_from([*"\"'\\{}%#$`<>&-|[]()*_~:.!=+\n\r\t\0\x7f\x85\u2028\ufeff\ud800 a1", "---"]),
    max_size=12,
).map("".join)
pieces = st.lists(st.sampled_from(list(PAYLOADS.values())[:-1]), max_size=3).map("".join)
answers = st.one_of(anything, nasty, pieces)


@pytest.mark.promise("TPL-1")
@pytest.mark.parametrize("kind", LANGUAGES)
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(answer=answers)
def test_any_text_comes_back_unchanged_or_is_refused(
    renderers: dict[str, Renderer], kind: str, answer: str
) -> None:
    """What holds for the payloads holds for every Unicode text."""
    check_answer(renderers[kind], kind, answer)


@pytest.mark.promise("TPL-1")
def test_the_formatter_leaves_python_answers_as_they_are(renderers: dict[str, Renderer]) -> None:
    """A fresh render of any answer is stable under `ruff format`."""
    short = [answer for answer in PAYLOADS.values() if len(answer) < 50]
    lines = [renderers["py"](v=answer).split("\n")[0] for answer in short]
    source = "\n".join(lines) + "\n"
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length=320", "-"],
        input=source.encode(),
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode() == source


# --- Markdown: what a reader sees is the answer, and nothing but the answer. ---

MARKDOWN = """\
# {{ v | md }}

{{ v | md }}

before {{ v | md }} after

{{ v | md }}. {{ v | md }}) {{ v | md }}{{ v | md }}

- {{ v | md }}
  - *{{ v | md }}* text

> {{ v | md }}

| a | b |
| - | - |
|{{ v | md }}|{{ v | md }}|

text
{{ v | md }}
text
"""


class Seen(HTMLParser):
    """The tags of a page with their attributes, and the text between them."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[Any] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, attrs))

    def handle_endtag(self, tag: str) -> None:
        self.tags.append(tag)

    def handle_comment(self, data: str) -> None:
        self.tags.append(("comment", data))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def markdown(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], None]:
    """Check one answer in every place of a Markdown file."""
    render = Renderer(tmp_path_factory.mktemp("md"), "x.md", MARKDOWN)
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    benign = Seen(parser.render(render(v="benign")))

    def check(answer: str) -> None:
        if not is_line(answer):
            with pytest.raises(UserMessageError, match=r"^template/x\.md\.jinja:1: 'v' [ -~]+$"):
                render(v=answer)
            return
        seen = Seen(parser.render(render(v=answer)))
        assert seen.tags == benign.tags
        assert seen.text == benign.text.replace("benign", " ".join(answer.split()))

    return check


@pytest.mark.promise("TPL-1")
@pytest.mark.parametrize("answer", PAYLOADS.values(), ids=PAYLOADS.keys())
def test_a_hostile_answer_is_only_text_in_markdown(
    markdown: Callable[[str], None], answer: str
) -> None:
    """No payload becomes a link, image, heading, list, code, table cell, rule or HTML."""
    markdown(answer)


@pytest.mark.promise("TPL-1")
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(answer=answers)
def test_any_text_is_only_text_in_markdown(markdown: Callable[[str], None], answer: str) -> None:
    """What holds for the payloads holds for every Unicode text."""
    markdown(answer)


def test_ordinary_prose_stays_readable_in_markdown(tmp_path: Path) -> None:
    """Who edits the generated README finds the sentence as it was typed."""
    render = Renderer(tmp_path, "x.md", "{{ v | md }}\n")
    for prose in ("Notes of the team, read-only.", "It's a (small) server; 50% off?", "日本語: ok"):
        assert render(v=prose) == f"{prose}\n"


def test_a_bare_address_is_no_link_in_markdown(tmp_path: Path) -> None:
    """GitHub links what starts with www. or a protocol (GFM 6.9); a reference breaks that."""
    render = Renderer(tmp_path, "x.md", "{{ v | md }}\n")
    text = render(v="see www.example.com or https://example.com/a")
    assert text == "see www&#46;example&#46;com or https&#58;//example&#46;com/a\n"


# --- Through Copier. ---

QUESTIONS = """\
_subdirectory: template
_envops: {trim_blocks: true, lstrip_blocks: true, keep_trailing_newline: true}
_jinja_extensions:
  - copier_template_extensions.TemplateExtensionLoader
  - extensions/escaping.py:Escaping
description: {type: str, default: "a server"}
package_name: {type: str, default: "demo"}
extra: {type: bool, default: false}
names: {type: yaml, default: "[a, b]"}
"""
FILES = {
    "AAA.txt": "copied first, without Jinja\n",
    "src/{{ package_name }}/about.py.jinja": "ABOUT = {{ description | py }}\n",
    "pyproject.toml.jinja": (
        "[project]\nname = {{ package_name | toml }}\ndescription = {{ description | toml }}\n"
        "names = {{ names | toml }}\n"
    ),
    "server.json.jinja": '{"description": {{ description | json }}}\n',
    "config.yml.jinja": "description: {{ description | yaml }}\n",
    "{% if extra %}extra{% endif %}/more.toml.jinja": "a = {{ description | toml }}\n",
    "{{ _copier_conf.answers_file }}.jinja": "# answers\n{{ _copier_answers | yaml }}\n",
}
HOSTILE = '"\'\'\'""" \\ {{ 1 }} ${{ x }} \n- a: b # <!-- \u2028\u202e\x7f\x85\ufeff😀 --> \0'


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A small template with this extension and one file of each language."""
    root = tmp_path / "template-repository"
    (root / "extensions").mkdir(parents=True)
    shutil.copy(ESCAPING, root / "extensions")
    (root / "copier.yml").write_text(QUESTIONS)
    for name, source in FILES.items():
        add(root, name, source)
    return root


def add(root: Path, name: str, source: str | bytes) -> None:
    """Write one file of the template."""
    path = root / "template" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(source.encode() if isinstance(source, str) else source)


def generate(template: Path, project: Path, **answers: Any) -> None:
    """Run `copier copy --trust --defaults`."""
    copier.run_copy(
        str(template),
        project,
        data=answers,
        defaults=True,
        overwrite=True,
        unsafe=True,
        quiet=True,
        settings=Settings(),
    )


def update(project: Path, **options: Any) -> None:
    """Run `copier update --trust --defaults`."""
    copier.run_update(
        project,
        defaults=True,
        overwrite=True,
        unsafe=True,
        quiet=True,
        settings=Settings(),
        **options,
    )


def commit(root: Path, tag: str) -> None:
    """Commit everything and tag it."""
    if not (root / ".git").exists():
        run("git", "init", "--quiet", "--initial-branch=main", cwd=root)
    run("git", "add", "--all", cwd=root)
    run("git", "commit", "--quiet", "--message", tag, cwd=root)
    run("git", "tag", tag, cwd=root)


@pytest.mark.promise("TPL-1")
def test_copier_writes_hostile_answers_as_data_and_reads_its_answers_back(
    template: Path, tmp_path: Path
) -> None:
    """All languages, file names and the answers file, by the real command."""
    project = tmp_path / "project"
    answers = {"description": HOSTILE, "extra": True, "names": [HOSTILE, "b"]}
    generate(template, project, **answers)
    module = ast.parse((project / "src/demo/about.py").read_text("utf-8"))
    assert ast.literal_eval(module.body[0].value) == HOSTILE  # type: ignore[attr-defined]
    data = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))
    assert data["project"] == {"name": "demo", "description": HOSTILE, "names": [HOSTILE, "b"]}
    assert json.loads((project / "server.json").read_text("utf-8")) == {"description": HOSTILE}
    assert yaml.safe_load((project / "config.yml").read_text("utf-8")) == {"description": HOSTILE}
    assert tomllib.loads((project / "extra/more.toml").read_text("utf-8")) == {"a": HOSTILE}
    saved = yaml.safe_load((project / ".copier-answers.yml").read_text("utf-8"))
    assert saved == {"_src_path": str(template), "package_name": "demo", **answers}
    before = snapshot(project)
    copier.run_recopy(
        project, defaults=True, overwrite=True, unsafe=True, quiet=True, settings=Settings()
    )
    assert snapshot(project) == before


@pytest.mark.promise("TPL-1")
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(value=st.dictionaries(st.text("ab_", min_size=1), answers | st.lists(answers), max_size=4))
def test_any_answers_come_back_from_the_answers_file(
    answers_file: Renderer, value: dict[str, Any]
) -> None:
    """Block YAML of any answers is loaded by Copier as the same answers."""
    assert yaml.safe_load(answers_file(_copier_answers=value).encode()) == value


@pytest.fixture(scope="module")
def answers_file(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    """The answers file, rendered apart from Copier."""
    source = "# answers\n{{ _copier_answers | yaml }}\n"
    return Renderer(tmp_path_factory.mktemp("answers"), ".copier-answers.yml", source)


BAD = {
    "no filter": ("zzz.toml.jinja", "a = {{ description }}\n"),
    "unknown kind": ("zzz.cfg.jinja", "a = 1\n"),
    "undefined name": ("zzz.toml.jinja", "a = {{ misspelt | toml }}\n"),
    "wrong place": ("zzz.toml.jinja", "# {{ description | toml }}\n"),
    "no TOML": ("zzz.toml.jinja", "a = \n"),
    "not a name": ("zzz.toml.jinja", "a = '{{ description | ident }}'\n"),
    "syntax error": ("zzz.toml.jinja", "a = {{ description \n"),
    "not UTF-8": ("zzz.toml.jinja", b"a = '\xff'\n"),
    "unmet condition": ("{% if extra %}z{% endif %}/zzz.toml.jinja", "a = {{ description }}\n"),
    "undefined name of a file": ("{{ misspelt }}zzz.txt", "text\n"),
    "undefined name of a folder": ("{% if misspelt %}zzz{% endif %}/a.txt", "text\n"),
    "malformed name of a file": ("{{ zzz.txt", "text\n"),
}


@pytest.mark.promise("TPL-2")
@pytest.mark.parametrize(("name", "source"), BAD.values(), ids=BAD.keys())
def test_one_bad_file_and_nothing_is_written(
    template: Path, tmp_path: Path, name: str, source: str | bytes
) -> None:
    """Neither a new folder nor a file in an existing one, not even those that come first."""
    add(template, name, source)
    with pytest.raises(UserMessageError, match=r"^template/[^\n]*zzz[^\n]+$"):
        generate(template, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    existing = tmp_path / "existing"
    existing.mkdir()
    (existing / "mine.txt").write_text("mine")
    with pytest.raises(UserMessageError):
        generate(template, existing)
    assert snapshot(existing) == {"mine.txt": b"mine"}


@pytest.mark.promise("TPL-2")
def test_files_that_are_only_copied_wait_for_the_check_too(template: Path, tmp_path: Path) -> None:
    """The check does not wait for the first file that is rendered: here there is none."""
    shutil.rmtree(template / "template")
    add(template, "AAA.txt", "only copied\n")
    add(template, "{% if extra %}z{% endif %}/zzz.toml.jinja", "a = {{ description }}\n")
    with pytest.raises(UserMessageError, match="zzz"):
        generate(template, tmp_path / "new")


@pytest.mark.promise("TPL-2")
def test_a_bad_answer_writes_nothing_and_says_what_to_type(template: Path, tmp_path: Path) -> None:
    """The command prints one line that names the file, the line and the question; exit code 1."""
    add(template, "zzz.md.jinja", "\n{{ description | md }}\n")
    command = [sys.executable, "-m", "copier", "copy", "--trust", "--defaults", "--quiet"]
    command += ["--data", "description=a\x1bb", str(template), str(tmp_path / "new")]
    (tmp_path / "settings.yml").write_text("{}")
    environment = {**os.environ, "COPIER_SETTINGS_PATH": str(tmp_path / "settings.yml")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    message = (
        "template/zzz.md.jinja:2: 'description' holds the invisible character U+001B: remove it"
    )
    assert done.returncode == 1
    assert re.sub(r"\x1b\[[0-9;]*m", "", done.stderr).strip() == message
    assert not (tmp_path / "new").exists()


@pytest.mark.promise("TPL-2", "TPL-4")
@pytest.mark.parametrize("pretend", [False, True])
@pytest.mark.parametrize(("name", "source"), BAD.values(), ids=BAD.keys())
def test_an_update_to_a_version_with_a_bad_file_changes_nothing(
    template: Path, tmp_path: Path, name: str, source: str | bytes, pretend: bool
) -> None:
    """The project keeps its files, and its answers file keeps naming the old version."""
    commit(template, "1.0.0")
    project = tmp_path / "project"
    generate(template, project)
    commit(project, "made")
    before = snapshot(project)
    add(template, "AAA.txt", "copied first, changed\n")
    add(template, "config.yml.jinja", "more: 1\ndescription: {{ description | yaml }}\n")
    add(template, name, source)
    commit(template, "2.0.0")
    with pytest.raises(UserMessageError, match="zzz"):
        update(project, pretend=pretend)
    assert snapshot(project) == before
    assert run("git", "status", "--porcelain", cwd=project) == ""
    assert yaml.safe_load(before[".copier-answers.yml"])["_commit"] == "1.0.0"


@pytest.mark.promise("TPL-4")
def test_an_update_with_hostile_answers_equals_a_fresh_render(
    template: Path, tmp_path: Path
) -> None:
    """Old and new version are both rendered in temporary folders, by their own extension."""
    commit(template, "1.0.0")
    project, fresh = tmp_path / "project", tmp_path / "fresh"
    answers = {"description": HOSTILE, "names": [HOSTILE]}
    generate(template, project, **answers)
    commit(project, "made")
    add(template, "config.yml.jinja", "more: 1\ndescription: {{ description | yaml }}\n")
    add(template, "new.py.jinja", "A = {{ description | py }}\n")
    commit(template, "2.0.0")
    update(project, pretend=True)
    assert run("git", "status", "--porcelain", cwd=project) == ""
    update(project)
    generate(template, fresh, **answers)
    assert snapshot(project) == snapshot(fresh)
    assert "A = " in (project / "new.py").read_text("utf-8")


def test_a_file_under_an_unmet_condition_is_not_rendered(template: Path, tmp_path: Path) -> None:
    """Its answers may not exist; it is rendered, and checked, once the condition is met."""
    add(template, "{% if extra %}z{% endif %}/zzz.toml.jinja", "a = {{ missing.a | toml }}\n")
    generate(template, tmp_path / "without")
    assert not (tmp_path / "without" / "z").exists()
    with pytest.raises(UserMessageError, match=r"zzz\.toml\.jinja:1: 'missing' is undefined"):
        generate(template, tmp_path / "with", extra=True)
    assert not (tmp_path / "with").exists()


@pytest.mark.promise("TPL-2")
def test_a_failed_preflight_is_not_forgotten(tmp_path: Path) -> None:
    """Whoever catches the error and goes on meets it again."""
    render = Renderer(tmp_path, "x.toml", "a = {{ v | toml }}\n")
    (tmp_path / "template" / "z.toml.jinja").write_text("a = {{ v }}\n")
    for _ in range(2):
        with pytest.raises(UserMessageError, match=r"z\.toml\.jinja:1"):
            render(v="a")


def test_names_rendered_while_a_file_is_rendered_hold_no_stand_in(tmp_path: Path) -> None:
    """Copier renders the name of the answers file when a template asks for it."""
    render = Renderer(tmp_path, "x.toml", "a = {{ (v ~ late.name) | toml }}\n")
    environment = render.template.environment

    class Late:
        @property
        def name(self) -> str:
            return environment.from_string("{{ v | slug }}").render(v="slug")

    assert render(v="a", late=Late()) == 'a = "aslug"\n'
    comment = Renderer(tmp_path / "b", "x.toml", "# {{ (v ~ late.name) | toml }}\n")
    environment = comment.template.environment
    with pytest.raises(UserMessageError, match="must stand alone"):
        comment(v="a", late=Late())


def test_a_misspelt_name_in_a_file_name_is_an_error(template: Path, tmp_path: Path) -> None:
    """Copier would drop a file whose name is empty."""
    add(template, "{{ misspelt }}.toml.jinja", "a = 1\n")
    with pytest.raises(UserMessageError, match="'misspelt' is undefined"):
        generate(template, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_preflight_does_not_check_a_file_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second render of the same answers is compared with the first, not parsed again."""
    render = Renderer(tmp_path, "x.toml", "a = {{ v | toml }}\n")
    module = sys.modules[f"escaping_{tmp_path.name}"]
    checked: list[str] = []
    monkeypatch.setattr(module, "check_syntax", lambda name, text: checked.append(text))
    assert render(v="a") == render(v="a") == 'a = "a"\n'
    assert render(v="b") == 'a = "b"\n'
    assert checked == ['a = "a"\n', 'a = "b"\n']


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        *[(name, True) for name in ("json", "class", "con", "com1", "mcp", "tests", "yes")],
        *[(name, False) for name in ("notes_server", "jsonx", "my_mcp", "console")],
    ],
)
def test_a_taken_name_is_recognised(tmp_path: Path, name: str, taken: bool) -> None:
    """For the validators: names of modules, reserved words, devices of Windows."""
    environment = Renderer(tmp_path, "x.toml", "").template.environment
    assert environment.call_test("taken_name", name) is taken


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(answer=answers)
def test_what_the_validators_accept_the_prose_filters_accept(
    renderers: dict[str, Renderer], answer: str
) -> None:
    """An answer is refused at its question, not later: `printable_line` is the filters' rule."""
    environment = renderers["text"].template.environment
    if environment.call_test("printable_line", answer) and answer.strip():
        renderers["text"](v=answer)
    else:
        with pytest.raises(UserMessageError):
            renderers["text"](v=answer)
