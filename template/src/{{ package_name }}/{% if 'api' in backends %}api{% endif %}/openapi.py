# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""An OpenAPI 3.0 or 3.1 document and its operations.

Reading a document lists its operations and finds those that cannot be offered, with the reason.
Schemas are converted when an operation is used for the first time. Nothing here touches a
network, and nothing is fetched that a document refers to.
"""

from __future__ import annotations

import difflib
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import yaml

from ..errors import ConfigError, Refused
from ..guard.limits import excess
from .requests import Body, Parameter, Request, bind, body, check_template, named, parameter
from .schemas import Check, Schema, Schemas, Unsupported, clean, pointed, resolved, shortened

T = TypeVar("T")

MAX_DOCUMENT = 32 * 1024 * 1024  # bytes
MAX_YAML = 8 * 1024 * 1024  # bytes; YAML is read ten times slower than JSON
_MAX_EXPANDED = 64 * 1024 * 1024  # bytes, with every alias of YAML written out
_MAX_DEPTH = 100  # levels
_MAX_OPERATIONS = 5000
_MAX_ARGUMENTS = 4 * 1024 * 1024  # bytes
_MAX_ARGUMENT_DEPTH = 40  # levels
_MAX_KEPT = 256  # schemas and checks of operations that were used last

METHODS = ("get", "put", "post", "delete", "options", "head", "patch")


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One operation of the API."""

    name: str  # unique; at most 64 characters of [A-Za-z0-9_-]
    method: str  # upper case
    path: str  # the template, such as /pets/{id}
    summary: str
    description: str
    tags: tuple[str, ...]
    deprecated: bool
    left_out: tuple[str, ...]  # optional parts that cannot be given, with the reason
    parameters: tuple[Parameter, ...] = field(repr=False)
    body: Body | None = field(repr=False)
    _responses: Any = field(repr=False)
    _document: Document = field(repr=False)

    @property
    def changes(self) -> bool:
        """Whether it may change something: all methods but GET and HEAD (RFC 9110, 9.2.1)."""
        return self.method not in ("GET", "HEAD")

    @property
    def full_schema(self) -> Schema:
        """The schema of the arguments, which they are checked against; of any size."""
        return self._document.full_schema(self)

    @property
    def input_schema(self) -> Schema:
        """The schema of the arguments with at most 20 KB of JSON, to be listed."""
        return self._document.shown(self)[0]

    @property
    def cut(self) -> bool:
        """Whether `input_schema` says less than `full_schema`."""
        return self._document.shown(self)[1]

    def bind(self, arguments: Mapping[str, Any]) -> Request:
        """Check arguments and make the request of them.

        Raises:
            Refused: ``invalid_arguments``, with the field and the rule, never the value.
        """
        given = dict(arguments)
        # Before the check: what JSON cannot carry, or what would recurse without end.
        if problem := excess(given, _MAX_ARGUMENTS, _MAX_ARGUMENT_DEPTH):
            raise Refused("invalid_arguments", f"the arguments: a value {problem}")
        if problem := self._document.arguments_check(self).wrong(given):
            raise Refused("invalid_arguments", problem)
        return bind(
            self.method, self.path, self.parameters, self.body, given, self._document.reserved
        )

    def check_answer(self, status: int, content_type: str, data: object) -> str | None:
        """Say what is wrong with an answer by the document; None: nothing, or it says nothing.

        Args:
            content_type: the header; may be empty.
            data: the parsed JSON, or anything else for an answer that is not JSON.
        """
        return self._document.check_answer(self, status, content_type, data)


