# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""Settings of the web scraper: what it may fetch, how often, and how much."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_settings import NoDecode

from ..errors import Refused
from ..lists import as_list
from ..net.urls import parse, parse_origin

_KIB = 1024
_MIB = 1024 * _KIB


def _domain(value: str) -> str:
    """Return a domain as addresses are compared with it: in ASCII (IDNA), in small letters."""
    try:
        url = parse(f"http://[{value}]/" if ":" in value else f"http://{value}/")
    except Refused:
        url = None
    if url is None or re.search(r"[/?#]", value):
        raise ValueError('write a domain, such as "example.com"; its subdomains are meant too')
    return url.host


def _agent(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z][\x20-\x7e]*(?<! )", value):
        raise ValueError("write a name in ASCII that begins with a letter, such as my-bot/1.0")
    return value


_Domains = Annotated[
    list[Annotated[str, AfterValidator(_domain)]], BeforeValidator(as_list), NoDecode
]
_Origins = Annotated[
    list[Annotated[str, AfterValidator(parse_origin)]], BeforeValidator(as_list), NoDecode
]
_Ports = Annotated[list[Annotated[int, Field(ge=1, le=65535)]], BeforeValidator(as_list), NoDecode]


class WebscraperSettings(BaseModel):
    """The web scraper. A list is JSON, or a single item as plain text."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    allowed_domains: _Domains = Field(
        default=[],
        max_length=1000,
        description='Only these domains and their subdomains, such as ["example.com"]. Empty: all '
        "that are public.",
    )
    blocked_domains: _Domains = Field(
        default=[],
        max_length=1000,
        description="Not these domains and their subdomains; stronger than all that is allowed.",
    )
    allowed_origins: _Origins = Field(
        default=[],
        max_length=100,
        description="Servers that may have a private address or another port, such as "
        '["http://10.0.0.5:8080"]. They are allowed beside allowed_domains.',
    )
    ports: _Ports = Field(
        default=[80, 443], max_length=100, description="Ports that other servers may have."
    )
    robots: bool = Field(
        default=True,
        description="Fetch nothing that a site's robots.txt disallows; honour its crawl-delay.",
    )
    user_agent: Annotated[str, AfterValidator(_agent)] | None = Field(
        default=None,
        max_length=200,
        description="How the scraper names itself. The letters that it begins with are its name in "
        "a robots.txt. Without it, the command's name and version.",
    )
    rate: float = Field(
        default=1.0,
        ge=0.01,
        le=1000,
        description="Requests a second to one site (registrable domain), for all callers together.",
    )
    burst: int = Field(
        default=3,
        ge=1,
        le=1000,
        description="Requests to one site that may go at once before the rate counts.",
    )
    max_wait: float = Field(
        default=10.0,
        gt=0,
        le=300,
        description="Seconds that a request waits for its turn; a longer wait is refused.",
    )
    timeout: float = Field(
        default=25.0,
        gt=0,
        le=3600,
        description="Seconds that one call may take with all its requests and waits. The guard's "
        "timeout bounds it too.",
    )
    max_bytes: int = Field(
        default=5 * _MIB,
        ge=_KIB,
        le=64 * _MIB,
        description="Bytes of a page, decompressed, at most.",
    )
    max_redirects: int = Field(
        default=5, ge=0, le=20, description="Redirects that are followed from one page, at most."
    )
    cache_bytes: int = Field(
        default=64 * _MIB,
        ge=0,
        le=4096 * _MIB,
        description="Bytes of memory for pages that were fetched; 0 keeps none.",
    )
    cache_ttl: float = Field(
        default=60.0,
        ge=0,
        le=86_400,
        description="Seconds in which a kept page is not asked for again. After that the site is "
        "asked whether it has changed.",
    )
    workers: int = Field(
        default=2, ge=1, le=32, description="Processes that convert pages, at most."
    )
    convert_timeout: float = Field(
        default=10.0, gt=0, le=600, description="Seconds that the conversion of a page may take."
    )
