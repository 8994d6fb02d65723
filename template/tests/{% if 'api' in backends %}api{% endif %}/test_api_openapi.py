# managed: part of the template; modelctx updates may rewrite it. Your tests live in tests/custom/.
"""From an OpenAPI document to operations, their schemas, and answers checked against them."""

import json
import socket
import time
from contextlib import suppress
from typing import Any

import pytest
from conftest import module
from jsonschema import Draft202012Validator

openapi = module("api.openapi")
schemas = module("api.schemas")
errors = module("errors")

OK = {"200": {"description": "fine"}}


def text(paths: Any, version: str = "3.1.0", **more: Any) -> bytes:
    """A document as JSON."""
    info = {"title": "Pets", "version": "1"}
    return json.dumps({"openapi": version, "info": info, "paths": paths, **more}).encode()


def load(paths: Any, version: str = "3.1.0", **more: Any) -> Any:
    return openapi.load(text(paths, version, **more), "pets.json")


def query(schema: Any, version: str = "3.1.0", **components: Any) -> Any:
    """An operation with the one parameter ``value``, in a document with these schemas."""
    parameters = [{"name": "value", "in": "query", "required": True, "schema": schema}]
    paths = {"/x": {"get": {"operationId": "x", "parameters": parameters, "responses": OK}}}
    return load(paths, version, components={"schemas": components})


def posting(schema: Any, version: str = "3.1.0", **components: Any) -> Any:
    """An operation with a body of JSON."""
    content = {"application/json": {"schema": schema}}
    one = {"operationId": "x", "requestBody": {"required": True, "content": content}}
    return load({"/x": {"post": one}}, version, components={"schemas": components})


def answering(schema: Any, version: str = "3.1.0", **components: Any) -> Any:
    """An operation that answers with JSON."""
    responses = {"200": {"description": "", "content": {"application/json": {"schema": schema}}}}
    paths = {"/x": {"get": {"operationId": "x", "responses": responses}}}
    return load(paths, version, components={"schemas": components}).operations["x"]


def refused(operation: Any, **arguments: Any) -> str:
    with pytest.raises(errors.Refused) as caught:
        operation.bind(arguments)
    assert caught.value.code == "invalid_arguments"
    return str(caught.value.message)


# --- Reading.

YAML = """
openapi: 3.0.3
info: {title: Pets, version: 2020-01-02}
paths:
  /pets:
    get:
      operationId: list
      parameters:
        - {name: land, in: query, schema: {type: string, enum: [no, se, 1:30, 010]}}
        - {name: many, in: query, schema: {type: integer, maximum: 1_0, minimum: 5}}
      responses:
        200: {description: fine, content: {application/json: {schema: {type: array}}}}
"""