class Document:
    """A document that was read. It may be used by several threads."""

    def __init__(self, root: Schema, reserved: Collection[tuple[str, str]] = ()) -> None:
        """List the operations of a document.

        Args:
            root: the parsed document.
            reserved: see `load`.

        Raises:
            ConfigError: it is no document of a known version.
        """
        version = root.get("openapi")
        if "swagger" in root:
            raise ConfigError("is Swagger 2.0: convert it to OpenAPI 3 first")
        if not isinstance(version, str) or not re.match(r"3\.[01](\.|$)", version):
            raise ConfigError("is no OpenAPI 3.0 or 3.1 document (field openapi)")
        info = root.get("info")
        self.title = clean(info.get("title"), 200) if isinstance(info, dict) else ""
        self.version = clean(info.get("version"), 100) if isinstance(info, dict) else ""
        self.description = clean(info.get("description"), 2000) if isinstance(info, dict) else ""
        self.servers = _servers(root.get("servers"))
        self._root = root
        self.security, keys = _security(root)  # kind of each security scheme, by its name
        self.reserved = frozenset({(where, name.lower()) for where, name in {*reserved, *keys}})
        self._schemas = Schemas(root, old=version.startswith("3.0"))
        self._lock = threading.RLock()  # one thing may be made of another
        self._kept: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self.operations: dict[str, Operation] = {}
        self.skipped: dict[str, str] = {}  # reasons, by "GET /path"
        self._list()
        self._words = {
            each.name: (each.name.lower(), _searched(each)) for each in self.operations.values()
        }

    # --- Listing.

    def _list(self) -> None:
        paths = self._root.get("paths")
        for path, item in paths.items() if isinstance(paths, dict) else ():
            try:
                found = resolved(self._root, item)
            except Unsupported as error:
                self.skipped[clean(path, 300)] = str(error)
                continue
            for method in METHODS:
                if method in found:
                    self._add(method.upper(), path, found)
            if "trace" in found:
                self.skipped[f"TRACE {clean(path, 300)}"] = "the method TRACE"
        if len(self.operations) > _MAX_OPERATIONS:
            raise ConfigError(f"has more than {_MAX_OPERATIONS} operations")

    def _add(self, method: str, path: str, item: Schema) -> None:
        try:
            operation = self._operation(method, path, item)
            self.operations[operation.name] = operation
        except Unsupported as error:
            self.skipped[f"{method} {clean(path, 300)}"] = str(error)

    def _operation(self, method: str, path: str, item: Schema) -> Operation:
        raw = item[method.lower()]
        if not isinstance(raw, dict):
            raise Unsupported("something other than an object where there has to be one")
        own = _servers(raw.get("servers", item.get("servers")))
        if own and self.servers and not _places(own) & _places(self.servers):
            raise Unsupported("a server of its own")
        left_out: list[str] = []
        content = self._body(method, raw, left_out)
        parameters = self._parameters(item, raw, left_out)
        check_template(path, {each.name for each in parameters if each.where == "path"})
        tags = raw.get("tags")
        return Operation(
            name=self._unique(raw.get("operationId"), method, path),
            method=method,
            path=path,
            summary=clean(raw.get("summary"), 200),
            description=clean(raw.get("description"), 1500),
            tags=tuple(clean(tag, 100) for tag in tags) if isinstance(tags, list) else (),
            deprecated=raw.get("deprecated") is True,
            left_out=tuple(left_out),
            parameters=tuple(named(parameters, [content.argument] if content else [])),
            body=content,
            _responses=raw.get("responses"),
            _document=self,
        )

    def _body(self, method: str, raw: Schema, left_out: list[str]) -> Body | None:
        if raw.get("requestBody") is None:
            return None
        if method in ("GET", "HEAD"):  # it has no meaning there (RFC 9110, 9.3.1)
            if resolved(self._root, raw["requestBody"]).get("required") is True:
                raise Unsupported(f"{method} with a body")
            left_out.append(f"a body of {method}")
            return None
        content = body(self._root, raw["requestBody"])
        if problem := self._schemas.problem(content.schema):
            raise Unsupported(problem)
        return content

    def _parameters(self, item: Schema, raw: Schema, left_out: list[str]) -> list[Parameter]:
        found: dict[tuple[object, object], Schema] = {}
        for level in (item, raw):  # an operation's own stand for those of its path
            listed = level.get("parameters")
            for each in listed if isinstance(listed, list) else ():
                one = resolved(self._root, each)
                found[str(one.get("in")), str(one.get("name"))] = one
        read = []
        for each in found.values():
            try:
                read.append(self._parameter(each))
            except Unsupported as error:
                # Credentials are a matter of settings, so their header need not be given.
                if each.get("in") == "path" or (
                    each.get("required") is True and each.get("in") != "header"
                ):
                    raise
                left_out.append(str(error))
        return read

    def _parameter(self, raw: Schema) -> Parameter:
        one = parameter(self._root, raw)
        if (one.where, one.name.lower()) in self.reserved:
            raise Unsupported(f"the {one.where} {clean(one.name, 64)}, which is for credentials")
        if problem := self._schemas.problem(one.schema):
            raise Unsupported(problem)
        return one

    def _unique(self, given: object, method: str, path: str) -> str:
        text = given if isinstance(given, str) and given else f"{method.lower()}{path}"
        base = re.sub("[^A-Za-z0-9_-]+", "_", text).strip("_")[:64] or method.lower()
        name, number = base, 1
        while name in self.operations:
            number += 1
            name = f"{base[:59]}_{number}"
        return name

    # --- Schemas and checks of an operation.

    def _keep(self, key: tuple[Any, ...], make: Callable[[], T]) -> T:
        """Return what was made for a key; what was not used for longest is forgotten."""
        with self._lock:
            made: T = self._kept.pop(key) if key in self._kept else make()
            self._kept[key] = made  # at the end: used last
            if len(self._kept) > _MAX_KEPT:
                self._kept.popitem(last=False)
            return made

    def full_schema(self, operation: Operation) -> Schema:
        """See `Operation.full_schema`."""
        return self._keep(("full", operation.name), lambda: self._input(operation))

    def shown(self, operation: Operation) -> tuple[Schema, bool]:
        """Return `Operation.input_schema` and `Operation.cut`."""
        return self._keep(("shown", operation.name), lambda: shortened(self.full_schema(operation)))

    def arguments_check(self, operation: Operation) -> Check:
        """Return the check of an operation's arguments."""
        return self._keep(
            ("check", operation.name), lambda: Check(self.full_schema(operation), "arguments")
        )

    def _input(self, operation: Operation) -> Schema:
        properties: Schema = {}
        required: list[str] = []
        parts: list[Parameter | Body] = [*operation.parameters]
        if operation.body:
            parts.append(operation.body)
        for each in parts:
            schema = self._schemas.convert(each.schema, answer=False)
            properties[each.argument] = _described(schema, each)
            if each.required:
                required.append(each.argument)
        made: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
        if required:
            made["required"] = required
        return self._schemas.closed(made, answer=False)

    def check_answer(
        self, operation: Operation, status: int, content_type: str, data: object
    ) -> str | None:
        """See `Operation.check_answer`."""
        responses = operation._responses
        if not isinstance(responses, dict):
            return None
        known = next(
            (key for key in (str(status), f"{status // 100}XX", "default") if key in responses),
            None,
        )
        if known is None:
            return f"answer: the status {status} is not declared" if status < 300 else None
        try:
            content = resolved(self._root, responses[known]).get("content")
            if not isinstance(content, dict) or not content:
                return None
            media = _matching(content, content_type)
            if media is None:
                kinds = ", ".join(clean(each, 64) for each in list(content)[:5])
                return f"answer: the content type is none of those declared: {kinds}"
            plain = content_type.partition(";")[0].strip().lower()
            if not (plain == "application/json" or plain.endswith("+json")):
                return None
            key = ("answer", operation.name, known, media)
            check = self._keep(key, lambda: self._answer(content[media]))
        except Unsupported:
            return None
        return check.wrong(data) if check else None

    def _answer(self, media: object) -> Check | None:
        raw = resolved(self._root, media).get("schema")
        if raw is None or self._schemas.problem(raw):
            return None
        schema = self._schemas.convert(raw, answer=True)
        if isinstance(schema, dict):
            schema = self._schemas.closed(schema, answer=True)
        return Check(schema, "answer")

    # --- Search.

    def search(
        self, query: str = "", tag: str = "", method: str = "", limit: int = 20
    ) -> list[Operation]:
        """Return the operations that have all words of a query, the best first.

        A word in the name counts most, then one in path, summary or tags. Case does not matter.
        """
        words = query.lower().split()[:20]
        found: list[tuple[int, int, Operation]] = []
        for place, each in enumerate(self.operations.values()):
            if method and each.method != method.upper():
                continue
            if tag and tag.lower() not in (own.lower() for own in each.tags):
                continue
            name, text = self._words[each.name]
            if all(word in text for word in words):
                found.append((-sum(word in name for word in words), place, each))
        found.sort(key=lambda one: one[:2])
        return [each for _, _, each in found[:limit]]

    def near(self, name: str, limit: int = 5) -> list[str]:
        """Return names of operations that are spelled like this one."""
        lower = {each.lower(): each for each in self.operations}
        close = difflib.get_close_matches(name[:64].lower(), lower, limit, 0.6)
        return [lower[each] for each in close]


