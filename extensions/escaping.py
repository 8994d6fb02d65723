"""The one file that ``copier copy --trust`` runs: no answer reaches a file unescaped.

A file of the template (``template/**/*.jinja``) is rendered in one way only:

1. Compile time (`check_template`): every ``{{ ... }}`` ends in a filter made for the language of
   the file, and the only tags are ``if``, ``for`` and ``set``. An unknown kind of file is refused.
2. Jinja renders the file with a stand-in, an unguessable word, for each answer: that text holds no
   answer at all. Then the escaped answers take the places of their stand-ins, and the result must
   parse as its language (`check_syntax`).
3. `check_shape`: the result, loaded, equals the loaded stand-in text with the answers themselves in
   place of the stand-ins. So an answer changed no structure and lost no character, even if a filter
   had a bug. It also finds the right filter in the wrong place, such as a comment.

The first render of a run checks all files (`Escaping.preflight`): Copier writes one file after the
other, and would leave a project half updated when a later one is refused.

File names and the strings of copier.yml reach Jinja without a name. They are not checked here; the
validators of the questions keep them safe. This file imports no sibling, because Python would hand
the module of an old version of the template to the render of a new one.
"""

from __future__ import annotations

import ast
import functools
import json
import keyword
import re
import secrets
import sys
import tomllib
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import yaml
from copier.errors import UserMessageError
from jinja2 import Environment, StrictUndefined, Template, Undefined, nodes, pass_context
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import TemplateError
from jinja2.ext import Extension
from jinja2.runtime import Context

TEMPLATE = "template/"  # `_subdirectory` of copier.yml
SUFFIX = ".jinja"  # Copier's default for `_templates_suffix`
ANSWERS_FILE = "{{_copier_conf.answers_file}}"  # its name in Copier's documentation

# --- Filters: the text of an answer -> the text in the file. ValueError: it cannot hold this. ---


def _quoted(text: str, quote: str, escape: Callable[[str], str]) -> str:
    """Escape what could end the string, and all that is invisible: controls, bidi marks, BOM."""
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\", quote: "\\" + quote}
    body = (short.get(c) or (c if c.isprintable() else escape(c)) for c in text)
    return quote + "".join(body) + quote


def _code_point(char: str) -> str:
    return f"\\u{ord(char):04x}" if char <= "\uffff" else f"\\U{ord(char):08x}"


def _whole(text: str) -> str:
    """Refuse half a surrogate pair, which UTF-8 cannot hold (RFC 3629 section 3)."""
    if half := re.search("[\ud800-\udfff]", text):
        raise ValueError(f"holds half a character (U+{ord(half[0]):04X}): remove it")
    return text


def _invisible(text: str) -> list[str]:
    """All but printable characters and the joiners that emoji and some scripts need."""
    return [char for char in text if not char.isprintable() and char not in "\u200c\u200d"]


def _visible(text: str) -> str:
    """Refuse an empty text, and what a reader does not see: line ends, controls, bidi marks."""
    if bad := _invisible(text):
        raise ValueError(f"holds the invisible character U+{ord(bad[0]):04X}: remove it")
    if not text.strip():
        raise ValueError("is empty: type a text")
    return text


def quote_python(text: str) -> str:
    """A string literal in the quotes that `ruff format` leaves: those that need fewer escapes."""
    return _quoted(text, "'" if text.count('"') > text.count("'") else '"', _code_point)


def quote_data(text: str) -> str:
    """A basic string (TOML 1.0.0, "String"), a double-quoted scalar (YAML 1.2.2, 7.3.1)."""
    return _quoted(_whole(text), '"', _code_point)


def quote_json(text: str) -> str:
    """A string (RFC 8259 section 7), with surrogate pairs for escapes above U+FFFF."""
    return _quoted(_whole(text), '"', lambda char: json.dumps(char)[1:-1])


def quote_dotenv(text: str) -> str:
    """A value in single quotes, without what shells, Docker and python-dotenv read differently."""
    if bad := re.search(r"['\\$]", text):
        raise ValueError(f"holds {bad[0]}, which a .env file cannot hold safely: remove it")
    return f"'{_visible(text)}'"