def test_yaml_is_read_as_json_would_be() -> None:
    """Dates, ``no`` and other words of YAML 1.1 stay text, and names are text."""
    document = openapi.load(YAML.encode(), "pets.yaml")
    assert document.version == "2020-01-02"
    operation = document.operations["list"]
    assert operation.input_schema["properties"]["land"]["enum"] == ["no", "se", "1:30", "010"]
    assert operation.input_schema["properties"]["many"] == {"type": "integer", "minimum": 5}
    assert operation.check_answer(200, "application/json", {}) is not None
    assert operation.check_answer(200, "application/json", []) is None


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (b"", "no object"),
        (b"[]", "no object"),
        (b"{", "neither JSON nor YAML"),
        (b"a: [", "neither JSON nor YAML"),
        (b"\xff\xfe", "UTF-8"),
        (b'{"swagger": "2.0"}', "convert it to OpenAPI 3"),
        (b'{"openapi": "3.2.0"}', "no OpenAPI 3.0 or 3.1"),
        (b'{"openapi": "3.10.0"}', "no OpenAPI 3.0 or 3.1"),
        (b'{"openapi": 3.1}', "no OpenAPI 3.0 or 3.1"),
        (b'{"openapi": "3.1.0", "openapi": "3.0.0"}', "twice"),
        (b"openapi: 3.1.0\nopenapi: 3.0.0", "twice"),
        (b'{"openapi": "3.1.0", "x": NaN}', "NaN"),
        (b"openapi: 3.1.0\nx: .nan\ny: !!float .inf", "number that is not finite"),
        (b"a: &a {b: 1}\nc: {<<: *a}", "merge key"),
        (b"a: !!python/object/apply:os.system [x]", "tag"),
        (b"a: !!timestamp 2020-01-01", "tag"),
        (b"? [a]\n: b", "name that is no text"),
        (b"a: &a [*a]", ""),
        (b"[" * 200_000, ""),
        (b"[" * 200_000 + b"]" * 200_000, "deep"),
        (b"a: " + b"[" * 200_000, ""),
        (b"a: " + b"[" * 200_000 + b"]" * 200_000, ""),
        (b"a: " + b"[" * 900 + b"]" * 900, "nested too deeply"),
        (b"- " * 200_000 + b"a", "nested too deeply"),
        (b"a: " + b"[" * 200 + b"]" * 200, "nested"),
        (b"a:\n" + b"".join(b" " * i + b"- a:\n" for i in range(1, 300, 2)), "nested"),
        (b"{" + b" " * (32 * 1024 * 1024), "larger than 32 MiB"),
        (b"a: " + b"x" * (8 * 1024 * 1024), "convert it to JSON"),
    ],
)  # fmt: skip
def test_what_is_no_document_is_told_in_one_line(document: bytes, says: str) -> None:
    with pytest.raises(errors.ConfigError) as caught:
        openapi.load(document, "pets.yaml")
    assert str(caught.value).startswith("pets.yaml: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_aliases_that_multiply_are_refused_at_once() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, 12):
        items = ", ".join(f"*a{level - 1}" for _ in range(10))
        lines.append(f"a{level}: &a{level} [{items}]")
    start = time.monotonic()
    with pytest.raises(errors.ConfigError, match="larger than"):
        openapi.load("\n".join(lines).encode(), "bomb.yaml")
    assert time.monotonic() - start < 10


# --- Listing.


def test_operations_have_unique_names_that_clients_take() -> None:
    given = ["a" * 100, "a" * 100, "repos/get content", "ü", None, None]
    paths = {f"/p{n}/{{id}}": {"get": {"operationId": name}} for n, name in enumerate(given)}
    for item in paths.values():
        item["parameters"] = [{"name": "id", "in": "path", "required": True}]  # type: ignore
    document = load(paths)
    assert document.skipped == {}
    names = list(document.operations)
    assert names == [
        "a" * 64, "a" * 59 + "_2", "repos_get_content", "get", "get_p4_id", "get_p5_id"
    ]  # fmt: skip


def test_parameters_of_an_operation_stand_for_those_of_its_path() -> None:
    shared = [
        {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}},
        {"name": "page", "in": "query", "schema": {"type": "string"}},
    ]
    own = [{"$ref": "#/components/parameters/page"}]
    page = {"name": "page", "in": "query", "schema": {"type": "integer"}, "required": True}
    document = load(
        {"/x/{id}": {"parameters": shared, "get": {"operationId": "x", "parameters": own}}},
        components={"parameters": {"page": page}},
    )
    schema = document.operations["x"].input_schema
    assert schema == {
        "type": "object",
        "properties": {"id": {"type": "string"}, "page": {"type": "integer"}},
        "required": ["id", "page"],
        "additionalProperties": False,
    }


def test_arguments_of_one_name_say_where_they_stand() -> None:
    parameters = [
        {"name": "id", "in": "path", "required": True},
        {"name": "id", "in": "query"},
        {"name": "body", "in": "query"},
        {"name": "filter[name]", "in": "query"},
        {"name": "$top", "in": "query", "description": "How many."},
    ]
    one = {
        "operationId": "x", "parameters": parameters,
        "requestBody": {"content": {"application/json": {}}},
    }  # fmt: skip
    operation = load({"/x/{id}": {"post": one}}).operations["x"]
    properties = operation.input_schema["properties"]
    assert list(properties) == [
        "id__path", "id__query", "body__query", "filter_name", "top", "body"
    ]  # fmt: skip
    assert properties["top"] == {"description": "$top: How many."}
    request = operation.bind({"id__path": "a", "id__query": "b", "filter_name": "c", "body": 1})
    assert request.target == "/x/a?id=b&filter%5Bname%5D=c"
    assert request.body == b"1"


