"""Each layer of extensions/escaping.py alone, with the other two switched off."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import load_escaping
from copier._jinja_ext import YieldExtension
from copier.errors import UserMessageError
from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.compiler import CodeGenerator
from jinja2.sandbox import SandboxedEnvironment
from markupsafe import Markup

EXTENSIONS = ["jinja2.ext.i18n", "jinja2.ext.do", "jinja2.ext.loopcontrols", "jinja2.ext.debug"]
Render = Callable[..., str]


@pytest.fixture
def escaping() -> ModuleType:
    """The extension, executed afresh."""
    return load_escaping("escaping_under_test")


def environment(root: Path, *extensions: Any) -> SandboxedEnvironment:
    """An environment with Copier's options and every tag Jinja ships."""
    return SandboxedEnvironment(
        loader=FileSystemLoader(root),
        keep_trailing_newline=True,
        extensions=[*EXTENSIONS, YieldExtension, *extensions],
    )


def write(root: Path, name: str, source: str) -> str:
    """Write the only file of a template, return its name for Jinja."""
    shutil.rmtree(root / "template", ignore_errors=True)
    path = root / "template" / f"{name}.jinja"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source, "utf-8")
    return f"template/{name}.jinja"


@pytest.fixture
def render(escaping: ModuleType, tmp_path: Path) -> Render:
    """Render one file with all layers."""

    def render(name: str, source: str, **answers: Any) -> str:
        name = write(tmp_path, name, source)
        return environment(tmp_path, escaping.Escaping).get_template(name).render(**answers)

    return render


@pytest.fixture
def compiled(escaping: ModuleType, tmp_path: Path) -> Callable[[str, str], None]:
    """Compile one file in an environment that has the first layer and nothing else of ours."""

    def compiled(name: str, source: str) -> None:
        env = environment(tmp_path)
        env.code_generator_class = escaping.StrictCodeGenerator
        env.filters.update(dict.fromkeys(escaping.FILTERS, str))
        env.get_template(write(tmp_path, name, source))

    return compiled


@pytest.fixture
def unchecked(escaping: ModuleType, tmp_path: Path) -> Render:
    """Render one file without the first layer; a test switches off another one by name."""

    def unchecked(name: str, source: str, **answers: Any) -> str:
        name = write(tmp_path, name, source)
        env = environment(tmp_path, escaping.Escaping)
        env.code_generator_class = CodeGenerator
        return env.get_template(name).render(**answers)

    return unchecked


def off(*_: object) -> None:
    """A layer that is switched off."""


# --- Layer 1. ---

