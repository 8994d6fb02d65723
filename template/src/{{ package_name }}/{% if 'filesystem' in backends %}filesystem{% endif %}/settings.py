# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""Settings of the filesystem backend: what it may touch, and how much at once."""

import os
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_settings import NoDecode

from ..errors import Refused
from ..lists import as_list
from ..prefix import PREFIX
from .match import compile_glob

ALLOWED_PATHS = f"{PREFIX}FILESYSTEM__ALLOWED_PATHS"  # for errors

KIB = 1024
MIB = 1024 * KIB

# Every write holds the content in memory; this is the most that `max_file_size` may be set to.
LARGEST_FILE = 256 * MIB

# Files that hold secrets, and files that run as programs when a tool of the developer meets them.
# A pattern stands for a path at any depth, and for everything below that path; one that begins
# with a slash for a path from an allowed folder on.
DEFAULT_DENY = (
    # All of it: a repository can be told to take its configuration from elsewhere (gitrepository-
    # layout(5), "commondir" and "gitfile"), and git runs programs that a configuration names.
    ".git",
    ".env{,~}",
    # Every .env.* but .env.example and .env.sample: those that do not begin with exa or sam.
    ".env.{[!es]*,e[!x]*,ex[!a]*,s[!a]*,sa[!m]*}",
    "*.{pem,key,p12,pfx,jks,keystore,kdbx}",
    "id_{rsa,dsa,ecdsa,ed25519}*",
    "{.ssh,.gnupg,.aws,.azure}",
    ".config/gcloud",
    ".kube/config",
    ".docker/config.json",
    "{.netrc,_netrc,.npmrc,.pypirc,.git-credentials,.pgpass,.my.cnf,.htpasswd,.vault-token}",
)


def _check_path(value: str) -> str:
    value = os.path.expanduser(value)  # noqa: PTH111, Path would drop a slash that means nothing
    path, _ = _split_mode(value)
    if not path or "\0" in path:
        raise ValueError('write a folder, such as "/srv/docs", "/srv/docs:ro" or "/srv/docs:rw"')
    return value


def _check_pattern(value: str) -> str:
    if not value or value.startswith(("!", "~")) or value.endswith("\\"):
        raise ValueError(
            'a pattern is not empty, and neither begins with "!" or "~" nor ends in \\'
        )
    try:
        compile_glob(value)
    except Refused as error:
        raise ValueError(error.message) from None
    return value


def _check_extension(value: str) -> str:
    name = value.strip().lower().removeprefix(".")
    if not name or set(name) & set("/\0,;*? "):
        raise ValueError('write one extension, such as ".md", or a list as JSON')
    return f".{name}"


def _check_name(value: str) -> str:
    if value in ("", ".", "..") or any(char in value for char in '/\\:\0*?[]{}!"<>|'):
        raise ValueError('write the plain name of a folder, such as ".trash"')
    return value


_Item = Annotated[str, Field(max_length=4096)]
_Paths = Annotated[list[Annotated[_Item, AfterValidator(_check_path)]], BeforeValidator(as_list)]
_Globs = Annotated[list[Annotated[_Item, AfterValidator(_check_pattern)]], BeforeValidator(as_list)]
_Extensions = Annotated[
    list[Annotated[_Item, AfterValidator(_check_extension)]], BeforeValidator(as_list)
]


class FilesystemSettings(BaseModel):
    """The filesystem backend. A list is JSON, or a single item as plain text."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    allowed_paths: Annotated[_Paths, NoDecode] = Field(
        default=[],
        max_length=100,
        description='Folders to serve, such as ["/srv/docs:ro", "/srv/work"]. With ":ro" a folder '
        'is never written to; with ":rw", the default, it is when the server is not read-only.',
    )
    read_only: bool | None = Field(
        default=None,
        description="Serve all folders read-only. Unset, the server's own read_only decides; "
        "false does not undo that.",
    )
    max_file_size: int = Field(
        default=10 * MIB,
        ge=1,
        le=LARGEST_FILE,
        description="Largest file in bytes that is read or written.",
    )
    allowed_extensions: Annotated[_Extensions, NoDecode] = Field(
        default=[],
        max_length=200,
        description='Only files with these extensions, such as [".md", ".txt"]. Empty: all.',
    )
    blocked_extensions: Annotated[_Extensions, NoDecode] = Field(
        default=[],
        max_length=200,
        description='No files with these extensions, such as [".exe"].',
    )
    max_response_bytes: int = Field(
        default=MIB,
        ge=KIB,
        le=64 * MIB,
        description="Largest text of an answer in bytes; longer ones come in pages.",
    )
    max_media_bytes: int = Field(
        default=5 * MIB,
        ge=1,
        le=LARGEST_FILE,
        description="Largest file in bytes that read_media_file returns. Base64 makes the answer a "
        "third larger; the guard's max_result_bytes and the client have to take that.",
    )
    max_entries: int = Field(
        default=200_000,
        ge=1,
        le=10_000_000,
        description="Files and folders that one call looks at, at most.",
    )
    max_depth: int = Field(
        default=64, ge=1, le=512, description="Levels of folders that one call goes down, at most."
    )
    walk_timeout: float = Field(
        default=10.0,
        gt=0,
        le=600,
        description="Seconds after which the work of one call stops; a search answers with what "
        "it has found.",
    )
    follow_links: Literal["inside", "never"] = Field(
        default="inside",
        description="Follow symbolic links that stay inside the allowed folder, or none.",
    )
    deny_hardlinks: bool = Field(
        default=False,
        description="Refuse files that have more than one name, which may lie outside.",
    )
    deny: Annotated[_Globs, NoDecode] = Field(
        default=list(DEFAULT_DENY),
        max_length=500,
        description="Patterns of paths, at any depth, that are neither served nor listed, with "
        'everything below them. "/drafts" is only that in an allowed folder itself. A list of your '
        "own replaces the default one.",
    )
    trash: Annotated[str, AfterValidator(_check_name)] = Field(
        default=".trash",
        max_length=64,
        description="Name of the folder, in each allowed folder, that deleted files go to.",
    )

    def folders(self) -> list[tuple[str, bool]]:
        """Return each allowed folder, and whether its own mode lets it be written to."""
        return [_split_mode(path) for path in self.allowed_paths]


def _split_mode(value: str) -> tuple[str, bool]:
    if value.endswith(":ro"):
        return value[:-3], False
    return value.removesuffix(":rw"), True