FORM = {"content": {"multipart/form-data": {"schema": {}}}}


@pytest.mark.parametrize(
    ("path", "operation", "reason"),
    [
        ("/x/{id}", {}, "parameters are not those"),
        ("/x/{id", {}, "signs"),
        ("/x?a=1", {}, "signs"),
        ("/x#a", {}, "signs"),
        ("/x y", {}, "signs"),
        ("/x\\y", {}, "signs"),
        ("x", {}, "signs"),
        ("//evil.example/x", {}, "empty or dotted"),
        ("/x/../y", {}, "empty or dotted"),
        ("/x", {"requestBody": FORM}, "multipart"),
        ("/x", {"requestBody": {}}, "(none)"),
        ("/x", {"requestBody": {"$ref": "#/nowhere"}}, "not in the document"),
        ("/x", {"servers": [{"url": "https://other.example"}]}, "server of its own"),
        ("/x", {"parameters": [{"$ref": "https://evil.example/p.json"}]}, "lead into"),
        ("/x", {"parameters": [{"$ref": "#/paths/~1x/post/parameters/0"}]}, "in a circle"),
        ("/x", {"parameters": [7]}, "other than an object"),
        (
            "/x/{id}",
            {"parameters": [{"name": "id", "in": "path", "style": "matrix"}]},
            "style matrix",
        ),
        (
            "/x",
            {"parameters": [{"name": "a", "in": "query", "required": True,
                             "content": {"application/xml": {}}}]},
            "application/xml",
        ),
    ],
)  # fmt: skip
@pytest.mark.promise("API-1")
def test_what_cannot_be_offered_is_named_with_its_reason(
    path: str, operation: Any, reason: str
) -> None:
    servers = [{"url": "https://api.example"}]
    document = load({path: {"post": operation}, "/fine": {"get": {}}}, servers=servers)
    assert list(document.operations) == ["get_fine"]
    [(where, why)] = document.skipped.items()
    assert where == f"POST {path}"
    assert reason in why


def test_optional_parts_that_cannot_be_given_are_left_out() -> None:
    parameters = [
        {"name": "a", "in": "query", "style": "odd"},
        {"name": "b", "in": "query", "schema": {"$ref": "other.json#/b"}},
        {"name": "c", "in": "query"},
    ]
    one = {"operationId": "x", "parameters": parameters, "requestBody": FORM}
    operation = load({"/x": {"get": one}}).operations["x"]
    assert list(operation.input_schema["properties"]) == ["c"]
    assert len(operation.left_out) == 3


def test_texts_are_cut_and_have_no_invisible_signs() -> None:
    hidden = "a\u200b\u202eb\x1b[31m\U000e0041 c\n\td\ufe0f"
    one = {"operationId": "x", "summary": hidden, "description": "long " * 1000, "tags": [hidden]}
    one["parameters"] = [{"name": "q", "in": "query", "description": hidden * 1000}]
    operation = load({"/x": {"get": one}}).operations["x"]
    assert operation.summary == operation.tags[0] == "ab[31m c d"
    assert len(operation.description) <= 1500
    shown = operation.input_schema["properties"]["q"]["description"]
    assert len(shown) <= 500
    assert shown.isprintable()


def test_servers_and_security_are_told() -> None:
    variables = {"region": {"default": "eu"}, "version": {"default": "v1"}}
    document = load(
        {}, servers=[{"url": "https://{region}.api.example/{version}", "variables": variables}],
        components={"securitySchemes": {
            "key": {"type": "apiKey", "in": "header", "name": "X-Key"},
            "token": {"type": "http", "scheme": "bearer"},
        }},
    )  # fmt: skip
    assert document.servers == ["https://eu.api.example/v1"]
    assert document.security == {"key": "apiKey in header: X-Key", "token": "http bearer"}