ROUTES = {
    "no filter": "{{ v }}",
    "print": "{% print v %}",
    "print of two": "{% print v | toml, v %}",
    "another filter": "{{ v | upper }}",
    "a filter after ours": "{{ v | toml | upper }}",
    "marked safe": "{{ v | toml | safe }}",
    "a filter of another language": "{{ v | py }}",
    "arguments": "{{ v | toml(1) }}",
    "keyword arguments": "{{ v | toml(line=1) }}",
    "unpacked arguments": "{{ v | toml(*[1]) }}",
    "unpacked keyword arguments": "{{ v | toml(**{'line': 1}) }}",
    "one branch of a condition": "{{ v if c else v | toml }}",
    "the other branch": "{{ v | toml if c else v }}",
    "a nested branch": "{{ v | toml if c else (v if d else v | toml) }}",
    "no else": "{{ v | toml if c }}",
    "format": "{{ '%s'.format(v | toml) }}",
    "modulo": "{{ '%s' % (v | toml) }}",
    "concatenation, left": "{{ (v | toml) ~ v }}",
    "concatenation, right": "{{ v ~ v | toml }}",
    "addition": "{{ v + v | toml }}",
    "or": "{{ v or v | toml }}",
    "and": "{{ v and (v | toml) }}",
    "not": "{{ not v | toml }}",
    "tuple": "{{ v, v | toml }}",
    "list": "{{ [v | toml] }}",
    "dict": "{{ {'a': v | toml} }}",
    "subscript": "{{ (v | toml)[0] }}",
    "slice": "{{ (v | toml)[1:] }}",
    "attribute": "{{ (v | toml).upper }}",
    "method": "{{ (v | toml).upper() }}",
    "test": "{{ v | toml is string }}",
    "comparison": "{{ v | toml == v }}",
    "constant": "{{ 'text' }}",
    "folded constant": "{{ 'a' ~ 'b' }}",
    "number": "{{ 1 }}",
    "loop variable": "{% for i in v %}{{ loop.index }}{% endfor %}",
    "recursive loop": "{% for i in v recursive %}{{ loop(i) }}{% endfor %}",
    "dead branch": "{% if false %}{{ v }}{% endif %}",
    "else branch": "{% if true %}{% else %}{{ v }}{% endif %}",
    "elif branch": "{% if true %}{% elif v %}{{ v }}{% endif %}",
    "empty loop": "{% for i in [] %}{% else %}{{ v }}{% endfor %}",
    "after extends": "{% extends 'x' %}{{ v }}",
    "variable": "{% set x = v %}{{ x }}",
    "escaped variable": "{% set x = v | toml %}{{ x }}",
    "escaped in a condition": "{% if v | toml %}{% endif %}",
    "escaped in a loop": "{% for i in v | toml %}{% endfor %}",
    "twice": "{{ (v | toml) | toml }}",
    "set block": "{% set x %}text{% endset %}",
    "set block with filter": "{% set x | toml %}text{% endset %}",
    "namespace": "{% set ns = namespace(x=v) %}{{ ns.x }}",
    "call": "{{ v() }}",
    "cycler": "{{ cycler(v).next() }}",
    "macro": "{% macro m(x) %}{{ x | toml }}{% endmacro %}",
    "macro call": "{{ m(v) }}",
    "call block": "{% call v() %}x{% endcall %}",
    "caller": "{{ caller() }}",
    "filter block": "{% filter toml %}text{% endfilter %}",
    "with block": "{% with x = v %}{% endwith %}",
    "autoescape": "{% autoescape true %}{{ v | toml }}{% endautoescape %}",
    "include": "{% include 'template/secret' %}",
    "include of a variable": "{% include v ignore missing %}",
    "import": "{% import 'template/secret' as s %}",
    "from import": "{% from 'template/secret' import s %}",
    "extends": "{% extends 'template/secret' %}",
    "block": "{% block b %}text{% endblock %}",
    "super": "{{ super() }}",
    "self": "{{ self.b() }}",
    "trans": "{% trans %}text{% endtrans %}",
    "trans with variable": "{% trans x=v %}{{ x }}{% endtrans %}",
    "gettext": "{{ gettext('%(x)s', x=v) }}",
    "do": "{% do v.append(1) %}",
    "break": "{% for i in v %}{% break %}{% endfor %}",
    "continue": "{% for i in v %}{% continue %}{% endfor %}",
    "debug": "{% debug %}",
    "yield": "{% yield x from v %}{{ x }}{% endyield %}",
}


@pytest.mark.promise("TPL-1")
@pytest.mark.parametrize("source", ROUTES.values(), ids=ROUTES.keys())
def test_every_way_to_write_a_value_unescaped_is_refused_with_its_line(
    compiled: Callable[[str, str], None], source: str
) -> None:
    """No tag or expression writes a value that did not go through the filter of the language."""
    with pytest.raises(UserMessageError, match=r"^template/x\.toml\.jinja:3: [^\n]+$"):
        compiled("x.toml", f"# one\n# two\n{source}\n")


@pytest.mark.promise("TPL-1")
@pytest.mark.parametrize(
    "source",
    [
        "a = {{ v | toml }}",
        "a = {% print v | toml %}",
        "a = {{ v | upper | toml }}",
        "a = {{ (v ~ v) | toml }}",
        "a = {{ (v if c else d) | toml }}",
        "a = {{ v | toml if c else d | toml }}",
        "a = {{ v | toml if c else (d | ident if e else f | slug) }}",
        "[{{ v | ident }}]",
        "{% for b in v %}{% if b %}{{ b | toml }}{% else %}{{ b | slug }}{% endif %}{% endfor %}",
        "{% set x = v ~ v %}{{ x | toml }}",
        "{# a comment #}{% raw %}{{ v }}{% endraw %}",
    ],
)
def test_a_value_with_the_filter_of_the_language_compiles(
    compiled: Callable[[str, str], None], source: str
) -> None:
    """The rule does not refuse what is escaped."""
    compiled("x.toml", source)


@pytest.mark.promise("TPL-1")
@pytest.mark.parametrize(
    "name",
    [
        "noSuffix",
        "run.bash",
        "x.html",
        "x.PY",
        "requirements.txt",
        "Makefile",
        "py",
        ".py.bak",
        "{{ v }}",
        "{% if v %}x.py{% else %}x.sh{% endif %}",
        "{% if v %}x{% endif %}.unknown",
        "{% if v %}{% if w %}x.py{% endif %}{% endif %}",
        "{% set x = 1 %}x.py",
    ],
)
def test_a_file_without_a_rule_is_refused_even_without_an_output(
    compiled: Callable[[str, str], None], name: str
) -> None:
    """An unknown kind of file is refused by default."""
    with pytest.raises(UserMessageError, match=r":1: no rule for escaping"):
        compiled(name, "only text\n")


