# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""Settings of the REST API backend: which API, with which credentials, and what may be asked."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from ..errors import Refused
from ..lists import Texts
from ..net.urls import parse
from .answers import AUTH
from .requests import is_own_header

_KIB = 1024
_MIB = 1024 * _KIB

READING = ("GET", "HEAD")  # safe methods that carry data, RFC 9110, section 9.2.1
WRITING = ("POST", "PUT", "PATCH", "DELETE")
_GLOB = re.compile(rf"(\*|{'|'.join((*READING, *WRITING, 'OPTIONS'))}) (/[\x21-\x7e]*)")
_TAG = "tag:"
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")  # RFC 9110, section 5.6.2


def endpoint(glob: str) -> re.Pattern[str]:
    """Return the pattern of an endpoint, such as ``GET /users/*``, for ``METHOD /path``.

    ``*`` is any text within one segment of the path, ``**`` also more of them; ``/users/**`` is
    ``/users`` too. As the method, ``*`` is any.

    Raises:
        ValueError: it is none.
    """
    shape = _GLOB.fullmatch(glob)
    if shape is None:
        raise ValueError('write a method and a path, such as "GET /users/*" or "* /users/**"')
    parts = re.split(r"(/\*\*$|\*\*|/\*(?!\*)|\*)", shape[2])
    forms = {"/**": "(?:/.*)?", "**": ".*", "/*": "/[^/]+", "*": "[^/]*"}
    path = "".join(forms.get(part, re.escape(part)) for part in parts)
    return re.compile(f"{'[A-Z]+' if shape[1] == '*' else shape[1]} {path}", re.DOTALL)


def _endpoints(globs: list[str]) -> list[str]:
    for glob in globs:
        endpoint(glob)
    return globs


def _filters(globs: list[str]) -> list[str]:
    _endpoints([glob for glob in globs if not glob.startswith(_TAG)])
    return globs


def filter_matches(glob: str, method: str, path: str, tags: tuple[str, ...]) -> bool:
    """Say whether a glob of ``include`` or ``exclude`` is about an operation."""
    if glob.startswith(_TAG):
        return glob.removeprefix(_TAG) in tags
    return endpoint(glob).fullmatch(f"{method} {path}") is not None


def _address(text: str) -> str:
    if not text:  # the default
        return text
    try:
        parse(text)
    except Refused as refused:
        raise ValueError(refused.message) from None
    if "?" in text or "#" in text:
        raise ValueError("write an address without a query or a fragment")
    return text


def _path(text: str) -> str:
    return str(Path(text).expanduser())


def _key_name(name: str) -> str:
    # The usual places of a key are no argument's, but they are the operator's.
    usual = name.lower() in ("authorization", "cookie")
    if not _HEADER_NAME.fullmatch(name) or (is_own_header(name) and not usual):
        raise ValueError("write the name of a header or parameter, such as X-API-Key")
    return name


_Address = Annotated[str, AfterValidator(_address)]


