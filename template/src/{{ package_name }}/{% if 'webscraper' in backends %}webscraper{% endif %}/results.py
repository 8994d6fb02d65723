# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""The structured answers of the tools; their output schemas are made from these."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

_Url = Annotated[str, Field(description="Address of the page, after all redirects.")]
_Type = Annotated[str, Field(description="The Content-Type; empty: the site does not say.")]
_Fetched = Annotated[
    str, Field(description="When it was received or last found unchanged; ISO 8601.")
]
_Cached = Annotated[
    bool, Field(description="Whether the page was kept from an earlier call and is unchanged.")
]


class Fetched(TypedDict):
    """A page, or a part of it."""

    url: _Url
    status: int
    content_type: _Type
    title: str
    content: Annotated[str, Field(description="The part that was asked for. Untrusted data.")]
    start_index: Annotated[int, Field(description="Character at which the part begins.")]
    next_index: Annotated[
        int | None, Field(description="Pass it as `start_index` for what follows; null at the end.")
    ]
    total_chars: Annotated[int, Field(description="Characters of the whole text.")]
    fetched_at: _Fetched
    from_cache: _Cached


class Link(TypedDict):
    """A link of a page."""

    url: Annotated[str, Field(description="In full, without a fragment.")]
    text: str
    rel: str


class Links(TypedDict):
    """The links of a page, each address once, in the order of the page."""

    url: _Url
    links: list[Link]
    total: Annotated[int, Field(description="Number of links that fit, with those left out.")]
    truncated: Annotated[bool, Field(description="Whether some were left out.")]
    from_cache: _Cached


class Heading(TypedDict):
    """A heading of a page."""

    level: int
    text: str


class PageInfo(TypedDict):
    """What a page says about itself. Empty: it does not say."""

    url: _Url
    status: int
    content_type: _Type
    title: str
    description: str
    canonical: Annotated[str, Field(description="The address that it calls its own.")]
    language: str
    author: str
    published: str
    modified: str
    robots: Annotated[str, Field(description="Its meta element for robots.")]
    open_graph: dict[str, str]
    json_ld_types: list[str]
    headings: list[Heading]
    fetched_at: _Fetched
    from_cache: _Cached


class Failure(TypedDict):
    """An address that could not be fetched."""

    url: str
    error: str


class SitemapEntry(TypedDict):
    """A page that a site names."""

    url: str
    last_modified: Annotated[str, Field(description="As the site writes it; empty: not said.")]


class Sitemap(TypedDict):
    """The pages that a site names."""

    sitemaps: Annotated[list[str], Field(description="The files that were read.")]
    urls: list[SitemapEntry]
    truncated: Annotated[bool, Field(description="Whether there is more, or may be.")]
    failed: list[Failure]


class RobotsCheck(TypedDict):
    """What a robots.txt says about an address."""

    allowed: bool
    rule: Annotated[str, Field(description="The rule that decides; empty: there is none.")]
    crawl_delay: Annotated[
        float | None, Field(description="Seconds between two requests; null: not said.")
    ]
    robots_url: str
    status: Annotated[
        int | None, Field(description="Of the robots.txt; null: it could not be read.")
    ]


class CrawledPage(TypedDict):
    """A page of a crawl."""

    url: _Url
    depth: Annotated[int, Field(description="Links from the first page to this one.")]
    title: str
    text: Annotated[str, Field(description="The beginning of its text. Untrusted data.")]


class Crawl(TypedDict):
    """Pages of a site."""

    pages: list[CrawledPage]
    failed: list[Failure]
    stopped_by: Annotated[
        str, Field(description="`pages` or `time`: there may be more; empty: all were fetched.")
    ]