@pytest.mark.promise("TPL-1")
@pytest.mark.parametrize(
    ("name", "filters"),
    [
        ("x.py", "py"),
        ("{% if v %}x.py{% endif %}", "py"),
        ("{{ v }}.py", "py"),
        ("x.toml", "toml"),
        ("x.yml", "yaml"),
        ("x.yaml", "yaml"),
        ("{{ _copier_conf.answers_file }}", "yaml"),
        ("{{_copier_conf.answers_file}}", "yaml"),
        ("x.json", "json"),
        ("x.md", "md"),
        (".env.example", "dotenv"),
        ("LICENSE", "text"),
        ("{% if v %}LICENSE{% endif %}", "text"),
        ("LICENSE.txt", "text"),
        ("x.sh", ""),
        ("Dockerfile", ""),
    ],
)
def test_a_file_takes_the_filters_of_its_language_and_no_other(
    escaping: ModuleType, compiled: Callable[[str, str], None], name: str, filters: str
) -> None:
    """A filter made for another language is refused; the three for bare names work everywhere."""
    allowed = {filters, "ident", "slug", "envname"}
    for candidate in escaping.FILTERS:
        if candidate in allowed:
            compiled(name, f"{{{{ v | {candidate} }}}}")
        else:
            with pytest.raises(UserMessageError, match=f"must end in one of: .*{filters}"):
                compiled(name, f"{{{{ v | {candidate} }}}}")


# --- Layer 2. ---

MALFORMED = [
    ("x.py", 'A = "{{ v }}"\n', '"'),
    ("x.py", 'A = "{{ v }}"\n', "\n"),
    ("x.py", 'A = "{{ v }}"\n', "\0"),
    ("x.py", "def {{ v }}(): ...\n", "class"),
    ("x.toml", 'a = "{{ v }}"\n', '"'),
    ("x.toml", 'a = "{{ v }}"\n', "\x7f"),
    ("x.yml", 'a: "{{ v }}"\n', '"'),
    ("x.yml", "a: {{ v }}\n", "b: c"),
    ("x.yml", "a: {{ v }}\n", "!!python/object:os.system"),
    ("x.yml", "a: {{ v }}\n", "\x00"),
    ("x.json", '{"a": "{{ v }}"}\n', '"'),
    ("x.json", '{"a": "{{ v }}"}\n', "\n"),
    (".env.example", "A={{ v }}\n", "\nrm -rf"),
    (".env.example", "A={{ v }}\n", "\nA=2"),
]


@pytest.mark.promise("TPL-2")
@pytest.mark.parametrize(("name", "source", "answer"), MALFORMED)
def test_a_file_that_does_not_parse_is_refused(
    escaping: ModuleType,
    unchecked: Render,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    source: str,
    answer: str,
) -> None:
    """With layers 1 and 3 off, output that is no file of its language is refused in one line."""
    monkeypatch.setattr(escaping, "check_shape", off)
    with pytest.raises(UserMessageError, match=r"^[^\n]+ rendered file is not valid [^\n\0]+$"):
        unchecked(name, source, v=answer)
    monkeypatch.setattr(escaping, "check_syntax", off)
    assert unchecked(name, source, v=answer), "without layer 2 nothing refuses it"


# --- Layer 3. ---

# An escaper that only adds quotes, as many templates do, and an answer that stays well-formed.
INJECTIONS = [
    ("x.py", "py", "A = {{ v | py }}\n", '" + __import__("os").name + "'),
    ("x.py", "py", "A = {{ v | py }}\n", '"; import os; B = "'),
    ("x.py", "py", "A = {{ v | py }}\n", "\\n"),
    ("x.py", "py", "A = {{ v | py }}\n", '" #'),
    ("x.toml", "toml", "a = {{ v | toml }}\n", '"\nb = "'),
    ("x.toml", "toml", "a = [{{ v | toml }}]\n", '", "'),
    ("x.yml", "yaml", "a: {{ v | yaml }}\n", '"\nb: "'),
    ("x.yml", "yaml", "a: {{ v | yaml }}\n", "\\x41"),
    ("x.json", "json", '{"a": {{ v | json }}}\n', '", "b": "'),
    ("x.json", "json", '{"b": 1, "a": {{ v | json }}}\n', '", "b": "'),
    (".env.example", "dotenv", "A={{ v | dotenv }}\n", '"\nB="'),
    ("LICENSE", "text", "(c) {{ v | text }}\n", "me\nyou"),
    ("x.md", "md", "{{ v | md }}\n", "me\n# you"),
]