class ApiSettings(BaseModel):
    """The REST API backend. A list is JSON, or a single item as plain text."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    base_url: _Address = Field(
        default="",
        description="Address that every path is added to, such as https://api.example.com/v1. It "
        "may be in a private network. Without it, the one that was answered when the project was "
        "made; without that the first server in the document, which may not.",
    )
    document: Annotated[str, AfterValidator(_path)] | None = Field(
        default=None,
        min_length=1,
        description="File of the OpenAPI 3.0 or 3.1 document. Without it, custom/openapi.json, "
        "openapi.yaml or openapi.yml of the package, if there is one.",
    )
    auth: Literal["none", "bearer", "api_key", "basic", "oauth2"] = Field(
        default=AUTH,
        description="How the API knows its caller: by TOKEN (bearer), API_KEY (api_key), USERNAME "
        "and PASSWORD (basic), or client credentials at TOKEN_URL (oauth2).",
    )
    token: SecretStr | None = Field(
        default=None, min_length=1, description="Token, with auth bearer."
    )
    api_key: SecretStr | None = Field(
        default=None, min_length=1, description="Key, with auth api_key."
    )
    api_key_name: Annotated[str, AfterValidator(_key_name)] = Field(
        default="X-API-Key", description="Name of the header or parameter that has the key."
    )
    api_key_in: Literal["header", "query"] = Field(
        default="header", description="Where the key is sent; a query often ends up in logs."
    )
    username: str | None = Field(
        default=None,
        min_length=1,
        max_length=256,
        pattern=r"^[^:\x00-\x1f\x7f]+$",  # RFC 7617, section 2
        description="Name, with auth basic.",
    )
    password: SecretStr | None = Field(
        default=None, min_length=1, description="Password, with auth basic."
    )
    token_url: _Address | None = Field(
        default=None,
        description="Address that gives out tokens, with auth oauth2. https, unless it is of the "
        "same server as base_url or on this machine.",
    )
    client_id: str | None = Field(
        default=None, min_length=1, max_length=1024, description="Client, with auth oauth2."
    )
    client_secret: SecretStr | None = Field(
        default=None, min_length=1, description="Secret of the client, with auth oauth2."
    )
    client_auth: Literal["basic", "post"] = Field(
        default="basic",
        description="How the client's secret is sent for a token: in a header, or in the body.",
    )
    scope: str | None = Field(
        default=None,
        max_length=2000,
        pattern=r"^[\x20-\x7e]+$",
        description="Scopes to ask a token for, separated by spaces.",
    )
    read_only: bool | None = Field(
        default=None,
        description="Serve nothing but GET and HEAD. Unset, the server's own read_only decides; "
        "false does not undo that.",
    )
    allowed_endpoints: Annotated[Texts, AfterValidator(_endpoints)] = Field(
        default=["GET /**", "HEAD /**"],
        max_length=1000,
        description='What may be asked without a document, such as ["GET /users/*", "POST '
        '/orders"]. * is a part of a path, ** all that follows.',
    )
    include: Annotated[Texts, AfterValidator(_filters)] = Field(
        default_factory=list,
        max_length=1000,
        description='Operations of the document to serve, such as ["GET /users/**", "tag:pets"]. '
        "Empty: all.",
    )
    exclude: Annotated[Texts, AfterValidator(_filters)] = Field(
        default_factory=list,
        max_length=1000,
        description="Operations of the document not to serve; stronger than include.",
    )
    max_tools: int = Field(
        default=40,
        ge=0,
        le=1000,
        description="Operations that are a tool each; if there are more, tools find and call them.",
    )
    rate: float = Field(
        default=10.0,
        gt=0,
        le=10_000,
        description="Requests a second to the API, of all callers and tools.",
    )
    burst: int = Field(
        default=20,
        ge=1,
        le=10_000,
        description="Requests that may be made at once before the rate counts.",
    )
    max_wait: float = Field(
        default=10.0, ge=0, le=300, description="Seconds that a request waits for its turn."
    )
    retries: int = Field(
        default=3,
        ge=0,
        le=10,
        description="Times that a GET or HEAD is repeated when the API is not available.",
    )
    timeout: float = Field(
        default=20.0,
        gt=0,
        le=3600,
        description="Seconds for a call in all: its turn, a token, repetitions and the answer. "
        "The guard's timeout bounds it too.",
    )
    max_bytes: int = Field(
        default=4 * _MIB,
        ge=_KIB,
        le=64 * _MIB,
        description="Bytes of an answer, at most, also once it is decompressed.",
    )
    max_text: int = Field(
        default=100_000,
        ge=1000,
        le=2_000_000,
        description="Characters of an answer that are returned at once; the rest comes in pages.",
    )
    validate_responses: Literal["strict", "warn", "off"] = Field(
        default="warn",
        description="Refuse an answer that does not fit the document, say so, or do not look.",
    )
    validate_path: str = Field(
        default="/",
        max_length=2000,
        pattern=r"^/[\x21\x22\x24-\x7e]*$",
        description="Path, and query if it takes one, that validate_auth asks with the "
        "credentials, such as /me.",
    )

    def private_files(self) -> list[Path]:
        """Return the file that says what may be called: no client may change it."""
        return [Path(self.document)] if self.document else []