# --- Schemas.


@pytest.mark.parametrize(
    ("raw", "made"),
    [
        ({"type": "string", "nullable": True}, {"type": ["string", "null"]}),
        (
            {"type": "string", "nullable": True, "enum": ["a"]},
            {"type": ["string", "null"], "enum": ["a", None]},
        ),
        (
            {"allOf": [{"type": "string"}], "nullable": True},
            {"anyOf": [{"allOf": [{"type": "string"}]}, {"type": "null"}]},
        ),
        ({"minimum": 1, "exclusiveMinimum": True}, {"exclusiveMinimum": 1}),
        ({"maximum": 1, "exclusiveMaximum": False}, {"maximum": 1}),
        ({"type": "file"}, {"type": "string"}),
        ({"type": "any"}, {}),
        ({"type": "string", "example": "x", "xml": {}, "x-y": 1}, {"type": "string"}),
        ({"oneOf": [{}], "discriminator": {"propertyName": "a"}}, {"anyOf": [{}]}),
        ({"required": True, "minLength": "5", "enum": {}, "properties": 7, "items": []}, {}),
        ({"type": "string", "pattern": "^a$"}, {"type": "string", "pattern": "^a$"}),
        ({"pattern": "(?=a)b"}, {"description": "Pattern: (?=a)b"}),
    ],
)
def test_schemas_of_3_0_become_those_of_2020_12(raw: Any, made: Any) -> None:
    schema = query(raw, "3.0.3").operations["x"].input_schema
    assert schema["properties"]["value"] == made


@pytest.mark.parametrize(
    "raw",
    [
        {"type": ["string", "null"]},
        {"const": {"a": None}},
        {"type": "object", "unevaluatedProperties": False, "properties": {"a": {}}},
        {"exclusiveMinimum": 3},
        {"prefixItems": [{"type": "string"}], "items": False},
        {"if": {"required": ["a"]}, "then": {"required": ["b"]}},
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"properties": {"example": {"type": "string"}, "$ref": {"type": "string"}}},
    ],
)
def test_schemas_of_3_1_stay_what_they_are(raw: Any) -> None:
    assert query(raw).operations["x"].input_schema["properties"]["value"] == raw


@pytest.mark.promise("API-1")
def test_a_schema_has_only_the_definitions_that_it_reaches() -> None:
    operation = query(
        {"$ref": "#/components/schemas/a~1b%20c", "description": "beside"},
        **{
            "a/b c": {"properties": {"next": {"$ref": "#/components/schemas/Node"}}},
            "Node": {"type": "object", "properties": {"n": {"$ref": "#/components/schemas/Node"}}},
            "Other": {"type": "string"},
        },
    ).operations["x"]
    schema = operation.input_schema
    assert set(schema["$defs"]) == {"a_1b_c", "Node"}
    assert schema["properties"]["value"]["description"] == "beside"
    Draft202012Validator.check_schema(schema)
    operation.bind({"value": {"next": {"n": {"n": {}}}}})
    assert "value.next.n.n" in refused(operation, value={"next": {"n": {"n": 1}}})


