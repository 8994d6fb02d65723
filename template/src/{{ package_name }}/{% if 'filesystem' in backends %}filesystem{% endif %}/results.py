# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""The structured answers of the tools; their output schemas are made from these.

All have the ``content`` of the reference server: the same text as in the answer's first block.
Only what is not in the text is there a second time: an answer travels whole, and clients check it
against its schema. They are dictionaries, not models, for the same reason.
"""

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

_Content = Annotated[str, Field(description="The answer as text.")]
_Cursor = Annotated[
    str | None, Field(description="Pass it as `cursor` for what follows; null at the end.")
]
_Truncated = Annotated[bool, Field(description="Whether something was left out.")]
_Left = Annotated[
    bool, Field(description="Whether folders were left out that lie too deep or hold too much.")
]
_Sha256 = Annotated[
    str, Field(description="SHA-256 of the whole file, in hexadecimal; see `if_match`.")
]
_Time = Annotated[str, Field(description="Time as in ISO 8601, UTC.")]
_Kind = Literal["file", "directory", "other"]


class TextFile(TypedDict):
    """Text of a file, or lines of it."""

    content: _Content
    size: Annotated[int, Field(description="Size of the whole file in bytes.")]
    truncated: _Truncated
    next_offset: Annotated[
        int | None, Field(description="Pass it as `offset` for the next lines; null at the end.")
    ]
    sha256: _Sha256
    mtime: _Time


class MediaBlock(TypedDict):
    """An image or a sound."""

    type: Literal["image", "audio"]
    data: Annotated[str, Field(description="The file in Base64.")]
    mimeType: str


class ResourceContents(TypedDict):
    """A file of another type."""

    uri: str
    mimeType: str
    blob: Annotated[str, Field(description="The file in Base64.")]


class ResourceBlock(TypedDict):
    """A file of another type, as a resource."""

    type: Literal["resource"]
    resource: ResourceContents


class MediaFile(TypedDict):
    """One block: the file."""

    content: list[MediaBlock | ResourceBlock]


class OneOfManyFiles(TypedDict):
    """A file that was asked for among others."""

    path: str
    ok: Annotated[bool, Field(description="Whether it could be read.")]
    content: str | None
    error: str | None


class ManyFiles(TypedDict):
    """Several files, each with its text or the reason why not."""

    content: _Content
    files: list[OneOfManyFiles]


class WrittenFile(TypedDict):
    """What stands in a file now."""

    content: _Content
    size: Annotated[int, Field(description="Size of the file in bytes.")]
    sha256: _Sha256


class EditedFile(TypedDict):
    """The difference that edits made, or would make."""

    content: Annotated[str, Field(description="The difference, as a unified diff.")]
    applied: Annotated[bool, Field(description="False for a dry run.")]
    truncated: _Truncated
    sha256: Annotated[str, Field(description="SHA-256 of the file with the edits.")]


class Done(TypedDict):
    """A change that has been made."""

    content: _Content


class Copied(TypedDict):
    """What was copied."""

    content: _Content
    files: Annotated[int, Field(description="Files that were copied.")]
    skipped: Annotated[
        int, Field(description="Entries that may not be served, links and special files.")
    ]


class Deleted(TypedDict):
    """Where something that was deleted has gone."""

    content: _Content
    trash: Annotated[str, Field(description="Move it back from here to have it again.")]


class Listing(TypedDict):
    """A page of a folder."""

    content: _Content
    next_cursor: _Cursor


class Tree(TypedDict):
    """A folder with all that is below, as JSON in the text."""

    content: _Content
    truncated: _Truncated


class FoundPaths(TypedDict):
    """A page of paths."""

    content: _Content
    truncated: _Left
    next_cursor: _Cursor


class Match(TypedDict):
    """A line with a match."""

    path: str
    line: Annotated[int, Field(description="Counted from 1.")]
    column: Annotated[int, Field(description="Of the first match in the line, from 1.")]
    text: Annotated[str, Field(description="The line; a long one is cut around the match.")]
    before: list[str]
    after: list[str]


class FoundLines(TypedDict):
    """A page of lines with matches."""

    content: _Content
    matches: list[Match]
    skipped: Annotated[
        int, Field(description="Files that were not searched: too large, binary, or not served.")
    ]
    truncated: _Left
    next_cursor: _Cursor


class FileInfo(TypedDict):
    """What is known of a file or folder."""

    content: _Content
    type: _Kind
    size: Annotated[int, Field(description="Bytes.")]
    created: _Time
    modified: _Time
    accessed: _Time
    permissions: Annotated[str, Field(description="Octal, such as 644.")]
    sha256: Annotated[str | None, Field(description="Only with `checksum`.")]


class Root(TypedDict):
    """An allowed folder."""

    path: str
    mode: Literal["ro", "rw"]


class Limits(TypedDict):
    """The limits in force, in bytes, entries, levels and seconds."""

    max_file_size: int
    max_media_bytes: int
    max_response_bytes: int
    max_entries: int
    max_depth: int
    walk_timeout: float


class Roots(TypedDict):
    """The allowed folders."""

    content: _Content
    roots: list[Root]
    limits: Limits