def escape_markdown(text: str) -> str:
    """Text on one line, with a numeric reference for each character that could be markup.

    References never form structure (CommonMark 0.31 section 2.5), and mean the same within HTML.
    The first character becomes one unless it is a letter, since lists, headings and rules start
    with it. GitHub still links an e-mail address, to itself.
    """
    special = r"^[!-@\[-`{-~]|[.:](?=\S)|[!#$&*<>@\[\\\]^_`{|}~]"
    text = " ".join(_visible(text).split())
    return re.sub(special, lambda match: f"&#{ord(match[0])};", text)


def plain_text(text: str) -> str:
    """Text on one line of a file that nothing interprets, such as a licence."""
    return _visible(text).strip()


class AnswersDumper(yaml.SafeDumper):
    """Writes escapes for the invisible, since YAML loads a raw U+0085 as a space."""


AnswersDumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"'
    ),
)


def block_yaml(answers: dict[Any, Any]) -> str:
    """The answers file: one answer a line, as readable as can be."""
    options: dict[str, Any] = {"allow_unicode": True, "sort_keys": False, "width": sys.maxsize}
    try:
        return str(yaml.dump(answers, Dumper=AnswersDumper, **options)).removesuffix("\n")
    except yaml.YAMLError as error:
        raise ValueError("holds a value that YAML cannot hold") from error


