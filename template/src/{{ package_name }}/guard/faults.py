# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""What a client may read of a failure, and how a failing function is kept from doing harm."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any

import anyio.to_thread
from mcp import MCPError
from mcp.server.mcpserver.exceptions import ResourceError, ToolError
from pydantic import ValidationError

from ..errors import Refused
from .limits import InFlight

# What a function raises for the client to read.
DELIBERATE = (Refused, ToolError, ResourceError, MCPError)

_MAX_ERRORS = 5
_MAX_NAME = 64

# Messages of pydantic that hold the rejected value, a class name or the text of an exception.
_RULES = {
    "missing": "is required",
    "missing_argument": "is required",
    "missing_keyword_only_argument": "is required",
    "model_type": "Input should be an object",
    "model_attributes_type": "Input should be an object",
    "dataclass_type": "Input should be an object",
    "dataclass_exact_type": "Input should be an object",
    "named_tuple_type": "Input should be an object",
    "mapping_type": "Input should be an object",
    "union_tag_invalid": "its kind is not one of those that are known",
    "value_error": "is not valid",
    "assertion_error": "is not valid",
    "is_instance_of": "is not valid",
    "is_subclass_of": "is not valid",
    "iteration_error": "is not valid",
    "get_attribute_error": "is not valid",
}
_TYPES = {str: "string", float: "number", list: "array", dict: "object"}
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")


class Crash(Exception):
    """Marks its cause as an exception out of a registered function."""


def ends_task(exc: BaseException) -> bool:
    """Whether an exception is a cancellation of this task, which must go on to whoever cancelled.

    One that a function raises, or that comes out of a task of its own, is an error like others.
    """
    if isinstance(exc, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is None or task.cancelling() > 0
    return isinstance(exc, GeneratorExit)


def contained(function: Callable[..., Any], in_flight: InFlight) -> Callable[..., Awaitable[Any]]:
    """Wrap a function that is registered as a tool, resource, prompt or completion.

    A synchronous function runs on a thread that the call does not wait for when it is cancelled:
    the SDK would, and a function that hangs would outlast every timeout. Whatever the function
    raises without meaning it for the client is marked, so that nobody takes a validation error
    from within it for one about its arguments, and so that ``sys.exit`` does not end the server.
    """
    call = getattr(function, "__call__", None)  # noqa: B004  an object may have an async __call__
    is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)

    @functools.wraps(function)
    async def run(*args: Any, **kwargs: Any) -> Any:
        try:
            if is_async:
                return await function(*args, **kwargs)
            work = functools.partial(function, *args, **kwargs)
            return await anyio.to_thread.run_sync(in_flight.in_thread, work, abandon_on_cancel=True)
        except DELIBERATE:
            raise
        except BaseException as exc:
            if ends_task(exc):
                raise
            raise Crash from exc

    return run


def shortened(name: object) -> str:
    """A name that a caller wrote, fit to be repeated: quoted, ASCII, at most 64 characters."""
    return ascii(name[:_MAX_NAME]) if isinstance(name, str) else "(not a text)"


def sendable(text: str) -> str:
    """The text with lone surrogates escaped; JSON could not carry them."""
    return text.encode("utf-8", "backslashreplace").decode()


def unknown_names(arguments: Iterable[str], known: Collection[str]) -> str | None:
    """What to say of arguments that there are not; None when all are known."""
    unknown = [shortened(name) for name in arguments if name not in known]
    if not unknown:
        return None
    takes = f"the arguments are: {', '.join(known)}" if known else "there are no arguments"
    return f"invalid_arguments: unknown argument {', '.join(unknown[:_MAX_ERRORS])}; {takes}"


def wrong_types(arguments: Mapping[str, object], properties: Mapping[str, Any]) -> str | None:
    """What to say of arguments that are not of the type in the schema; None when all are.

    pydantic would take ``"2"`` and ``true`` for a number, and JSON in a text for a list.
    """
    for name, value in arguments.items():
        schema = properties.get(name)
        kinds = schema.get("anyOf", [schema]) if isinstance(schema, dict) else []
        named = [kind.get("type") if isinstance(kind, dict) else None for kind in kinds]
        types = [each for each in named if isinstance(each, str)]
        # What has no type, or a list of them, is left to whoever reads the whole schema.
        if types and types == named and not _json_types(value) & set(types):
            return f"invalid_arguments: {name}: should be {' or '.join(types)}"
    return None


def _json_types(value: object) -> set[str]:
    if value is None:
        return {"null"}
    if isinstance(value, bool):
        return {"boolean"}
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return {"integer", "number"}
    return {_TYPES[type(value)]}


def property_names(schema: object) -> set[str]:
    """The names of all fields in a JSON schema, nested ones too."""
    names: set[str] = set()
    todo = [schema]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            properties = item.get("properties")
            if isinstance(properties, dict):
                names.update(properties)
            todo.extend(item.values())
        elif isinstance(item, list):
            todo.extend(item)
    return names


def invalid_arguments(error: ValidationError, names: Collection[str]) -> str:
    """Field and rule of each error; no value, no class name, no address of a manual.

    Args:
        names: the names of the fields. What else stands in the place of an error, such as the
            key of an object or the class of a union, is the caller's or the author's own.
    """
    found = error.errors(include_url=False, include_context=False, include_input=False)
    parts: list[str] = []
    for item in found[:_MAX_ERRORS]:
        place = item["loc"]
        if item["type"] in _UNKNOWN:
            parts.append(f"unknown argument {shortened(place[-1])}")
            continue
        known = [str(part) for part in place if isinstance(part, int) or part in names]
        rule = _RULES.get(item["type"], item["msg"])
        parts.append(f"{'.'.join(known) or 'arguments'}: {rule}")
    return f"invalid_arguments: {'; '.join(parts)}"