def load(text: bytes, name: str, reserved: Collection[tuple[str, str]] = ()) -> Document:
    """Read a document, JSON or YAML.

    Args:
        text: at most 32 MiB, YAML 8 MiB.
        name: what messages call it.
        reserved: places and names that the settings use for credentials, such as
            ``("header", "X-Key")`` or ``("query", "key")``. No argument can set them, nor
            those of the document's own security schemes.

    Raises:
        ConfigError: it cannot be read or is of another kind; in one line.
    """
    try:
        if len(text) > MAX_DOCUMENT:
            raise ConfigError(f"is larger than {MAX_DOCUMENT // 2**20} MiB")
        root = _parsed(text.removeprefix(b"\xef\xbb\xbf").decode())
        if problem := excess(root, _MAX_EXPANDED, _MAX_DEPTH):
            raise ConfigError(problem)
        if not isinstance(root, dict):
            raise ConfigError("is no object")
        return Document(root, reserved)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{name}: is not UTF-8") from None
    except RecursionError:
        raise ConfigError(f"{name}: is nested too deeply") from None
    except (ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{name}: is neither JSON nor YAML: {clean(str(error), 200)}") from None


def _parsed(text: str) -> Any:
    if text.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
        except json.JSONDecodeError:
            if len(text) > MAX_YAML:
                raise
            # YAML may begin like this as well.
    return _yaml(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ConfigError("has a name twice in one object")
    return made


def _constant(name: str) -> Any:
    raise ConfigError(f"has {name}, which is no JSON")


# --- YAML, as far as it is JSON: the core schema of YAML 1.2, no tags, no merge keys.

_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_BASE):  # type: ignore[misc]
    """Reads dates and words such as ``no`` as text, as YAML 1.2 does, and refuses names twice."""

    yaml_implicit_resolvers: Mapping[str, Any] = {}


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]
)
_NUMBER = list("-+0123456789.")
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]{0,300})$"), _NUMBER
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$"),
    _NUMBER,
)