# Without quotes, these are not names in Python or YAML.
RESERVED = {*keyword.kwlist, "true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def _bare_name(pattern: str, help_text: str) -> Callable[[str], str]:
    def bare_name(text: str) -> str:
        if not re.fullmatch(pattern, text) or text.lower() in RESERVED:
            raise ValueError(f"cannot be a name here: type {help_text}, and no reserved word")
        return text

    return bare_name


FILTERS: dict[str, Callable[[str], str]] = {
    "py": quote_python,
    "toml": quote_data,
    "yaml": quote_data,
    "json": quote_json,
    "dotenv": quote_dotenv,
    "md": escape_markdown,
    "text": plain_text,
    "ident": _bare_name("[a-z][a-z0-9_]*", "a letter a-z, then letters a-z, digits and _"),
    "slug": _bare_name("[a-z][a-z0-9-]*", "a letter a-z, then letters a-z, digits and -"),
    "envname": _bare_name("[A-Z][A-Z0-9_]*", "a letter A-Z, then letters A-Z, digits and _"),
}
NAMES = frozenset({"ident", "slug", "envname"})  # need no quotes in any language
BOOLEANS = {"py": ("False", "True")} | dict.fromkeys(("toml", "yaml", "json"), ("false", "true"))

# --- Tests, for the validators of copier.yml: what they accept, the filters accept. ---

PORTS = {f"{port}{number}" for port in ("com", "lpt") for number in range(10)}
DEVICES = {"aux", "con", "nul", "prn", *PORTS}
# What a project may install: a package of the same name could not be. A test compares with uv.lock.
INSTALLED = set(
    """
    annotated_types anyio ast_serialize attr attrs cffi charset_normalizer click colorama
    cryptography dotenv google_re2 h11 html_to_markdown httpcore2 httptools httpx2 httpx2_jsfetch
    idna iniconfig jsonschema jsonschema_specifications jwt librt mcp mcp_types multipart mypy
    mypy_extensions opentelemetry opentelemetry_api packaging pathspec pluggy psycopg
    psycopg_binary publicsuffixlist py pycparser pydantic pydantic_core pydantic_settings pygments
    pyjwt pymysql pytest python_dotenv python_multipart pywin32 pyyaml re2 referencing rpds rpds_py
    ruff selectolax sse_starlette starlette truststore types_jsonschema types_pymysql types_pyyaml
    typing_extensions typing_inspection tzdata uvicorn uvloop yaml
    """.split()  # noqa: SIM905  one name a line would hide the rest of this file
)


def is_printable_line(value: str) -> bool:
    """Whether a text is one line, without anything invisible. It may be empty."""
    return not _invisible(value)


def is_taken_name(value: str) -> bool:
    """Whether a package of this name would hide another one, or cannot exist on Windows."""
    # "test" is CPython's own, though sys does not list it; the others are the project's.
    own = {"test", "tests", "conftest", "modelctx"}
    return value in RESERVED | sys.stdlib_module_names | DEVICES | INSTALLED | own


# --- Languages. ---


class Language(NamedTuple):
    """A kind of file. `load` raises ValueError, SyntaxError or YAMLError for a malformed one."""

    title: str
    filters: tuple[str, ...]
    load: Callable[[str], Any]


def _load_dotenv(text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not re.fullmatch("[A-Z][A-Z0-9_]*", name) or name in values:
            raise ValueError(f"line {number} is neither a comment nor a new NAME=value")
        values[name] = value[1:-1] if re.fullmatch("'[^']*'", value) else value
    return values


def _load_yaml(text: str) -> list[Any]:
    return list(yaml.safe_load_all(text))


YAML = Language("YAML", ("yaml",), _load_yaml)
MARKDOWN = Language("Markdown", ("md",), str.splitlines)
PLAIN_TEXT = Language("plain text", ("text",), str.splitlines)
NAMES_ONLY = Language("shell or Docker", (), str.splitlines)

# A key that starts with a dot is how a file's name ends, any other is the whole name.
LANGUAGES = {
    ".py": Language("Python", ("py",), ast.parse),
    ".toml": Language("TOML", ("toml",), tomllib.loads),
    ".json": Language("JSON", ("json",), json.loads),
    ".yml": YAML,
    ".yaml": YAML,
    ".env.example": Language(".env", ("dotenv",), _load_dotenv),
    ".md": MARKDOWN,
    "LICENSE": PLAIN_TEXT,
    "LICENSE.txt": PLAIN_TEXT,
    "Dockerfile": NAMES_ONLY,
    ".sh": NAMES_ONLY,
}
# At most one condition, around the whole name: an `else` could choose between two languages.
FILE_NAME = re.compile(r"(?:{% if [^{}]+ %})?((?:[^{}]|{{[^{}]+}})+)(?:{% endif %})?")


def language_of(name: str) -> Language:
    """The language of a file of the template. UserMessageError: there is no rule for it."""
    base = name.rpartition("/")[2].removesuffix(SUFFIX)
    if base.replace(" ", "") == ANSWERS_FILE:
        return YAML
    match = FILE_NAME.fullmatch(base)
    plain = re.sub("{{[^{}]+}}", "x", match[1]) if match else ""
    for key, language in LANGUAGES.items():
        if plain == key or (key.startswith(".") and plain.endswith(key)):
            return language
    known = ", ".join(LANGUAGES)
    raise UserMessageError(f"{name}:1: no rule for escaping in such a file, only in: {known}")


# --- Layer 1: at compile time. ---


def check_template(name: str, tree: nodes.Template) -> list[nodes.Filter]:
    """Return the filter at the end of each output. UserMessageError: an output has none.

    Sees the tree as it was parsed, before Jinja folds constants and drops dead branches.
    """
    for tag in tree.find_all(nodes.Stmt):
        # A Scope, which has no line, only wraps another tag.
        if type(tag) not in {nodes.Output, nodes.If, nodes.For, nodes.Assign, nodes.Scope}:
            problem = f"the tag {type(tag).__name__} is not allowed; write it with if, for and set"
            raise UserMessageError(f"{name}:{tag.lineno}: {problem}")
    language = language_of(name)
    outputs = (child for output in tree.find_all(nodes.Output) for child in output.nodes)
    last = [part for child in outputs for part in _last_filters(name, language, child)]
    for node in tree.find_all(nodes.Filter):
        if node.name in FILTERS and not any(node is part for part in last):
            problem = f"'{node.name}' may only be the last filter of an output"
            raise UserMessageError(f"{name}:{node.lineno}: {problem}")
    return last


def _last_filters(name: str, language: Language, node: nodes.Expr) -> Iterator[nodes.Filter]:
    allowed = [*language.filters, *sorted(NAMES)]
    if isinstance(node, nodes.TemplateData):
        return
    if isinstance(node, nodes.CondExpr) and node.expr2 is not None:
        yield from _last_filters(name, language, node.expr1)
        yield from _last_filters(name, language, node.expr2)
    elif isinstance(node, nodes.Filter) and node.name in allowed and not _has_arguments(node):
        yield node
    else:
        problem = f"an output in {language.title} must end in one of: {', '.join(allowed)}"
        remedy = f"write {{{{ (...) | {allowed[0]} }}}}"
        raise UserMessageError(f"{name}:{node.lineno}: {problem}; {remedy}")


def _has_arguments(node: nodes.Filter) -> bool:
    return bool(node.args or node.kwargs or node.dyn_args or node.dyn_kwargs)


class StrictCodeGenerator(CodeGenerator):
    """Checks a file before any code is made from it."""

    def visit_Template(self, node: nodes.Template, frame: Frame | None = None) -> None:  # noqa: N802
        """Check, and tell each filter its line and the question, for its errors."""
        for part in check_template(self.name, node) if self.name is not None else ():
            question = f"'{part.node.name}'" if isinstance(part.node, nodes.Name) else "the value"
            part.args = [nodes.Const(part.lineno), nodes.Const(question)]
        super().visit_Template(node, frame)


# --- Layers 2 and 3: after rendering, before the file is written. ---


class Slot(NamedTuple):
    """The place of one answer in a file."""

    filter: str
    value: Any  # the answer, as the loaded file must give it back
    mark: str  # the unguessable word
    stand_in: str  # the mark as the filter writes it, in quotes for example
    literal: str  # the answer as the filter writes it
    where: str  # "line: question", for errors

    @property
    def is_value(self) -> bool:
        """Whether the answer must be a complete value, and not a part of some text."""
        return self.filter not in NAMES | {"md", "text"}


Leaf = tuple[tuple[Any, ...], Any]  # path from the root, value


def _leaves(node: Any, path: tuple[Any, ...] = ()) -> Iterator[Leaf]:
    """Flatten a syntax tree or loaded data. Keeps what `==` on dicts hides: order, repeats."""
    if isinstance(node, ast.JoinedStr):
        node = ast.unparse(node)  # one leaf: an answer in an f-string is no complete value
    children: list[tuple[Any, Any]] = []
    if isinstance(node, ast.AST):
        children = list(ast.iter_fields(node))
    elif isinstance(node, dict):
        children = list(node.items())
    elif isinstance(node, list):
        children = list(enumerate(node))
    else:
        yield path, node
        return
    yield path, type(node)
    for key, child in children:
        yield from _leaves(child, (*path, key))


def _load(name: str, text: str) -> list[Leaf]:
    language = language_of(name)
    try:
        return list(_leaves(language.load(text)))
    except (ValueError, SyntaxError, yaml.YAMLError) as error:
        problem = _one_line(str(error).partition(":\n")[0])  # without PyYAML's piece of the file
        message = f"{name}: the rendered file is not valid {language.title}: {problem}"
        raise UserMessageError(message) from error


def _one_line(error: object) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def check_syntax(name: str, text: str) -> None:
    """Layer 2: the file parses. UserMessageError: it does not."""
    _load(name, text)


def check_shape(name: str, stand_in: str, text: str, slots: list[Slot]) -> None:
    """Layer 3: the file is the stand-in text with answers for stand-ins, and no more than that."""
    values = {slot.mark: slot for slot in slots if slot.is_value}
    parts = [slot for slot in slots if not slot.is_value]
    before = _load(name, stand_in)
    for slot in values.values():
        if [leaf for _, leaf in before].count(slot.mark) != 1:
            problem = "must stand alone as a value: not in a comment, a key or another string"
            raise UserMessageError(f"{name}:{slot.where} {problem}")
    expected: list[Leaf] = []
    for path, leaf in before:
        filled = tuple(_fill(part, parts) for part in path)
        is_mark = isinstance(leaf, str) and leaf in values
        value = values[leaf].value if is_mark else _fill(leaf, parts)
        expected.extend(_leaves(value, filled))
    # repr also tells 1 from True and from 1.0, which are equal in Python.
    if repr(expected) != repr(_load(name, text)):
        raise UserMessageError(f"{name}: an answer would change the structure of this file")
    if language_of(name) is MARKDOWN:
        check_markdown(name, stand_in, slots)
    if language_of(name) is YAML and ".github" in name:
        check_workflow(name, before, slots)


def _fill(text: Any, slots: list[Slot]) -> Any:
    for slot in slots if isinstance(text, str) else ():
        text = text.replace(slot.stand_in, slot.literal)
    return text


def check_markdown(name: str, stand_in: str, slots: list[Slot]) -> None:
    """Refuse a text where Markdown reads more than text: code, HTML, links, front matter."""
    for slot in slots:
        if slot.filter != "md":
            continue
        before, _, after = stand_in.partition(slot.mark)
        before = re.sub(r"^<!--(?!.*-->.*-->).*-->$", "", before, flags=re.MULTILINE)
        paragraph = re.split(r"\n\s*\n", before)[-1] + re.split(r"\n\s*\n", after)[0]
        opened = re.findall(r"<!--|<(?:pre|script|style|textarea)\b", before, re.IGNORECASE)
        closed = re.findall(r"-->|</(?:pre|script|style|textarea)>", before, re.IGNORECASE)
        if (
            re.search(r"[`<\[\]\\$&]|^(?: {4}| *\t)", paragraph, re.MULTILINE)
            or stand_in.startswith("---")
            or len(opened) != len(closed)
            or _in_fence(before)
        ):
            problem = "must be in a paragraph without code, links, HTML, references or indentation"
            raise UserMessageError(f"{name}:{slot.where} {problem}")


def _in_fence(text: str) -> bool:
    fence = ""
    for line in text.splitlines():
        match = re.match(r"\s*(`{3,}|~{3,})(.*)", line)
        if match and not fence:
            fence = match[1]
        elif match and match[1].startswith(fence) and not match[2].strip():
            fence = ""
    return bool(fence)


def check_workflow(name: str, leaves: list[Leaf], slots: list[Slot]) -> None:
    """Refuse what GitHub would run: an answer in `run`, an expression in an answer.

    A text may only be a `name` or a value of `env`: GitHub's guide "Secure use reference" tells to
    pass untrusted values through `env`.
    """
    for path, leaf in leaves:
        for slot in slots:
            if slot.mark not in f"{path[-1:]} {leaf}":  # neither in the key nor in the value
                continue
            problem = ""
            if "run" in path:
                problem = "must not be in a `run`; pass it through `env`"
            elif slot.is_value and path[-1:] != ("name",) and path[-2:-1] != ("env",):
                problem = "may only be a `name` or a value of `env`"
            elif slot.is_value and "${{" in slot.value:
                problem = "holds ${{, which GitHub would run: remove it"
            if problem:
                raise UserMessageError(f"{name}:{slot.where} {problem}")


# --- The extension. ---


class CheckedTemplate(Template):
    """A template that renders a checked file, or raises UserMessageError."""

    def render(self, *args: Any, **kwargs: Any) -> str:
        """Render with stand-ins, put the answers in their places, check."""
        context = dict(*args, **kwargs)
        escaping = cast(Escaping, self.environment.extensions[Escaping.identifier])
        escaping.preflight(self.name, context)
        outer, escaping.slots = escaping.slots, None if self.name is None else []
        try:
            text = super().render(context)
            return text if self.name is None else escaping.finish(self.name, text)
        except UserMessageError:
            raise
        except Exception as error:  # whatever it is, one line that names the file
            if self.name is None:
                raise
            stack = traceback.extract_tb(error.__traceback__)
            line = [frame.lineno for frame in stack if frame.filename == self.filename][-1:] or [1]
            raise UserMessageError(f"{self.name}:{line[0]}: {_one_line(error)}") from error
        finally:
            escaping.slots = outer


class Escaping(Extension):
    """What `_jinja_extensions` of copier.yml names."""

    def __init__(self, environment: Environment) -> None:
        """Make every template of this environment a checked one."""
        super().__init__(environment)
        self.slots: list[Slot] | None = None  # of the file being rendered
        self.mark = f"zq{secrets.token_hex(8)}"
        self.checked_answers: object = self  # equal to no answers
        self.checked_files: set[tuple[str, str, str]] = set()
        environment.filters.update({name: self._filter(name) for name in FILTERS})
        environment.tests["printable_line"] = is_printable_line
        environment.tests["taken_name"] = is_taken_name
        environment.code_generator_class = StrictCodeGenerator
        environment.template_class = CheckedTemplate
        environment.undefined = StrictUndefined  # a misspelt name is an error, not an empty text

    def _filter(self, name: str) -> Callable[..., str]:
        @pass_context  # also keeps Jinja from calling the filter at compile time
        def apply(context: Context, value: Any, line: int = 1, question: str = "the value") -> str:
            where = f"{line}: {question}"
            try:
                return self._write(name, value, where)
            except ValueError as error:
                raise UserMessageError(f"{context.name or 'copier.yml'}:{where} {error}") from error

        return apply

    def _write(self, name: str, value: Any, where: str) -> str:
        """Write a value in the language of a filter. ValueError: the language cannot hold it."""
        if isinstance(value, Undefined):
            raise ValueError("has no value: no question was asked for it")
        if name in BOOLEANS and type(value) is list:
            return f"[{', '.join(self._write(name, item, where) for item in value)}]"
        if name in BOOLEANS and type(value) is bool:
            return BOOLEANS[name][value]
        if name in BOOLEANS and type(value) is int:
            return str(value)
        if name == "yaml" and type(value) is dict:  # the answers file
            return self._place(name, value, where, lambda mark: mark, block_yaml(value))
        if type(value) is int:
            value = str(value)
        if type(value) is not str:  # a subclass may have text of its own, as Markup has
            raise ValueError(f"is of type {type(value).__name__}, which '{name}' does not write")
        return self._place(name, value, where, FILTERS[name], FILTERS[name](value))

    def _place(
        self, name: str, value: Any, where: str, quote: Callable[[str], str], literal: str
    ) -> str:
        if self.slots is None:  # not in a file
            return literal
        mark = f"{self.mark}x{len(self.slots)}x"
        mark = mark.upper() if name == "envname" else mark
        self.slots.append(Slot(name, value, mark, quote(mark), literal, where))
        return self.slots[-1].stand_in

    def finish(self, name: str, stand_in: str) -> str:
        """Put the answers in the places of their stand-ins, and check the file."""
        slots, text = self.slots or [], stand_in
        for slot in slots:
            if stand_in.count(slot.stand_in) != 1:
                raise UserMessageError(f"{name}:{slot.where} must be written once, unchanged")
            text = text.replace(slot.stand_in, slot.literal)
        key = (name, stand_in, repr(slots))
        if key not in self.checked_files:  # else the preflight was here with the same answers
            check_syntax(name, text)
            check_shape(name, stand_in, text, slots)
            self.checked_files.add(key)
        return text

    def preflight(self, name: str | None, context: dict[str, Any]) -> None:
        """Once a run, before anything is written, check every file and name with the answers.

        Copier renders the name of a file before it writes the file, so this comes first.
        """
        if name is not None and not (name.startswith(TEMPLATE) and name.endswith(SUFFIX)):
            raise UserMessageError(f"{name}:1: files to render are {TEMPLATE}**/*{SUFFIX}")
        answers = context.get("_copier_answers")
        if name is None and context.get("_copier_phase") != "render":
            return
        if self.checked_answers == answers:
            return
        self.checked_answers = answers  # now, since the loop below renders too
        try:
            self._check_all(context)
        except BaseException:
            self.checked_answers = self
            raise

    def _check_all(self, context: dict[str, Any]) -> None:
        @functools.cache
        def rendered(part: str) -> str:
            return self.environment.from_string(part).render(context) if "{" in part else part

        root = Path(cast(Any, self.environment.loader).searchpath[0])
        for path in sorted((root / TEMPLATE).rglob("*")):
            name = path.relative_to(root).as_posix()
            try:
                is_template = name.endswith(SUFFIX) and path.is_file()
                template = self.environment.get_template(name) if is_template else None
                # Copier leaves out a path with an empty part: its file is compiled, not rendered.
                wanted = all(rendered(part) for part in name.removesuffix(SUFFIX).split("/"))
            except (TemplateError, UnicodeDecodeError) as error:
                problem = _one_line(getattr(error, "message", error))
                line = getattr(error, "lineno", 1)
                raise UserMessageError(f"{name}:{line}: {problem}") from error
            if template and wanted:
                template.render(context)
