# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""Schemas of an OpenAPI document as JSON Schema 2020-12, and values checked against them.

A document is never trusted to be well made. Only keywords with a meaning for a value are kept,
and only with a value that the keyword may have. A `$ref` leads into the document itself
(``#/…``) and nowhere else: there is no code here that could fetch one.

What differs from the words of a schema:

* ``pattern`` is matched by Rust's regular expressions, whose time is linear (CWE-1333). One that
  they do not have, such as a lookahead, or that repeats too much, such as ``(.{0,500}){20}``, is
  told in the description and not checked.
* ``oneOf`` with a ``discriminator`` is checked as ``anyOf``: its forms often overlap.
* ``patternProperties`` are not checked, nor then what other names may have.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from pydantic_core import SchemaError, SchemaValidator, core_schema
from referencing import Registry

Schema = dict[str, Any]

MAX_DESCRIPTION = 500  # characters, of a field
_MAX_SHOWN = 20_000  # bytes of JSON, of the schema in a list of tools
_MAX_WEIGHT = 2000  # steps that a pattern has, repetitions written out
_MAX_STEPS = 100_000  # references followed in one check
_MAX_MATCHING = 50_000_000  # weight of patterns times characters in one check: some seconds
_MAX_HOPS = 20  # references that lead to references
_DEPTHS = (12, 8, 6, 5, 4, 3, 2)  # levels of a schema, tried until it is small enough

_ONE = frozenset({
    "additionalProperties", "items", "not", "contains", "propertyNames", "if", "then", "else",
    "unevaluatedItems", "unevaluatedProperties",
})  # fmt: skip
_MANY = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_NAMED = frozenset({"properties", "dependentSchemas"})
# These refuse more when a schema below them is cut, so a shortened schema does without.
_STRICTER = frozenset({
    "not", "if", "then", "else", "contains", "maxContains", "minContains", "unevaluatedItems",
    "unevaluatedProperties",
})  # fmt: skip
_EXCLUSIVE = {"minimum": "exclusiveMinimum", "maximum": "exclusiveMaximum"}
_TYPES = {"array", "boolean", "integer", "null", "number", "object", "string"}


class Unsupported(Exception):
    """A part of the document that this program does not handle. Its text says which."""


# --- Text and references of a document.


def clean(text: object, limit: int) -> str:
    """Return a text of the document, fit to be shown: cut, without control and invisible signs."""
    if not isinstance(text, str):
        return ""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    if not (cut.isascii() and cut.isprintable()):
        cut = "".join(" " if sign.isspace() else sign for sign in cut if _visible(sign))
    return " ".join(cut.split())


def _visible(sign: str) -> bool:
    selector = 0xFE00 <= ord(sign) <= 0xFE0F or 0xE0100 <= ord(sign) <= 0xE01EF
    return sign.isspace() or not (selector or unicodedata.category(sign).startswith("C"))


def pointed(document: Schema, ref: object) -> Any:
    """Return what a `$ref` of the form ``#/…`` leads to (RFC 6901, section 6).

    Raises:
        Unsupported: it has another form, or leads nowhere.
    """
    if not isinstance(ref, str) or not ref.startswith("#/"):
        raise Unsupported("a $ref that does not lead into the document (#/…)")
    value: Any = document
    for part in unquote(ref[2:]).split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name in map(str, range(len(value))):
            value = value[int(name)]
        else:
            raise Unsupported("a $ref to something that is not in the document")
    return value


def resolved(document: Schema, value: Any) -> Schema:
    """Return an object of the document, following `$ref` where it stands instead of it.

    Raises:
        Unsupported: the reference leads nowhere or in a circle, or to something else.
    """
    for _ in range(_MAX_HOPS):
        if not isinstance(value, dict):
            raise Unsupported("something other than an object where there has to be one")
        if "$ref" not in value:
            return value
        value = pointed(document, value["$ref"])
    raise Unsupported("a $ref that leads in a circle")


# --- Conversion.


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _flag(value: object) -> bool:
    return isinstance(value, bool)


# The keywords that are taken over as they are, and what their value has to be.
_KEPT: dict[str, Callable[[Any], bool]] = {
    "enum": lambda value: isinstance(value, list) and bool(value),
    "const": lambda value: True,
    "format": lambda value: isinstance(value, str) and len(value) <= 40,
    "default": lambda value: _flag(value) or _number(value) or len(str(value)) <= 200,
    "deprecated": _flag,
    "readOnly": _flag,
    "writeOnly": _flag,
    "minimum": _number,
    "maximum": _number,
    "exclusiveMinimum": _number,
    "exclusiveMaximum": _number,
    "multipleOf": lambda value: _number(value) and value > 0,
    "minLength": _count,
    "maxLength": _count,
    "minItems": _count,
    "maxItems": _count,
    "minContains": _count,
    "maxContains": _count,
    "minProperties": _count,
    "maxProperties": _count,
    "uniqueItems": _flag,
    "required": _texts,
    "dependentRequired": lambda value: isinstance(value, dict) and all(map(_texts, value.values())),
}


class Schemas:
    """Converts the schemas of one document, each part of it once."""

    def __init__(self, document: Schema, *, old: bool) -> None:
        """Take a document; ``old``: its version is 3.0, whose schemas are not JSON Schema."""
        self._document = document
        self._old = old
        self._names: dict[str, str] = {}  # of $defs, by reference
        self._refs: dict[str, str] = {}  # the other way round
        self._made: dict[tuple[bool, str], Schema | bool] = {}
        self._checked: set[str] = set()  # references without a problem

    def problem(self, raw: object) -> str | None:
        """Say why a schema cannot be converted; None when it can. Linear, and quick."""
        seen: set[str] = set()
        todo = [raw]
        while todo:
            node = todo.pop()
            if not isinstance(node, dict):
                continue
            for keyword in ("$id", "$dynamicRef", "$recursiveRef"):
                if isinstance(node.get(keyword), str):
                    return f"a schema with {keyword}"
            ref = node.get("$ref")
            if isinstance(ref, str) and ref not in seen and ref not in self._checked:
                seen.add(ref)
                try:
                    todo.append(pointed(self._document, ref))
                except Unsupported as error:
                    return str(error)
            todo += _children(node)
        self._checked |= seen
        return None

    def convert(self, raw: object, *, answer: bool) -> Schema | bool:
        """Return a schema whose references are ``#/$defs/…``; `closed` adds those.

        Args:
            answer: whether it is for what the API sends. Such a value may lack what is
                ``writeOnly``, one that is sent to the API what is ``readOnly``.
        """
        if isinstance(raw, bool):
            return raw
        if not isinstance(raw, dict):
            return {}
        made: Schema = {}
        if isinstance(raw.get("$ref"), str):
            made["$ref"] = f"#/$defs/{self._name(raw['$ref'])}"
            if self._old:  # 3.0: what stands beside a reference has no meaning
                return made
        if kinds := _kinds(raw.get("type")):
            made["type"] = kinds[0] if len(kinds) == 1 else kinds
        made |= {
            key: raw[key] for key, fits in _KEPT.items() if key in raw and fits(raw[key])
        }  # fmt: skip
        self._describe(raw, made)
        self._nested(raw, made, answer)
        if "required" in made:
            mark = "writeOnly" if answer else "readOnly"
            made["required"] = [n for n in made["required"] if not self._marked(raw, n, mark, 0)]
        return self._modern(raw, made) if self._old else made

    def _describe(self, raw: Schema, made: Schema) -> None:
        text = clean(raw.get("description"), MAX_DESCRIPTION)
        pattern = raw.get("pattern")
        if isinstance(pattern, str):
            if _compiled(pattern):
                made["pattern"] = pattern
            else:
                text = f"{text} Pattern: {clean(pattern, 200)}".strip()
        if text:
            made["description"] = text

    def _nested(self, raw: Schema, made: Schema, answer: bool) -> None:
        for key, value in raw.items():
            if key in _ONE and isinstance(value, (dict, bool)):
                made[key] = self.convert(value, answer=answer)
            elif key in _MANY and isinstance(value, list) and value:
                loose = key == "oneOf" and "discriminator" in raw and "anyOf" not in raw
                parts = [self.convert(each, answer=answer) for each in value]
                made["anyOf" if loose else key] = parts
            elif key in _NAMED and isinstance(value, dict):
                made[key] = {n: self.convert(each, answer=answer) for n, each in value.items()}
        if "patternProperties" in raw:
            made.pop("additionalProperties", None)
            made.pop("unevaluatedProperties", None)

    def _modern(self, raw: Schema, made: Schema) -> Schema:
        """What 3.0 says in its own way: exclusive bounds and null."""
        for limit, exclusive in _EXCLUSIVE.items():
            if raw.get(exclusive) is True and limit in made:
                made[exclusive] = made.pop(limit)
        if raw.get("nullable") is not True:
            return made
        if "type" in made:
            made["type"] = [made["type"], "null"]
            if "enum" in made and None not in made["enum"]:
                made["enum"] = [*made["enum"], None]
            return made
        return {"anyOf": [made, {"type": "null"}]}

    def _marked(self, raw: object, name: str, mark: str, depth: int) -> bool:
        """Whether the property of that name is readOnly or writeOnly, here or in a part."""
        try:
            schema = resolved(self._document, raw)
        except Unsupported:
            return False
        properties = schema.get("properties")
        if isinstance(properties, dict) and name in properties:
            own = properties[name]
            if isinstance(own, dict) and own.get(mark) is True:
                return True
            try:
                return resolved(self._document, own).get(mark) is True
            except Unsupported:
                return False
        parts = schema.get("allOf")
        return (
            depth < _MAX_HOPS
            and isinstance(parts, list)
            and any(self._marked(part, name, mark, depth + 1) for part in parts[:_MAX_HOPS])
        )

    def _name(self, ref: str) -> str:
        if ref not in self._names:
            base = re.sub("[^A-Za-z0-9_.-]+", "_", unquote(ref).rpartition("/")[2])[:60] or "schema"
            name, number = base, 1
            while name in self._refs:
                number += 1
                name = f"{base}_{number}"
            self._names[ref], self._refs[name] = name, ref
        return self._names[ref]

    def closed(self, schema: Schema, *, answer: bool) -> Schema:
        """Return a converted schema with the ``$defs`` that it reaches, and no others.

        Raises:
            Unsupported: a reference leads nowhere; `problem` would have said so.
        """
        definitions: Schema = {}
        todo: list[Schema | bool] = [schema]
        while todo:
            for node in _walk(todo.pop()):
                name = _defined(node)
                if name is not None and name not in definitions:
                    definitions[name] = self._definition(name, answer)
                    todo.append(definitions[name])
        return {**schema, "$defs": definitions} if definitions else schema

    def _definition(self, name: str, answer: bool) -> Schema | bool:
        ref = self._refs[name]
        if (answer, ref) not in self._made:
            self._made[answer, ref] = self.convert(pointed(self._document, ref), answer=answer)
        return self._made[answer, ref]


def _kinds(kind: object) -> list[str]:
    listed = kind if isinstance(kind, list) else [kind]
    known = ["string" if each == "file" else each for each in listed if isinstance(each, str)]
    return [each for each in dict.fromkeys(known) if each in _TYPES]


def _children(schema: Schema) -> Iterator[Any]:
    for key, value in schema.items():
        if key in _ONE:
            yield value
        elif key in _MANY and isinstance(value, list):
            yield from value
        elif key in _NAMED and isinstance(value, dict):
            yield from value.values()


def _walk(schema: Any) -> Iterator[Schema]:
    todo = [schema]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            yield node
            todo += _children(node)


def _defined(node: Schema) -> str | None:
    ref = node.get("$ref")
    return ref.removeprefix("#/$defs/") if isinstance(ref, str) else None


# --- A schema small enough to be listed.


def shortened(schema: Schema) -> tuple[Schema, bool]:
    """Return a closed schema with at most 20 KB of JSON, and whether anything was left out.

    Deeper levels are replaced by their type, or by nothing: a value that fits the whole schema
    fits the shortened one as well.
    """
    if _size(schema) <= _MAX_SHOWN:
        return schema, False
    for depth in _DEPTHS:
        made = _to_depth(schema, depth, describe=True)
        if _size(made) <= _MAX_SHOWN:
            return made, True
    made = _to_depth(schema, 2, describe=False)
    if _size(made) > _MAX_SHOWN:
        made = {"type": "object", "description": "Too large to be listed."}
    return made, True


def _size(schema: Schema) -> int:
    return len(json.dumps(schema, ensure_ascii=False, separators=(",", ":")).encode())


def _to_depth(schema: Schema, depth: int, *, describe: bool) -> Schema:
    given = schema.get("$defs", {})
    body = {key: value for key, value in schema.items() if key != "$defs"}
    definitions: Schema = {}
    waiting: deque[tuple[str, int]] = deque()

    def cut(node: Any, level: int) -> Any:
        if not isinstance(node, dict):
            return node
        if level >= depth:
            return {"type": node["type"]} if "type" in node else {}
        made: Schema = {}
        for key, value in node.items():
            if key in _STRICTER:
                continue
            if key in _ONE:
                made[key] = cut(value, level + 1)
            elif key in _MANY:
                parts = [cut(each, level + 1) for each in value]
                made["anyOf" if key == "oneOf" and "anyOf" not in node else key] = parts
            elif key in _NAMED:
                made[key] = {name: cut(each, level + 1) for name, each in value.items()}
            elif describe or key not in ("description", "default", "enum"):
                made[key] = value
        if name := _defined(node):
            waiting.append((name, level))
        return made

    shown: Schema = cut(body, 0)
    while waiting:  # nearest first: a definition is cut as where it is first met
        name, level = waiting.popleft()
        if name not in definitions:
            definitions[name] = cut(given[name], level)
    return {**shown, "$defs": definitions} if definitions else shown


# --- Checks of values.


class _TooComplex(Exception):
    """A check that does not come to an end in good time."""


_left: ContextVar[list[int]] = ContextVar("left")  # references, and weight times characters
_follow = Draft202012Validator.VALIDATORS["$ref"]


def _spend(kind: int, amount: int) -> None:
    left = _left.get()
    left[kind] -= amount
    if left[kind] < 0:
        raise _TooComplex


def _ref(validator: Any, ref: Any, instance: Any, schema: Any) -> Any:
    """Follow a reference, but not without end: definitions may multiply or go in a circle."""
    _spend(0, 1)
    return _follow(validator, ref, instance, schema)


def _pattern(validator: Any, pattern: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    compiled = _compiled(pattern)
    if compiled and isinstance(instance, str):
        _spend(1, _weight(pattern) * len(instance))
        if not compiled.isinstance_python(instance):
            yield ValidationError("pattern")


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> SchemaValidator | None:
    """Return a pattern in Rust's regular expressions, which never backtrack; None: not possible."""
    if _weight(pattern) > _MAX_WEIGHT:
        return None
    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))
    except (SchemaError, UnicodeEncodeError):
        return None