def _mapping(loader: Any, node: yaml.MappingNode) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise ConfigError("has a name that is no text")
        name = key.value  # as it is written: 200 and no are names
        if name in made:
            raise ConfigError("has a name twice in one object")
        if name == "<<":
            raise ConfigError("has a YAML merge key (<<): convert it to JSON")
        made[name] = loader.construct_object(value, deep=True)
    return made


def _other(loader: Any, node: yaml.Node) -> Any:
    raise ConfigError("has a YAML tag, which JSON does not have")


_TAGS = ("null", "bool", "int", "float", "str", "seq")
_Loader.yaml_constructors = {
    f"tag:yaml.org,2002:{tag}": yaml.SafeLoader.yaml_constructors[f"tag:yaml.org,2002:{tag}"]
    for tag in _TAGS
}
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_constructor(None, _other)


def _yaml(text: str) -> Any:
    if len(text) > MAX_YAML:
        raise ConfigError(f"is YAML of more than {MAX_YAML // 2**20} MiB: convert it to JSON")
    # The parser in C overflows its stack on deep nesting, so depth is counted first.
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent))
        depth -= isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent))
        if depth > _MAX_DEPTH:
            raise ConfigError("is nested too deeply")
    return yaml.load(text, Loader=_Loader)  # noqa: S506  made of CSafeLoader, with less


# --- Parts of a document.


def _servers(raw: object) -> list[str]:
    return [url for url in map(_server, raw if isinstance(raw, list) else ()) if url]


def _server(raw: object) -> str:
    """The address of a server, with the default of each variable."""
    if not isinstance(raw, dict) or not isinstance(raw.get("url"), str):
        return ""
    variables = raw.get("variables")

    def default(match: re.Match[str]) -> str:
        one = variables.get(match.group(1)) if isinstance(variables, dict) else None
        return str(one.get("default", "")) if isinstance(one, dict) else ""

    return clean(re.sub(r"\{([^{}]*)\}", default, raw["url"]), 500)


def _places(servers: list[str]) -> set[str]:
    """Servers without what makes no difference here."""
    return {re.sub("^https?:", "", each).rstrip("/") for each in servers}


def _security(root: Schema) -> tuple[dict[str, str], set[tuple[str, str]]]:
    """The kind of each security scheme, and the places and names of their keys."""
    kinds: dict[str, str] = {}
    keys: set[tuple[str, str]] = set()
    try:
        schemes = pointed(root, "#/components/securitySchemes")
    except Unsupported:
        return kinds, keys
    for name, raw in _objects(root, schemes):
        kind, where, key = raw.get("type"), raw.get("in"), raw.get("name")
        if kind == "apiKey" and isinstance(key, str):
            keys.add((str(where), key))
            kinds[name] = clean(f"apiKey in {where}: {key}", 100)
        else:
            kinds[name] = clean(f"{kind} {raw.get('scheme') or ''}", 100)
    return kinds, keys


def _objects(root: Schema, raw: object) -> Iterator[tuple[str, Schema]]:
    for name, value in raw.items() if isinstance(raw, dict) else ():
        try:
            yield clean(name, 100), resolved(root, value)
        except Unsupported:
            continue


def _described(schema: Schema | bool, part: Parameter | Body) -> Schema:
    """Add what the document says of a parameter, and its own name where the argument's differs."""
    text = part.description
    if isinstance(part, Parameter) and not part.argument.startswith(part.name):
        text = f"{clean(part.name, 100)}: {text}" if text else clean(part.name, 100)
    made: Schema = schema if isinstance(schema, dict) else {} if schema else {"not": {}}
    return {**made, "description": text} if text else made


def _searched(operation: Operation) -> str:
    parts = (operation.name, operation.path, operation.summary, *operation.tags)
    return "\n".join(parts).lower()


def _matching(content: Schema, content_type: str) -> str | None:
    """The key of the media type of an answer, the most exact one."""
    plain = content_type.partition(";")[0].strip().lower()
    offers = {each.partition(";")[0].strip().lower(): each for each in content}
    for wanted in (plain, f"{plain.partition('/')[0]}/*", "*/*"):
        if wanted in offers:
            return offers[wanted]
    return None
