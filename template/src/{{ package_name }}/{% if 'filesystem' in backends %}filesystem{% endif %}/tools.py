# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""The tools as clients see them: names, arguments and answers of the reference server, and more.

Nothing dangerous happens here. A call's arguments are checked against the annotations below
before a method runs; the method hands them to a thread and puts the answer into words.
"""

from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from os import stat_result
from pathlib import Path
from stat import S_IMODE, S_ISDIR, S_ISREG
from typing import TYPE_CHECKING, Annotated, Any, Literal

from mcp.types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    TextContent,
    ToolAnnotations,
)
from pydantic import BaseModel, ConfigDict, Field

from ..cursor import MAX_CURSOR_CHARS
from ..errors import Refused
from . import lines, results
from .edits import Replacement, fenced
from .files import Content, Files, sha256
from .limits import Deadline, Workers
from .match import MAX_PATTERN_CHARS
from .media import sniff
from .pages import Pages
from .refusals import short
from .sandbox import Sandbox
from .settings import LARGEST_FILE, FilesystemSettings
from .walk import Reader, Walk, tree, tree_exclusion, utf8

if TYPE_CHECKING:
    from ..guard import GuardedServer

_MAX_PATH_CHARS = 4096
_MAX_LINES = 1_000_000
_MAX_ITEMS = 100

PathArgument = Annotated[
    str,
    Field(
        min_length=1,
        max_length=_MAX_PATH_CHARS,
        description="Absolute, or relative to the first allowed folder.",
    ),
]
Pattern = Annotated[str, Field(min_length=1, max_length=MAX_PATTERN_CHARS)]
Text = Annotated[str, Field(max_length=LARGEST_FILE)]
Lines = Annotated[int, Field(ge=0, le=_MAX_LINES)]
Cursor = Annotated[
    str, Field(max_length=MAX_CURSOR_CHARS, description="`next_cursor` of the page before.")
]
PageSize = Annotated[int, Field(ge=1, le=10_000, description="Entries on a page.")]
ExcludePatterns = Annotated[
    Sequence[Pattern],
    Field(max_length=_MAX_ITEMS, description="Globs of paths to leave out, such as **/*.log."),
]
Ignore = Annotated[
    Sequence[Pattern],
    Field(max_length=_MAX_ITEMS, description="Globs of names to leave out, such as *.log."),
]
IfMatch = Annotated[
    str,
    Field(
        pattern="^([0-9a-fA-F]{64})?$",
        description="Only if the file still has this SHA-256, as read_text_file gave it.",
    ),
]
Encoding = Literal[
    "utf-8",
    "utf-16",
    "latin-1",
    "windows-1252",
    "koi8-r",
    "shift_jis",
    "euc-jp",
    "euc-kr",
    "gb18030",
    "big5",
]


_Page = results.Listing | results.FoundPaths | results.FoundLines


class Edit(BaseModel):
    """One replacement."""

    model_config = ConfigDict(extra="forbid")

    old_text: Annotated[str, Field(min_length=1, max_length=LARGEST_FILE)] = Field(
        alias="oldText", description="What stands there now, copied exactly."
    )
    new_text: Text = Field(alias="newText", description="What is to stand there.")
    replace_all: bool = Field(
        default=False, alias="replaceAll", description="Replace it wherever it stands."
    )


class Tools:
    """All tools of the backend.

    Args:
        sandbox: the allowed folders.
        settings: the limits.
    """

    def __init__(self, sandbox: Sandbox, settings: FilesystemSettings) -> None:
        self._sandbox = sandbox
        self._settings = settings
        self._files = Files(sandbox, settings)
        self._workers = Workers(settings.walk_timeout)

    def close(self) -> None:
        """Stop everything and close the folders. Safe to call twice.

        While a thread still hangs on a disk, the folders stay open: it must not find another
        file under the number of a closed one. Then the end of the process closes them.
        """
        if self._workers.stop():
            self._sandbox.close()

    def summary(self) -> str:
        """Say in one line what is served."""
        roots = self._sandbox.roots
        shown = [f"{root.path} ({'rw' if root.writable else 'ro'})" for root in roots]
        writable = any(root.writable for root in roots)
        count = len(_READING) + (len(_WRITING) if writable else 0)
        folders = "1 folder" if len(roots) == 1 else f"{len(roots)} folders"
        mode = "read and write" if writable else "read-only"
        return f"filesystem: {folders}, {mode}, {count} tools: {', '.join(shown)}"

    # -- reading ------------------------------------------------------------------------------

    async def read_text_file(
        self,
        path: PathArgument,
        tail: Annotated[Lines, Field(description="Only so many lines from the end.")] = 0,
        head: Annotated[Lines, Field(description="Only so many lines from the start.")] = 0,
        offset: Annotated[Lines, Field(description="Begin with this line; the first is 1.")] = 0,
        limit: Annotated[Lines, Field(description="Only so many lines, from offset on.")] = 0,
        encoding: Annotated[Encoding, Field(description="How the file is encoded.")] = "utf-8",
        line_numbers: Annotated[bool, Field(description="Put numbers before the lines.")] = False,
    ) -> Annotated[CallToolResult, results.TextFile]:
        def work(_: Deadline) -> CallToolResult:
            content = self._files.read(path)
            found = lines.excerpt(
                content.data.decode(encoding, errors="replace"),
                head=head,
                tail=tail,
                offset=offset,
                limit=limit,
                max_bytes=self._settings.max_response_bytes,
            )
            answer: results.TextFile = {
                "content": lines.numbered(found) if line_numbers else found.text,
                "size": content.status.st_size,
                "truncated": found.cut,
                "next_offset": found.next_line,
                "sha256": content.sha256,
                "mtime": _iso(content.status.st_mtime),
            }
            following = (
                f"go on with offset={found.next_line}" if found.next_line else "no more lines"
            )
            return _answer(answer, f"[cut here; {following}]" if found.cut else "")

        return await self._workers.run(work)

    async def read_media_file(
        self, path: PathArgument
    ) -> Annotated[CallToolResult, results.MediaFile]:
        def work(_: Deadline) -> CallToolResult:
            return _media(self._files.read(path, self._settings.max_media_bytes))

        return await self._workers.run(work)

    async def read_multiple_files(
        self,
        paths: Annotated[
            Sequence[PathArgument],
            Field(min_length=1, max_length=_MAX_ITEMS, description="The files."),
        ],
        max_bytes: Annotated[
            int, Field(ge=0, le=LARGEST_FILE, description="Of all files together; 0: as allowed.")
        ] = 0,
    ) -> Annotated[CallToolResult, results.ManyFiles]:
        def work(deadline: Deadline) -> CallToolResult:
            allowed = self._settings.max_response_bytes
            left = min(max_bytes, allowed) if max_bytes else allowed
            files: list[results.OneOfManyFiles] = []
            for path in paths:
                deadline.check()
                one = self._read_one(path, left)
                left -= len((one["content"] or "").encode())
                files.append(one)
            text = "\n---\n".join(_one_of_many(one) for one in files)
            return _answer(results.ManyFiles(content=text, files=files))

        return await self._workers.run(work)

    def _read_one(self, path: str, left: int) -> results.OneOfManyFiles:
        try:
            text = self._files.read(path).data.decode(errors="replace")
            if len(text.encode()) > left:
                raise Refused("too_large", f"{short(path)}: does not fit here; read it by itself")
        except Refused as refused:
            return {"path": path, "ok": False, "content": None, "error": str(refused)}
        return {"path": path, "ok": True, "content": text, "error": None}

    async def list_directory(
        self, path: PathArgument, cursor: Cursor = "", limit: PageSize = 1000, ignore: Ignore = ()
    ) -> Annotated[CallToolResult, results.Listing]:
        def work(pages: Pages) -> results.Listing:
            return pages.listing(path, ignore, limit, cursor)

        return await self._page(work)

    async def list_directory_with_sizes(
        self,
        path: PathArgument,
        sortBy: Annotated[  # noqa: N803, as the reference server names it
            Literal["name", "size"], Field(description="By name, or the largest first.")
        ] = "name",
        cursor: Cursor = "",
        limit: PageSize = 1000,
        ignore: Ignore = (),
    ) -> Annotated[CallToolResult, results.Listing]:
        def work(pages: Pages) -> results.Listing:
            return pages.sized_listing(path, sortBy, ignore, limit, cursor)

        return await self._page(work)

    async def directory_tree(
        self,
        path: PathArgument,
        excludePatterns: ExcludePatterns = (),  # noqa: N803, as the reference server names it
        max_depth: Annotated[
            int, Field(ge=0, le=512, description="Levels to go down; 0: as allowed.")
        ] = 0,
        max_entries: Annotated[
            int, Field(ge=0, le=10_000_000, description="Entries to show; 0: as allowed.")
        ] = 0,
        respect_gitignore: Annotated[
            bool, Field(description="Leave out what .gitignore files below the path name.")
        ] = False,
    ) -> Annotated[CallToolResult, results.Tree]:
        def work(deadline: Deadline) -> CallToolResult:
            reader = Reader(self._sandbox, self._settings, deadline)
            with (
                self._sandbox.open_directory(path) as top,
                Walk(
                    reader,
                    top,
                    exclude=tree_exclusion(excludePatterns, deadline),
                    max_depth=max_depth,
                    gitignore=respect_gitignore,
                ) as walk,
            ):
                text, cut = tree(walk, max_entries, self._settings.max_response_bytes)
            more = "[not everything is shown; name a folder below, or exclude something]"
            return _answer(results.Tree(content=text, truncated=cut), more if cut else "")

        return await self._workers.run(work, long=True)

    async def search_files(
        self,
        path: PathArgument,
        pattern: Annotated[Pattern, Field(description="Glob of paths, such as **/*.py.")],
        excludePatterns: ExcludePatterns = (),  # noqa: N803, as the reference server names it
        max_results: Annotated[
            int, Field(ge=1, le=100_000, description="Paths on a page.")
        ] = 10_000,
        type: Annotated[  # noqa: A002, the natural name for clients
            Literal["any", "file", "directory"], Field(description="What to look for.")
        ] = "any",
        cursor: Cursor = "",
    ) -> Annotated[CallToolResult, results.FoundPaths]:
        def work(pages: Pages) -> results.FoundPaths:
            return pages.names(path, pattern, excludePatterns, type, max_results, cursor)

        return await self._page(work)

    async def search_content(
        self,
        path: PathArgument,
        pattern: Annotated[Pattern, Field(description="Text of one line, or RE2 expression.")],
        regex: Annotated[bool, Field(description="Whether the pattern is an expression.")] = False,
        ignore_case: bool = False,
        glob: Annotated[
            str, Field(max_length=MAX_PATTERN_CHARS, description="Only such files, as *.py.")
        ] = "",
        context: Annotated[
            int, Field(ge=0, le=20, description="Lines to show before and after.")
        ] = 0,
        max_results: Annotated[int, Field(ge=1, le=10_000, description="Lines on a page.")] = 100,
        cursor: Cursor = "",
    ) -> Annotated[CallToolResult, results.FoundLines]:
        def work(pages: Pages) -> results.FoundLines:
            return pages.lines(
                path,
                pattern,
                regex=regex,
                ignore_case=ignore_case,
                glob=glob,
                context=context,
                max_results=max_results,
                cursor=cursor,
            )

        return await self._page(work)

    async def get_file_info(
        self,
        path: PathArgument,
        checksum: Annotated[bool, Field(description="Also the SHA-256 of a file.")] = False,
    ) -> Annotated[CallToolResult, results.FileInfo]:
        def work(_: Deadline) -> CallToolResult:
            status = self._sandbox.stat(path)[1]
            return _info(status, self._files.read(path).sha256 if checksum else None)

        return await self._workers.run(work)

    async def list_allowed_directories(self) -> Annotated[CallToolResult, results.Roots]:
        roots: list[results.Root] = [
            {"path": root.spellings[0], "mode": "rw" if root.writable else "ro"}
            for root in self._sandbox.roots
        ]
        limits: results.Limits = {
            "max_file_size": self._settings.max_file_size,
            "max_media_bytes": self._settings.max_media_bytes,
            "max_response_bytes": self._settings.max_response_bytes,
            "max_entries": self._settings.max_entries,
            "max_depth": self._settings.max_depth,
            "walk_timeout": self._settings.walk_timeout,
        }
        text = "\n".join(["Allowed directories:", *(root["path"] for root in roots)])
        return _answer(results.Roots(content=text, roots=roots, limits=limits))

    # -- writing ------------------------------------------------------------------------------

    async def write_file(
        self,
        path: PathArgument,
        content: Text,
        if_match: IfMatch = "",
        create_only: Annotated[bool, Field(description="Refuse when it exists.")] = False,
        append: Annotated[bool, Field(description="Put it behind what is there.")] = False,
        make_parents: Annotated[bool, Field(description="Make missing folders.")] = False,
    ) -> Annotated[CallToolResult, results.WrittenFile]:
        def work(deadline: Deadline) -> CallToolResult:
            written = self._files.write(
                deadline,
                path,
                content,
                if_match=if_match,
                create_only=create_only,
                append=append,
                make_parents=make_parents,
            )
            text = f"Successfully wrote to {path}"
            digest = sha256(written)
            return _answer(results.WrittenFile(content=text, size=len(written), sha256=digest))

        return await self._workers.run(work)

    async def edit_file(
        self,
        path: PathArgument,
        edits: Annotated[
            Sequence[Edit], Field(max_length=_MAX_ITEMS, description="In the order given.")
        ],
        dryRun: Annotated[  # noqa: N803, as the reference server names it
            bool, Field(description="Only show the difference.")
        ] = False,
        if_match: IfMatch = "",
    ) -> Annotated[CallToolResult, results.EditedFile]:
        replacements = [
            Replacement(each.old_text, each.new_text, each.replace_all) for each in edits
        ]

        def work(deadline: Deadline) -> CallToolResult:
            edited = self._files.edit(
                deadline, path, replacements, dry_run=dryRun, if_match=if_match
            )
            answer: results.EditedFile = {
                "content": fenced(edited.diff),
                "applied": not dryRun,
                "truncated": edited.diff_cut,
                "sha256": sha256(edited.data),
            }
            more = "[the difference is too large to be shown]"
            return _answer(answer, more if edited.diff_cut else "")

        return await self._workers.run(work)

    async def create_directory(self, path: PathArgument) -> Annotated[CallToolResult, results.Done]:
        def work(_: Deadline) -> CallToolResult:
            self._files.make_directory(path)
            return _answer(results.Done(content=f"Successfully created directory {path}"))

        return await self._workers.run(work)

    async def move_file(
        self,
        source: PathArgument,
        destination: PathArgument,
        overwrite: Annotated[bool, Field(description="Replace a file that is there.")] = False,
    ) -> Annotated[CallToolResult, results.Done]:
        def work(deadline: Deadline) -> CallToolResult:
            self._files.move(deadline, source, destination, overwrite=overwrite)
            return _answer(results.Done(content=f"Successfully moved {source} to {destination}"))

        return await self._workers.run(work)

    async def copy_file(
        self,
        source: PathArgument,
        destination: PathArgument,
        overwrite: Annotated[bool, Field(description="Replace a file that is there.")] = False,
        recursive: Annotated[bool, Field(description="Needed to copy a folder.")] = False,
    ) -> Annotated[CallToolResult, results.Copied]:
        def work(deadline: Deadline) -> CallToolResult:
            files, skipped = self._files.copy(
                deadline, source, destination, overwrite=overwrite, recursive=recursive
            )
            text = f"Successfully copied {source} to {destination}"
            more = f"[{skipped} entries were left out: links, special or not served]"
            answer = results.Copied(content=text, files=files, skipped=skipped)
            return _answer(answer, more if skipped else "")

        return await self._workers.run(work, long=True)

    async def delete_file(
        self,
        path: PathArgument,
        recursive: Annotated[bool, Field(description="Needed to delete a folder.")] = False,
    ) -> Annotated[CallToolResult, results.Deleted]:
        def work(deadline: Deadline) -> CallToolResult:
            trash = self._files.delete(deadline, path, recursive=recursive)
            text = f"Successfully deleted {path}"
            return _answer(
                results.Deleted(content=text, trash=trash),
                f"[it is now {trash}; move it back to have it again]" if trash else "",
            )

        return await self._workers.run(work)

    async def _page(self, work: Callable[[Pages], _Page]) -> CallToolResult:
        def begin(deadline: Deadline) -> CallToolResult:
            page = work(Pages(self._sandbox, self._settings, deadline))
            following, cut = page["next_cursor"], page.get("truncated", False)
            more = [f"[more: cursor={following}]"] if following else []
            deep = ["[folders that lie too deep or hold too much were left out]"] if cut else []
            return _answer(page, "\n".join([*deep, *more]))

        return await self._workers.run(begin, long=True)


@dataclass(frozen=True, slots=True)
class _Described:
    """A tool's name, title, description, and whether it destroys or may be repeated."""

    name: str
    title: str
    description: str
    destructive: bool = False
    idempotent: bool = True