@pytest.mark.promise("API-1")
@pytest.mark.parametrize(
    "ref",
    [
        "https://evil.example/s.json", "http://127.0.0.1/", "file:///etc/passwd", "other.yaml#/a",
        "//evil.example/a", "#anchor", "#/components/schemas/Missing", "", "#",
        "#/components/schemas/%00", "urn:x:y",
    ],
)  # fmt: skip
def test_no_reference_leaves_the_document(ref: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such an operation is skipped, and in an answer there is nothing to check by."""

    def never(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "socket", never)
    monkeypatch.setattr(socket, "getaddrinfo", never)
    nested = {"type": "object", "properties": {"a": {"items": {"$ref": ref}}}}
    assert list(query(nested).skipped) == ["GET /x"]
    assert list(posting(nested).skipped) == ["POST /x"]
    assert answering(nested).check_answer(200, "application/json", {"a": [1]}) is None


@pytest.mark.parametrize("keyword", ["$id", "$dynamicRef"])
def test_references_of_another_kind_are_no_surprise(keyword: str) -> None:
    document = query({"allOf": [{keyword: "#node"}]})
    assert document.skipped == {"GET /x": f"a schema with {keyword}"}


@pytest.mark.parametrize(
    "components",
    [
        {"A": {"$ref": "#/components/schemas/A"}},
        {"A": {"allOf": [{"$ref": "#/components/schemas/B"}]},
         "B": {"anyOf": [{"$ref": "#/components/schemas/A"}]}},
        {"A": {"not": {"$ref": "#/components/schemas/A"}}},
        {"A": {"allOf": [{"$ref": "#/components/schemas/A1"}] * 2}, **{
            f"A{n}": {"allOf": [{"$ref": f"#/components/schemas/A{n + 1}"}] * 2}
            for n in range(1, 60)
        }, "A60": {"type": "string"}},
    ],
)  # fmt: skip
def test_definitions_without_end_do_not_hang(components: Any) -> None:
    operation = query({"$ref": "#/components/schemas/A"}, **components).operations["x"]
    start = time.monotonic()
    assert "too much to be checked" in refused(operation, value="a")
    assert time.monotonic() - start < 10


@pytest.mark.promise("API-1")
@pytest.mark.parametrize(
    "pattern", ["^(a+)+$", "^(a|a)*$", "^(a|aa)+$", "(.*)*x", r"^(\w+\s?)*$", "^(.{0,50}){35}x$"]
)
def test_a_pattern_cannot_hang_a_check(pattern: str) -> None:
    operation = query({"type": "string", "pattern": pattern}).operations["x"]
    many = query({"type": "array", "items": {"type": "string", "pattern": pattern}})
    start = time.monotonic()
    for length in (30, 1000, 100_000, 2_000_000):
        with suppress(errors.Refused):
            operation.bind({"value": "a" * length + "!"})
    with suppress(errors.Refused):
        many.operations["x"].bind({"value": ["a" * 1000 + "!"] * 2000})
    assert time.monotonic() - start < 10


def test_matching_in_one_check_is_bounded() -> None:
    schema = {"type": "array", "items": {"type": "string", "pattern": "^(.{0,50}){35}x$"}}
    operation = query(schema).operations["x"]
    assert "too much to be checked" in refused(operation, value=["a" * 1000 + "x"] * 40)
    operation.bind({"value": ["a" * 1000 + "x"] * 4})


def test_names_by_pattern_are_not_checked_and_not_refused() -> None:
    raw = {"type": "object", "patternProperties": {"^(a+)+$": {}}, "additionalProperties": False}
    query(raw).operations["x"].bind({"value": {"a" * 50 + "!": 1}})


def test_a_pattern_that_repeats_too_much_is_only_told() -> None:
    schema = query({"pattern": "^((.{0,50}){10}){10}x$"}).operations["x"].input_schema
    assert schema["properties"]["value"] == {"description": "Pattern: ^((.{0,50}){10}){10}x$"}
    kept = {"pattern": r"^[a-z]{1,63}(\.[a-z{}(\]]{1,63}){0,3}$"}
    assert query(kept).operations["x"].input_schema["properties"]["value"] == kept


def test_a_pattern_is_checked() -> None:
    operation = query({"type": "string", "pattern": r"^[a-z]\d{2}$"}).operations["x"]
    operation.bind({"value": "a12"})
    for wrong in ("a1", "a123", "A12", "a12\n"):
        assert refused(operation, value=wrong).startswith("value: has to match the pattern")


@pytest.mark.parametrize(
    ("schema", "wrong", "says"),
    [
        ({"type": "integer"}, "SECRET", "value: has to be integer"),
        ({"type": "integer"}, True, "value: has to be integer"),
        ({"type": "number"}, "1", "value: has to be number"),
        ({"type": ["integer", "null"]}, "SECRET", "value: has to be integer or null"),
        ({"type": "string", "maxLength": 3}, "SECRET", "value: may have at most 3 characters"),
        ({"enum": ["a", "b"]}, "SECRET", 'value: has to be one of ["a", "b"]'),
        ({"const": "a"}, "SECRET", 'value: has to be "a"'),
        ({"maximum": 3}, 4444, "value: has to be at most 3"),
        ({"multipleOf": 0.5}, 10**400, "number that is too large"),
        ({"format": "date"}, "SECRET", 'value: has to be of the format "date"'),
        ({"format": "uuid"}, "SECRET", 'value: has to be of the format "uuid"'),
        ({"format": "int32"}, 2**31, 'value: has to be of the format "int32"'),
        ({"uniqueItems": True}, [{"a": 1, "b": 2}, {"b": 2, "a": 1}], "an item twice"),
        ({"required": ["a"]}, {"SECRET": 1}, "value: lacks a"),
        (
            {"additionalProperties": False, "properties": {"a": {}}},
            {"SECRET": 1},
            "value: has a field that there is not; there are: a",
        ),
        ({"unevaluatedProperties": False}, {"SECRET": 1}, "value: has a field that there is not"),
        ({"anyOf": [{"type": "null"}, {"type": "object", "properties": {"a": {"type": "null"}}}]},
         {"a": "SECRET"}, "value.a: has to be null"),
        ({"items": {"type": "null"}}, [None, "SECRET"], "value.1: has to be null"),
        ({"not": {}}, "SECRET", "value: has a form that is not allowed"),
        (False, "SECRET", "value: has a form that is not allowed"),
        ({"dependentRequired": {"a": ["b"]}}, {"a": "SECRET"}, "value: breaks the rule"),
    ],
)  # fmt: skip
@pytest.mark.promise("API-1")
def test_errors_name_field_and_rule_and_never_the_value(schema: Any, wrong: Any, says: str) -> None:
    message = refused(query(schema).operations["x"], value=wrong)
    assert says in message
    assert "SECRET" not in message
    assert "4444" not in message


@pytest.mark.promise("API-1")
def test_unknown_and_missing_arguments_are_refused() -> None:
    operation = query({"type": "string"}).operations["x"]
    assert refused(operation, value="a", SECRET=1) == (
        "arguments: has a field that there is not; there are: value"
    )
    assert refused(operation) == "arguments: lacks value"


@pytest.mark.parametrize("version", ["3.0.3", "3.1.0"])
def test_what_the_api_sets_need_not_be_sent(version: str) -> None:
    """Neither what is only written has to come back; also through parts and references."""
    pet = {
        "type": "object",
        "required": ["id", "name", "secret"],
        "properties": {
            "id": {"$ref": "#/components/schemas/Id"},
            "name": {"type": "string"},
            "secret": {"type": "string", "writeOnly": True},
        },
    }
    components = {
        "Id": {"type": "integer", "readOnly": True},
        "Pet": pet,
        "Whole": {"allOf": [{"$ref": "#/components/schemas/Pet"}], "required": ["id", "name"]},
    }
    whole = {"$ref": "#/components/schemas/Whole"}
    operation = posting(whole, version, **components).operations["x"]
    operation.bind({"body": {"name": "a", "secret": "b"}})
    assert refused(operation, body={"name": "a"}) == "body: lacks secret"
    asked = answering(whole, version, **components)
    assert asked.check_answer(200, "application/json", {"id": 1, "name": "a"}) is None
    assert asked.check_answer(200, "application/json", {"name": "a"}) == "answer: lacks id"


def test_a_shown_schema_is_small_and_takes_what_the_whole_takes() -> None:
    def level(depth: int) -> Any:
        if depth == 0:
            return {"type": "string", "description": "d" * 400, "enum": ["a", "b"]}
        inner = {f"f{n}": level(depth - 1) for n in range(5)}
        return {"type": "object", "properties": inner, "not": {"required": ["x"]}}

    operation = posting(level(4)).operations["x"]
    assert operation.cut
    size = len(json.dumps(operation.input_schema, separators=(",", ":")))
    assert 1000 < size <= 20_000
    assert len(json.dumps(operation.full_schema)) > 200_000
    Draft202012Validator.check_schema(operation.input_schema)
    good = {"f0": {"f1": {"f2": {"f3": "a"}}}}
    operation.bind({"body": good})
    assert Draft202012Validator(operation.input_schema).is_valid({"body": good})
    assert "body.f0.f1.f2.f3" in refused(operation, body={"f0": {"f1": {"f2": {"f3": "c"}}}})


def test_schemas_are_made_when_they_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at the start, and not for ever."""
    made: list[object] = []
    convert = schemas.Schemas.convert

    def counted(self: Any, raw: object, *, answer: bool) -> Any:
        made.append(raw)
        return convert(self, raw, answer=answer)

    monkeypatch.setattr(schemas.Schemas, "convert", counted)
    shape = [{"name": "a", "in": "query", "schema": {"type": "string"}}]
    document = load({f"/{n}": {"get": {"parameters": shape}} for n in range(1000)})
    assert made == []
    for operation in document.operations.values():
        assert operation.input_schema["properties"]
    assert len(made) == 1000
    assert len(document._kept) <= 256


# --- Answers.


@pytest.mark.promise("API-4")
def test_answers_are_checked_by_status_type_and_schema() -> None:
    thing = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}
    problem = {"application/problem+json": {"schema": {"required": ["title"]}}}
    responses = {
        "200": {"description": "", "content": {"application/json": {"schema": thing}}},
        "201": {"$ref": "#/components/responses/Made"},
        "202": {"description": "", "content": {"text/*": {}}},
        "4XX": {"description": "", "content": problem},
    }
    operation = load(
        {"/x": {"get": {"operationId": "x", "responses": responses}}},
        components={"responses": {"Made": {"description": "nothing"}}},
    ).operations["x"]
    check = operation.check_answer
    assert check(200, "application/json; charset=utf-8", {"a": 1}) is None
    assert check(200, "application/json", {"a": "SECRET"}) == "a: has to be integer"
    assert check(200, "text/html", "<p>") == (
        "answer: the content type is none of those declared: application/json"
    )
    assert check(201, "application/json", 5) is None
    assert check(202, "text/csv", "a") is None
    assert check(204, "", None) == "answer: the status 204 is not declared"
    assert check(404, "application/problem+json", {}) == "answer: lacks title"
    assert check(404, "application/problem+json", {"title": ""}) is None
    assert check(500, "text/html", "") is None


