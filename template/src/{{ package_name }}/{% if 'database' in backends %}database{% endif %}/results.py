# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""The structured answers of the tools; their output schemas are made from these."""

from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

_Name = Annotated[str, Field(description="Name as the database has it.")]
_Schema = Annotated[str, Field(description="Schema it is in; for MySQL the database.")]
_Kind = Annotated[Literal["table", "view", "virtual"], Field(description="What it is.")]
_Rows = Annotated[int | None, Field(description="Approximate number of rows; null: not known.")]


class Column(TypedDict):
    """A column of a result."""

    name: str
    type: Annotated[str, Field(description="Type in the database's words; empty: not known.")]


class QueryResult(TypedDict):
    """The rows of a statement, as far as the limits allow."""

    columns: list[Column]
    rows: Annotated[
        list[list[Any]],
        Field(
            description="Values in the order of the columns. Text where JSON has no exact form: "
            'large integers, decimals, dates. Bytes are {"base64": "…"}.'
        ),
    ]
    row_count: Annotated[int, Field(description="Number of rows here.")]
    truncated: Annotated[bool, Field(description="Whether there is more than is here.")]
    truncated_by: Annotated[
        Literal["rows", "bytes"] | None, Field(description="The limit that cut it.")
    ]
    elapsed_ms: Annotated[float, Field(description="Milliseconds it took.")]


class WriteResult(TypedDict):
    """What a writing query has changed."""

    rows_changed: Annotated[int, Field(description="Rows inserted, updated or deleted.")]
    columns: list[Column]
    rows: Annotated[list[list[Any]], Field(description="What the statement returns, if anything.")]
    elapsed_ms: Annotated[float, Field(description="Milliseconds it took.")]


class Table(TypedDict):
    """A table or view."""

    schema: _Schema
    name: _Name
    kind: _Kind
    comment: Annotated[str | None, Field(description="What the database says about it.")]
    approx_rows: _Rows


class Tables(TypedDict):
    """Tables and views, by schema and name."""

    tables: list[Table]
    next_cursor: Annotated[
        str | None, Field(description="Pass it as `cursor` for what follows; null at the end.")
    ]


class TableColumn(TypedDict):
    """A column of a table."""

    name: _Name
    type: str
    nullable: bool
    default: Annotated[str | None, Field(description="Expression in the database's words.")]
    comment: str | None


class ForeignKey(TypedDict):
    """A reference from columns of one table to columns of another."""

    schema: Annotated[str, Field(description="Schema of the other table.")]
    table: Annotated[str, Field(description="The other table.")]
    columns: Annotated[list[str], Field(description="Columns of the described table.")]
    other_columns: Annotated[list[str], Field(description="Columns of the other table.")]


class Index(TypedDict):
    """An index of a table."""

    name: _Name
    columns: Annotated[list[str], Field(description="Columns or expressions.")]
    unique: bool


class TableDescription(TypedDict):
    """What a table consists of."""

    schema: _Schema
    name: _Name
    kind: _Kind
    comment: str | None
    columns: list[TableColumn]
    primary_key: list[str]
    foreign_keys: Annotated[list[ForeignKey], Field(description="From this table to others.")]
    referenced_by: Annotated[list[ForeignKey], Field(description="From others to this table.")]
    indexes: list[Index]


class TableStats(TypedDict):
    """How large a table is."""

    schema: _Schema
    name: _Name
    approx_rows: _Rows
    exact: Annotated[bool, Field(description="Whether approx_rows is exact.")]
    size_bytes: Annotated[
        int | None, Field(description="Bytes on disk, with its indexes; null: not known.")
    ]


class Plan(TypedDict):
    """How the database would run a statement. It has not been run."""

    plan: Annotated[Any, Field(description="The plan in the database's own form.")]