_READING = (
    _Described(
        "read_text_file",
        "Read text file",
        "Read a file as text, all of it or some lines. Gives its SHA-256, which makes a later "
        "write or edit safe.",
    ),
    _Described(
        "read_file", "Read file (deprecated)", "The old name of read_text_file; use that one."
    ),
    _Described(
        "read_media_file",
        "Read media file",
        "Read an image, a sound or another binary file. Its type is told from its content.",
    ),
    _Described(
        "read_multiple_files",
        "Read multiple files",
        "Read several text files at once. One that cannot be read does not hinder the others.",
    ),
    _Described(
        "list_directory",
        "List folder",
        "List a folder by name, with [FILE] or [DIR] in front, page by page.",
    ),
    _Described(
        "list_directory_with_sizes",
        "List folder with sizes",
        "List a folder with the sizes of its files, page by page, and their total.",
    ),
    _Described(
        "directory_tree",
        "Show folder tree",
        "Show a folder with all that is below as nested JSON: name, type, children.",
    ),
    _Described(
        "search_files",
        "Search for files",
        "Find files and folders by a glob of their path below a folder; *.py means only directly "
        "in it, **/*.py at any depth.",
    ),
    _Described(
        "search_content",
        "Search in files",
        "Find lines that hold a text, in one file or in all files below a folder.",
    ),
    _Described(
        "get_file_info",
        "Get file information",
        "Tell size, times, permissions and type of a file or folder.",
    ),
    _Described(
        "list_allowed_directories",
        "List allowed folders",
        "Tell which folders are served, whether they may be changed, and the limits in force.",
    ),
)
_WRITING = (
    _Described(
        "write_file",
        "Write file",
        "Create a file or replace its whole content, at once. Can also append, or refuse to "
        "replace.",
        destructive=True,
        idempotent=False,
    ),
    _Described(
        "edit_file",
        "Edit file",
        "Replace exact passages of a text file and show the difference. A passage that stands "
        "there more than once is refused unless replaceAll is set.",
        destructive=True,
        idempotent=False,
    ),
    _Described(
        "create_directory", "Create folder", "Create a folder and those above it that are missing."
    ),
    _Described(
        "move_file",
        "Move file",
        "Move or rename a file or folder. Refuses to replace anything unless overwrite is set.",
        destructive=True,
        idempotent=False,
    ),
    _Described(
        "copy_file",
        "Copy file",
        "Copy a file, or a folder with all that is in it. Refuses to replace anything unless "
        "overwrite is set.",
        destructive=True,
    ),
    _Described(
        "delete_file",
        "Delete file",
        "Move a file or folder to the trash of its allowed folder, from where it can be moved "
        "back. A link is removed for good, and what it leads to stays.",
        destructive=True,
    ),
)