# --- Search.


def many() -> Any:
    paths: Any = {}
    for n in range(600):
        tags = ["Pets" if n % 2 else "Shops"]
        paths[f"/things/{n}"] = {
            "get": {"operationId": f"getThing{n}", "summary": "Reads one pet", "tags": tags},
            "post": {"operationId": f"makeThing{n}", "summary": "Makes it", "tags": tags},
        }
    paths["/odd"] = {"get": {"operationId": "listPets", "summary": "All of them"}}
    return load(paths)


def test_operations_are_found_by_words_tag_and_method() -> None:
    document = many()
    found = [each.name for each in document.search("PET")]
    assert len(found) == 20
    assert found[0] == "listPets"
    assert document.search("pet all")[0].name == "listPets"
    assert document.search("all nonsense") == []
    assert {each.method for each in document.search("thing", method="post", limit=2000)} == {"POST"}
    assert len(document.search(tag="shops", limit=2000)) == 600
    assert len(document.search(tag="shops", method="get", limit=7)) == 7
    start = time.monotonic()
    for _ in range(100):
        document.search("makething 7 pets it", limit=1000)
    assert time.monotonic() - start < 3


def test_a_misspelled_name_is_near_others() -> None:
    document = many()
    assert document.near("list_pets")[0] == "listPets"
    assert document.near("x" * 100_000) == []