@pytest.mark.promise("TPL-1")
@pytest.mark.parametrize(("name", "kind", "source", "answer"), INJECTIONS)
def test_a_filter_with_a_bug_cannot_change_the_structure(
    escaping: ModuleType,
    unchecked: Render,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    kind: str,
    source: str,
    answer: str,
) -> None:
    """With layers 1 and 2 off, an answer that adds code, keys or lines is refused."""

    def naive(text: str) -> str:
        return f'"{text}"' if kind not in {"md", "text"} else text

    monkeypatch.setitem(escaping.FILTERS, kind, naive)
    monkeypatch.setattr(escaping, "check_syntax", off)
    with pytest.raises(UserMessageError, match=r"^[^\n]*(change the structure|stand alone)[^\n]*$"):
        unchecked(name, source, v=answer)
    monkeypatch.undo()
    monkeypatch.setitem(escaping.FILTERS, kind, naive)
    monkeypatch.setattr(escaping, "check_shape", off)
    assert unchecked(name, source, v=answer), "the file parses: only layer 3 sees it"


@pytest.mark.promise("TPL-1")
def test_a_filter_that_loses_a_character_is_refused(
    escaping: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer itself is compared, also after another answer that gave the same file."""
    monkeypatch.setitem(escaping.FILTERS, "toml", lambda text: f'"{text.replace("!", "")}"')
    name = write(tmp_path, "x.toml", "a = {{ v | toml }}\n")
    template = environment(tmp_path, escaping.Escaping).get_template(name)
    assert template.render(v="a") == 'a = "a"\n'
    with pytest.raises(UserMessageError, match="structure"):
        template.render(v="a!")


WRONG_PLACES = {
    "Python comment": ("x.py", "A = 1  # {{ v | py }}\n"),
    "Python docstring": ("x.py", '"""About {{ v | py }}."""\n'),
    "Python string": ("x.py", "A = '{{ v | py }}'\n"),
    "Python long string": ("x.py", "A = '''{{ v | py }}'''\n"),
    "Python f-string": ("x.py", "A = f'{{ v | py }}'\n"),
    "Python f-string prefix": ("x.py", "A = f{{ v | py }}\n"),
    "Python bytes": ("x.py", "A = b{{ v | py }}\n"),
    "Python joined strings": ("x.py", "A = 'x' {{ v | py }}\n"),
    "TOML comment": ("x.toml", "a = 1 # {{ v | toml }}\n"),
    "TOML key": ("x.toml", "{{ v | toml }} = 1\n"),
    "TOML table": ("x.toml", "[{{ v | toml }}]\n"),
    "TOML literal string": ("x.toml", "a = '{{ v | toml }}'\n"),
    "TOML long string": ("x.toml", 'a = """{{ v | toml }}"""\n'),
    "YAML comment": ("x.yml", "a: 1 # {{ v | yaml }}\n"),
    "YAML key": ("x.yml", "{{ v | yaml }}: 1\n"),
    "YAML single quotes": ("x.yml", "a: '{{ v | yaml }}'\n"),
    "YAML plain scalar": ("x.yml", "a: about {{ v | yaml }}\n"),
    "YAML block scalar": ("x.yml", "a: |\n  {{ v | yaml }}\n"),
    "YAML folded scalar": ("x.yml", "a: >\n  {{ v | yaml }}\n"),
    "YAML alias": ("x.yml", "a: &x {{ v | yaml }}\nb: *x\n"),
    "YAML key that is repeated": ("x.yml", "a: {{ v | yaml }}\na: 1\n"),
    "JSON key": ("x.json", "{ {{ v | json }}: 1}\n"),
    "JSON key that is repeated": ("x.json", '{"a": {{ v | json }}, "a": 1}\n'),
    ".env comment": (".env.example", "# A={{ v | dotenv }}\n"),
    ".env comment after a value": (".env.example", "A=1 # {{ v | dotenv }}\n"),
    ".env part of a value": (".env.example", "A=x{{ v | dotenv }}\n"),
}


@pytest.mark.promise("TPL-1")
@pytest.mark.parametrize(("name", "source"), WRONG_PLACES.values(), ids=WRONG_PLACES.keys())
def test_the_right_filter_in_the_wrong_place_is_refused(
    escaping: ModuleType,
    unchecked: Render,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    source: str,
) -> None:
    """A harmless answer is refused too where the file does not load it as a value of its own."""
    monkeypatch.setattr(escaping, "check_syntax", off)
    with pytest.raises(UserMessageError, match=r"^template/[^\n]+:1: the value must stand alone"):
        unchecked(name, source, v="text")


@pytest.mark.promise("TPL-1")
@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("x.toml", 'a = "{{ v | toml }}"\n'),
        ("x.yml", 'a: "{{ v | yaml }}"\n'),
        ("x.json", '{"a": "{{ v | json }}"}\n'),
        ("x.py", 'A = """{{ v | py }}"""\n'),
        ("x.py", "def {{ v | py }}(): ...\n"),
        ("x.yml", "a: !!int {{ v | yaml }}\n"),
    ],
)
def test_a_filter_where_no_value_can_stand_is_refused(
    escaping: ModuleType,
    unchecked: Render,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    source: str,
) -> None:
    """Quotes around a filter that brings its own break the file for every answer."""
    monkeypatch.setattr(escaping, "check_syntax", off)
    with pytest.raises(UserMessageError, match="is not valid"):
        unchecked(name, source, v="text")


@pytest.mark.promise("TPL-1")
@pytest.mark.parametrize(
    ("name", "source", "answer"),
    [
        ("x.yml", "a: {{ v | py }}\n", '"\n'),  # single quotes: \n is two characters in YAML
        ("x.py", "A = {{ v | json }}\n", "\U000e0001"),  # a surrogate pair is two characters
        ("x.yml", "a: {{ v | json }}\n", "\U000e0001"),
        ("x.toml", "a = {{ v | json }}\n", "\U000e0001"),
        ("x.yml", "a: {{ v | dotenv }}\n", "# a"),
        ("x.py", "A = r{{ v | py }}\n", "\n"),
        ("x.toml", "a = {{ v | yaml }}\n", {"b": 1}),
        ("x.json", '{"a": {{ v | py }}}\n', True),
    ],
)
def test_a_filter_of_another_language_is_refused_when_it_matters(
    escaping: ModuleType,
    unchecked: Render,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    source: str,
    answer: object,
) -> None:
    """Even without layer 1, a value that the file would give back differently is refused."""
    if answer == "# a":
        monkeypatch.setitem(escaping.FILTERS, "dotenv", str)  # no quotes at all
    monkeypatch.setattr(escaping, "check_syntax", off)
    with pytest.raises(UserMessageError, match=r"structure|stand alone|not valid"):
        unchecked(name, source, v=answer)


@pytest.mark.promise("TPL-1")
@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("x.toml", "a = {{ v | toml | upper }}\n"),
        ("x.toml", "a = {{ (v | toml)[1:] }}\n"),
        ("x.toml", "a = {{ [v] | map('toml') | join | toml }}\n"),
        ("x.toml", "{% set x = v | toml %}a = {{ x }}\nb = {{ x }}\n"),
        ("x.toml", "{% if v | toml %}a = 1\n{% endif %}"),
        ("x.md", "{{ v | md }} {{ v | md | lower | replace('x', 'y') }}\n"),
    ],
)
def test_an_escaped_value_that_is_changed_or_dropped_later_is_refused(
    escaping: ModuleType,
    unchecked: Render,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    source: str,
) -> None:
    """What a filter of ours returned must reach the file once, as it is."""
    monkeypatch.setattr(escaping, "check_syntax", off)
    monkeypatch.setattr(escaping, "check_shape", off)
    with pytest.raises(UserMessageError, match="must be written once, unchanged"):
        unchecked(name, source, v="text")


@pytest.mark.promise("TPL-1")
@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("x.yml", "{{ a | ident }}: 1\n{{ b | ident }}: 2\n"),
        ("x.json", '{"{{ a | ident }}": 1, "{{ b | ident }}": 2}\n'),
        ("x.toml", "{{ a | ident }} = 1\n{{ b | ident }} = 2\n"),
        (".env.example", "{{ a | ident }}=1\n{{ b | ident }}=2\n"),
    ],
)
def test_two_names_that_are_equal_do_not_hide_each_other(
    render: Render, name: str, source: str
) -> None:
    """Names that become the same key are refused, not merged."""
    with pytest.raises(UserMessageError):
        render(name, source, a="same", b="same")


MARKDOWN_PLACES = {
    "code span": "`{{ v | md }}`\n",
    "code span over two lines": "`a\n{{ v | md }}\nb`\n",
    "fence": "```sh\n{{ v | md }}\n```\n",
    "fence with blank lines": "```sh\n\n{{ v | md }}\n\n```\n",
    "tilde fence": "~~~\n\n{{ v | md }}\n\n~~~\n",
    "tilde fence with backticks": "~~~\n```\n\n{{ v | md }}\n\n~~~\n",
    "indented code": "text\n\n    {{ v | md }}\n",
    "code after a tab": "text\n\n\t{{ v | md }}\n",
    "comment": "<!-- {{ v | md }} -->\n",
    "comment with blank lines": "<!--\n\n{{ v | md }}\n\n-->\n",
    "HTML attribute": '<img alt="{{ v | md }}">\n',
    "HTML block": "<div>\n{{ v | md }}\n</div>\n",
    "script": "<script>\n\n{{ v | md }}\n\n</script>\n",
    "link text": "[{{ v | md }}](x)\n",
    "link target": "[x]({{ v | md }})\n",
    "link definition": "[x]: {{ v | md }}\n",
    "front matter": "---\ntitle: {{ v | md }}\n---\n",
    "front matter, below": "---\na: 1\n---\n\n{{ v | md }}\n",
    "after a comment on its line": "<!-- a --> {{ v | md }}\n",
    "after half a comment": "<!-- a\n{{ v | md }}\n",
    "below a comment with more on its line": "<!-- a --> <b> <!-- c -->\n{{ v | md }}\n",
    "after a backslash": "\\{{ v | md }}\n",
    "after an ampersand": "&{{ v | md }}\n",
    "formula": "$x$ {{ v | md }}\n",
}


@pytest.mark.promise("TPL-1")
@pytest.mark.parametrize("source", MARKDOWN_PLACES.values(), ids=MARKDOWN_PLACES.keys())
def test_text_in_markdown_stands_only_where_it_is_read_as_text(
    unchecked: Render, source: str
) -> None:
    """Code, HTML, links and front matter take no text, in whatever Markdown reads them."""
    with pytest.raises(UserMessageError, match=r"^template/x\.md\.jinja:1: [^\n]+ in a paragraph"):
        unchecked("x.md", source, v="text")


def test_text_and_names_in_markdown_stand_where_they_may(render: Render) -> None:
    """Headings, lists, quotes, tables, emphasis and text after code are places for text."""
    source = (
        "<!-- managed -->\n# {{ v | md }}\n\n<!-- mcp-name: {{ n | slug }} -->\n\n"
        "- {{ v | md }}\n- *{{ v | md }}*\n"
        "\n> {{ v | md }}, and {{ v | md }}.\n\n| a | b |\n| - | - |\n| {{ v | md }} | x |\n\n"
        "```sh\n{{ n | slug }} --help\n```\n\n[`{{ n | slug }}`](x)\n\n{{ v | md }}\n"
    )
    text = render("x.md", source, v="a", n="my-server")
    assert text == source.replace("{{ v | md }}", "a").replace("{{ n | slug }}", "my-server")


WORKFLOW = """\
name: {{ v | yaml }}
on: push
jobs:
  {{ n | slug }}:
    env:
      TEXT: {{ v | yaml }}
    steps:
      - name: {{ v | yaml }}
        run: echo "$TEXT"
"""


def test_a_workflow_takes_text_as_a_name_and_in_env(render: Render) -> None:
    """Names of jobs and steps, and values of `env`, are only shown or passed on."""
    text = render(".github/workflows/ci.yml", WORKFLOW, v="$(id) `id` $ {{ x }}", n="test")
    assert '      TEXT: "$(id) `id` $ {{ x }}"\n' in text


@pytest.mark.promise("TPL-1")
@pytest.mark.parametrize(
    ("source", "answers", "message"),
    [
        ("a:\n  run: {{ v | yaml }}\n", {"v": "id"}, "must not be in a `run`"),
        ("a:\n  run: pytest {{ v | ident }}\n", {"v": "id"}, "must not be in a `run`"),
        ("a:\n  run: |\n    {{ v | envname }}\n", {"v": "ID"}, "must not be in a `run`"),
        ("a:\n  run: [{{ v | slug }}]\n", {"v": "id"}, "must not be in a `run`"),
        ("a:\n  run:\n    {{ v | slug }}: 1\n", {"v": "id"}, "must not be in a `run`"),
        ("a:\n  if: {{ v | yaml }}\n", {"v": "true"}, "may only be a `name`"),
        ("a:\n  with:\n    script: {{ v | yaml }}\n", {"v": "1"}, "may only be a `name`"),
        ("a:\n  uses: {{ v | yaml }}\n", {"v": "x/y@v1"}, "may only be a `name`"),
        ("run-name: {{ v | yaml }}\n", {"v": "x"}, "may only be a `name`"),
        ("{{ v | yaml }}\n", {"v": "x"}, "may only be a `name`"),
        ("name: {{ v | yaml }}\n", {"v": "${{ github.token }}"}, "holds ${{"),
        ("env:\n  A: {{ v | yaml }}\n", {"v": "x ${{ secrets.X }}"}, "holds ${{"),
    ],
)
def test_a_workflow_takes_no_answer_where_github_would_run_it(
    unchecked: Render, source: str, answers: dict[str, str], message: str
) -> None:
    """No answer is in `run`, in a key that GitHub evaluates, or holds an expression."""
    with pytest.raises(UserMessageError) as caught:
        unchecked(".github/workflows/ci.yml", source, **answers)
    assert message in caught.value.message
    assert caught.value.message.startswith("template/.github/workflows/ci.yml.jinja:1: ")


# --- Values that are not plain text. ---


class Liar(str):
    """Text whose written form is not its content."""

    __slots__ = ()

    def __html__(self) -> str:
        return "<b>"

    def __str__(self) -> str:
        return '"; import os'


@pytest.mark.promise("TPL-1")
@pytest.mark.parametrize("name", ["x.py", "x.toml", "x.yml", "x.json", "x.md", "LICENSE"])
@pytest.mark.parametrize(
    "value",
    [Liar("a"), Markup("a"), None, 1.5, float("nan"), b"a", {1: 2}, object(), ["a", None], ("a",)],
    ids=repr,
)
def test_a_value_of_another_type_is_refused(
    escaping: ModuleType, render: Render, name: str, value: Any
) -> None:
    """Only text, whole numbers, true and false, and lists of them are written."""
    if name == "x.yml" and isinstance(value, dict):
        pytest.skip("a dict is written as block YAML, for the answers file")
    kind = next(filter(None, escaping.language_of(name).filters))
    with pytest.raises(UserMessageError, match=r":2: 'v' is of type \w+|:2: the value is of type"):
        render(name, f"\n{{{{ v | {kind} }}}}\n", v=value)


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("a = {{ v | toml }}\n", 1),
        ("\n{% if v %}{% endif %}", 2),
        ("\n\n{% for i in v %}{% endfor %}", 3),
        ("{% set x = {} %}\na = {{ x.y | toml }}\n", 2),
        ("\n\na = {{ (x or y).z | toml }}\n", 3),
        ("\na = {{ (1 / 0) | toml }}\n", 2),
        ("\na = {{ ('a' + 1) | toml }}\n", 2),
        ("\na = {{ ''.__class__.__mro__ | toml }}\n", 2),
    ],
)
def test_an_undefined_name_or_a_failing_expression_is_an_error_with_its_line(
    render: Render, source: str, line: int
) -> None:
    """A misspelt question does not become an empty text."""
    with pytest.raises(UserMessageError, match=rf"^template/x\.toml\.jinja:{line}: [^\n]+$"):
        render("x.toml", source)


def test_an_answer_that_was_never_given_is_named(render: Render) -> None:
    """The error says which question is missing."""
    with pytest.raises(UserMessageError, match=r":1: 'v' has no value: no question"):
        render("x.toml", "a = {{ v | toml }}\n")


@pytest.mark.promise("TPL-1")
@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (
            "ident",
            ["a", "my_server", "a1_"],
            ["A", "1a", "_a", "a-b", "a b", "a\n", "ä", "", "class", "true", "no", "a;b", 1, ["a"]],
        ),
        ("slug", ["a", "my-server", "a1-"], ["A", "-a", "a_b", "a\n", "a.b", "", "null", "yes"]),
        ("envname", ["A", "MY_SERVER", "A1_"], ["a", "_A", "A-B", "A\n", "", "TRUE", "ON", "A=B"]),
    ],
)
@pytest.mark.parametrize("name", ["Dockerfile", "x.sh"])
def test_a_bare_name_is_only_what_its_pattern_says(
    render: Render, kind: str, good: list[Any], bad: list[Any], name: str
) -> None:
    """Shell and Docker take no text at all, only names that no language could misread."""
    source = f"RUN {{{{ v | {kind} }}}} --x\n"
    for value in good:
        assert render(name, source, v=value) == f"RUN {value} --x\n"
    for value in bad:
        with pytest.raises(UserMessageError, match=r":1: 'v' (cannot be a name|is of type)"):
            render(name, source, v=value)


def test_a_name_is_written_bare_everywhere(render: Render) -> None:
    """The filters for names work inside strings, comments and keys of every language."""
    python = '"""About {{ v | ident }}."""\nimport {{ v | ident }}  # {{ v | ident }}\n'
    assert render("x.py", python, v="mine") == '"""About mine."""\nimport mine  # mine\n'
    toml = "[{{ v | ident }}] # {{ v | ident }}\na = \"x-{{ v | ident }}\"\nb = '{{ v | ident }}'\n"
    assert render("x.toml", toml, v="mine") == "[mine] # mine\na = \"x-mine\"\nb = 'mine'\n"
    dotenv = "# {{ v | envname }}__X=1\n{{ v | envname }}__Y=2\n"
    assert render(".env.example", dotenv, v="MINE") == "# MINE__X=1\nMINE__Y=2\n"
    python = "X = f'{ {{- v | ident -}} } {{ v | ident }}'\n"
    assert render("x.py", python, v="mine") == "X = f'{mine} mine'\n"


def test_lists_numbers_and_booleans_are_literals(render: Render) -> None:
    """A list of answers becomes a list of the language."""
    values: dict[str, Any] = {"v": ["a", 'b"', 1, True], "n": 7, "b": False}
    assert (
        render("x.py", "A = [{{ v | py }}, {{ n | py }}, {{ b | py }}]\n", **values)
        == 'A = [["a", \'b"\', 1, True], 7, False]\n'
    )
    for name, kind in (("x.toml", "toml"), ("x.yml", "yaml"), ("x.json", "json")):
        before, after = ("a = [", "]") if kind == "toml" else ('{"a": [', "]}")
        source = (
            f"{before}{{{{ v | {kind} }}}}, {{{{ n | {kind} }}}}, {{{{ b | {kind} }}}}{after}\n"
        )
        text = render(name, source, **values)
        assert text == f'{before}["a", "b\\"", 1, true], 7, false{after}\n'
    assert render("LICENSE", "(c) {{ n | text }}\n", **values) == "(c) 7\n"
    with pytest.raises(UserMessageError, match="'b' is of type bool"):
        render("LICENSE", "(c) {{ b | text }}\n", **values)


def test_true_and_one_are_not_the_same_shape(
    escaping: ModuleType, unchecked: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison tells values apart that Python holds for equal."""
    monkeypatch.setattr(escaping, "block_yaml", lambda _: "a: true")
    with pytest.raises(UserMessageError, match="structure"):
        unchecked("x.yml", "{{ v | yaml }}\n", v={"a": 1})


@pytest.mark.parametrize(
    ("name", "stand_in", "text"),
    [
        ("x.py", "A = [1]\n", "A = (1,)\n"),
        ("x.py", "A = 1\n", "A = 1; B = 2\n"),
        ("x.py", "A = 1\n", "A = True\n"),
        ("x.py", "A = 'b'\n", "A = b'b'\n"),
        ("x.yml", "a: []\n", "a: {}\n"),
        ("x.yml", "a: 1\n", "a: '1'\n"),
        ("x.yml", "a: 1\n", "a: 1\n---\nb: 1\n"),
        ("x.toml", "a = []\n", "a = {}\n"),
        ("x.toml", "[a]\n", "[[a]]\n"),
        ("x.json", '{"a": 1, "b": 2}', '{"b": 2, "a": 1}'),
        ("x.json", "[1]", "[1, 1]"),
        ("x.json", "[]", "[[]]"),
        (".env.example", "A=1\n", "A=1\nB=1\n"),
        ("x.sh", "a\n", "a\nb\n"),
    ],
)
def test_another_structure_is_another_shape(
    escaping: ModuleType, name: str, stand_in: str, text: str
) -> None:
    """Types, order, repeats and empty parts all count."""
    with pytest.raises(UserMessageError, match="structure"):
        escaping.check_shape(name, stand_in, text, [])
    escaping.check_shape(name, text, text, [])


def test_an_environment_that_changes_outputs_is_refused(
    escaping: ModuleType, tmp_path: Path
) -> None:
    """Autoescape or finalize cannot rewrite an answer unseen."""
    name = write(tmp_path, "x.toml", "a = {{ v | toml }}\n")
    for option in ({"autoescape": True}, {"finalize": lambda value: f"{value}"[::-1]}):
        env = SandboxedEnvironment(
            loader=FileSystemLoader(tmp_path), extensions=[escaping.Escaping], **option
        )
        with pytest.raises(UserMessageError):
            env.get_template(name).render(v="text")


def test_undefined_is_strict_in_every_template(escaping: ModuleType, tmp_path: Path) -> None:
    """A misspelt name in a file's name does not drop the file."""
    assert environment(tmp_path, escaping.Escaping).undefined is StrictUndefined


def test_a_string_without_a_file_gets_the_escaped_answer(
    escaping: ModuleType, tmp_path: Path
) -> None:
    """File names and copier.yml are rendered with the answers themselves, and errors name them."""
    env = environment(tmp_path, escaping.Escaping)
    assert env.from_string("{{ v }}-{{ v | slug }}").render(v="mine") == "mine-mine"
    with pytest.raises(UserMessageError, match=r"^copier\.yml:1: the value cannot be a name"):
        env.from_string("{{ v | slug }}").render(v="No")


def test_only_files_of_the_template_folder_are_rendered(
    escaping: ModuleType, tmp_path: Path
) -> None:
    """A file elsewhere, or with another suffix, was not seen by the preflight: refused."""
    (tmp_path / "x.toml.jinja").write_text("a = 1\n")
    (tmp_path / "template").mkdir()
    (tmp_path / "template" / "x.toml").write_text("a = 1\n")
    for name in ("x.toml.jinja", "template/x.toml"):
        with pytest.raises(UserMessageError, match="files to render are"):
            environment(tmp_path, escaping.Escaping).get_template(name).render()