def add_to(server: "GuardedServer", tools: Tools, *, writing: bool) -> None:
    """Register the tools.

    Args:
        server: where to.
        tools: their methods have the names of the tools.
        writing: also those that change something.
    """
    for each in (*_READING, *_WRITING) if writing else _READING:
        method = "read_text_file" if each.name == "read_file" else each.name
        server.add_tool(
            getattr(tools, method),
            name=each.name,
            title=each.title,
            description=each.description,
            alias_of=method if method != each.name else "",
            annotations=ToolAnnotations(
                title=each.title,
                read_only_hint=each in _READING,
                destructive_hint=each.destructive,
                idempotent_hint=each.idempotent,
                open_world_hint=False,
            ),
        )


def _answer(structured: Any, note: str = "") -> CallToolResult:
    """Return the text and the structure of an answer; a note goes into a block of its own.

    So the first block is what the reference server sends, and a model still learns of what is
    missing in it.
    """
    blocks: list[Any] = [TextContent(text=structured["content"])]
    if note:
        blocks.append(TextContent(text=note))
    return CallToolResult(content=blocks, structured_content=structured)


def _media(content: Content) -> CallToolResult:
    kind, data = sniff(content.data), b64encode(content.data).decode()
    block: ImageContent | AudioContent | EmbeddedResource
    if kind.startswith("image/"):
        block = ImageContent(data=data, mime_type=kind)
    elif kind.startswith("audio/"):
        block = AudioContent(data=data, mime_type=kind)
    else:
        uri = Path(utf8(content.path)).as_uri()
        block = EmbeddedResource(resource=BlobResourceContents(uri=uri, mime_type=kind, blob=data))
    structured = block.model_dump(mode="json", by_alias=True, exclude_none=True)
    return CallToolResult(content=[block], structured_content={"content": [structured]})