_PIECE = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|\{(\d{1,6})(?:,(\d{0,6}))?\}|.", re.DOTALL)


@lru_cache(maxsize=256)
def _weight(pattern: str) -> int:
    """About how many steps a pattern has: time is at most this times the characters of a text."""
    groups, last = [0], 0
    for piece in _PIECE.finditer(pattern):
        if piece[1]:  # {n}, {n,} or {n,m}: what stands before it, so many times
            times = max(int(piece[1]), int(piece[2] or 0), 1)
            groups[-1] += last * (times - 1)
            last *= times
        elif piece[0] == "(":
            groups.append(0)
        elif piece[0] == ")" and len(groups) > 1:
            last = groups.pop()
            groups[-1] += last
        else:
            last = 1
            groups[-1] += 1
    return sum(groups) + 1


def _unique(validator: Any, unique: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """Compare in linear time; the library's own comparison is quadratic for objects."""
    if unique and isinstance(instance, list):
        texts = {json.dumps(each, sort_keys=True) for each in instance}
        if len(texts) < len(instance):
            yield ValidationError("uniqueItems")


# Formats that are cheap to check; the others are only told.
_FORMATS = FormatChecker(())
_CHEAP = ("date", "email", "ipv4", "ipv6", "uuid")
_FORMATS.checkers = {each: Draft202012Validator.FORMAT_CHECKER.checkers[each] for each in _CHEAP}


@_FORMATS.checks("int32")
def _is_int32(value: object) -> bool:
    return not isinstance(value, int) or -(2**31) <= value < 2**31


@_FORMATS.checks("int64")
def _is_int64(value: object) -> bool:
    return not isinstance(value, int) or -(2**63) <= value < 2**63


_KEYWORDS = {"$ref": _ref, "pattern": _pattern, "uniqueItems": _unique}
_Validator = extend(Draft202012Validator, _KEYWORDS)  # type: ignore[no-untyped-call]


class Check:
    """Checks values against one closed schema."""

    def __init__(self, schema: Schema | bool, whole: str) -> None:
        """Take a schema; ``whole``: what messages call the value itself."""
        self._whole = whole
        # An empty registry, which has nothing to fetch with.
        self._validator = _Validator(schema, registry=Registry(), format_checker=_FORMATS)

    def wrong(self, value: object) -> str | None:
        """Name the field and the rule that a value breaks; never the value. None: it fits."""
        _left.set([_MAX_STEPS, _MAX_MATCHING])
        try:
            error = next(self._validator.iter_errors(value), None)
        except (_TooComplex, RecursionError):
            return f"{self._whole}: too much to be checked against the schema"
        except (OverflowError, ValueError):  # arithmetic with a number beyond any bound
            return f"{self._whole}: has a number that is too large"
        return None if error is None else _sentence(error, self._whole)


_RULES = {
    "minimum": "has to be at least {}",
    "maximum": "has to be at most {}",
    "exclusiveMinimum": "has to be more than {}",
    "exclusiveMaximum": "has to be less than {}",
    "multipleOf": "has to be a multiple of {}",
    "minLength": "needs at least {} characters",
    "maxLength": "may have at most {} characters",
    "minItems": "needs at least {} items",
    "maxItems": "may have at most {} items",
    "minProperties": "needs at least {} fields",
    "maxProperties": "may have at most {} fields",
    "pattern": "has to match the pattern {}",
    "format": "has to be of the format {}",
    "enum": "has to be one of {}",
    "const": "has to be {}",
    "uniqueItems": "may not have an item twice",
    "not": "has a form that is not allowed",
    "anyOf": "fits none of its possible forms",
    "oneOf": "has to fit exactly one of its possible forms",
    "unevaluatedProperties": "has a field that there is not",
}


def _sentence(error: ValidationError, whole: str) -> str:
    while error.context:  # the form that the value came closest to says most
        inner = max(error.context, key=lambda each: len(each.absolute_path))
        if len(inner.absolute_path) == len(error.absolute_path):
            break
        error = inner
    place = ".".join(clean(str(part), 64) for part in list(error.absolute_path)[-8:])
    return f"{place or whole}: {_rule(error)}"


def _rule(error: ValidationError) -> str:
    keyword = str(error.validator)
    wanted: Any = error.validator_value
    instance: Any = error.instance
    schema: Any = error.schema
    if keyword == "type":
        return f"has to be {' or '.join([wanted] if isinstance(wanted, str) else wanted)}"
    if keyword == "required":
        missing = [clean(name, 64) for name in wanted if name not in instance]
        return f"lacks {', '.join(missing[:10])}"
    if keyword == "additionalProperties":
        known = [clean(name, 64) for name in schema.get("properties", {})]
        return f"has a field that there is not; there are: {clean(', '.join(known), 500) or 'none'}"
    rule = _RULES.get(keyword, f"breaks the rule {clean(keyword, 40)}")
    return rule.format(clean(json.dumps(wanted, ensure_ascii=False), 300))
