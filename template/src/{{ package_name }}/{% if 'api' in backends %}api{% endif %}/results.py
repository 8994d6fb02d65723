# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""The structured answers of the tools; their output schemas are made from these."""

from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

_Method = Annotated[str, Field(description="In capitals.")]
_Changes = Annotated[bool, Field(description="Whether it may change something.")]


class ApiResult(TypedDict):
    """What the API answered."""

    status: Annotated[int, Field(description="Status of HTTP, 200 to 299.")]
    data: Annotated[Any, Field(description="The JSON; null where there is none, or text.")]
    text: Annotated[str | None, Field(description="Other text, or JSON too long for data.")]
    truncated: Annotated[bool, Field(description="Whether there is more than is here.")]
    total_chars: Annotated[int, Field(description="Characters of the whole answer.")]
    next_cursor: Annotated[
        str | None, Field(description="Give it to read_answer for what follows; null at the end.")
    ]
    warnings: list[str]


class Page(TypedDict):
    """A part of an answer that was too long."""

    text: str
    start: Annotated[int, Field(description="Place of its first character in the answer.")]
    total_chars: Annotated[int, Field(description="Characters of the whole answer.")]
    next_cursor: Annotated[
        str | None, Field(description="Give it to read_answer for what follows; null at the end.")
    ]


class Listed(TypedDict):
    """An operation of the API, in short."""

    name: Annotated[str, Field(description="For describe_operation and call_operation.")]
    method: _Method
    path: str
    summary: str
    tags: list[str]
    changes: _Changes
    deprecated: bool


class Operations(TypedDict):
    """Operations that match, the best first."""

    operations: list[Listed]
    total: Annotated[int, Field(description="Number that match, also beyond the limit.")]


class OperationDescription(TypedDict):
    """An operation and its arguments."""

    name: str
    method: _Method
    path: str
    summary: str
    description: str
    tags: list[str]
    changes: _Changes
    deprecated: bool
    arguments: Annotated[dict[str, Any], Field(description="JSON Schema of its arguments.")]
    shortened: Annotated[bool, Field(description="Whether the schema is cut to its upper levels.")]
    left_out: Annotated[list[str], Field(description="Parts that cannot be given, and why.")]


class Status(TypedDict):
    """The API, and whether it can be reached now."""

    origin: Annotated[str, Field(description="Scheme, host and port.")]
    title: Annotated[str, Field(description="The document's; empty: there is none.")]
    auth: Annotated[str, Field(description="Kind of the credentials.")]
    operations: Annotated[int, Field(description="Operations of the document that are served.")]
    reachable: bool
    status: Annotated[int | None, Field(description="Answered to HEAD at the base path.")]
    milliseconds: float
    problem: Annotated[str | None, Field(description="Why it cannot be reached.")]


class AuthCheck(TypedDict):
    """What the API says to the credentials."""

    auth: Annotated[str, Field(description="Kind of the credentials.")]
    result: Annotated[
        Literal["accepted", "refused", "unknown"],
        Field(description="Unknown: the answer says nothing about them, or there are none."),
    ]
    status: Annotated[int | None, Field(description="What the API answered.")]
    problem: str | None