def _one_of_many(one: results.OneOfManyFiles) -> str:
    if one["ok"]:
        return f"{one['path']}:\n{one['content']}\n"
    return f"{one['path']}: Error - {one['error']}"


def _info(status: stat_result, digest: str | None) -> CallToolResult:
    is_folder, is_file = S_ISDIR(status.st_mode), S_ISREG(status.st_mode)
    permissions = f"{S_IMODE(status.st_mode):o}"[-3:]
    # Where Python cannot tell the time of creation, that of the last change stands for it.
    created = getattr(status, "st_birthtime", status.st_ctime)
    shown = [
        f"size: {status.st_size}",
        f"created: {_javascript(created)}",
        f"modified: {_javascript(status.st_mtime)}",
        f"accessed: {_javascript(status.st_atime)}",
        f"isDirectory: {str(is_folder).lower()}",
        f"isFile: {str(is_file).lower()}",
        f"permissions: {permissions}",
    ]
    if digest is not None:
        shown.append(f"sha256: {digest}")
    answer: results.FileInfo = {
        "content": "\n".join(shown),
        "type": "directory" if is_folder else "file" if is_file else "other",
        "size": status.st_size,
        "created": _iso(created),
        "modified": _iso(status.st_mtime),
        "accessed": _iso(status.st_atime),
        "permissions": permissions,
        "sha256": digest,
    }
    return _answer(answer)


def _time(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):  # a file can have any time, also year 292277026596
        return datetime.fromtimestamp(0, UTC)


def _iso(seconds: float) -> str:
    return _time(seconds).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _javascript(seconds: float) -> str:
    """Return a time as JavaScript prints it, in UTC."""
    return _time(seconds).strftime("%a %b %d %Y %H:%M:%S GMT+0000 (Coordinated Universal Time)")
