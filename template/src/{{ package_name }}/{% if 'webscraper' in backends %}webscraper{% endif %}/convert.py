# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""What a page says, without what its reader would not see: Markdown, links, facts about it.

All of it works on what strangers wrote, so it runs in a process of its own, see `reader`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urldefrag, urljoin, urlsplit

import html_to_markdown
from selectolax.lexbor import LexborDocumentOptions, LexborHTMLParser, LexborNode, SelectolaxError

from ..errors import Refused
from .decode import clean, decode, line
from .hidden import remove_hidden

__all__ = ["clean", "convert"]

HTML_TYPES = ("text/html", "application/xhtml+xml")
_MOST_TAGS = 500_000
_FEW_TAGS = 20_000  # no depth of so many takes long to parse
_MOST_DEPTH = 512
_MOST_ATTRIBUTES = 2000  # of one tag; the parser compares each with each
_MOST_LINKS = 10_000
_MOST_URL = 8000  # characters
_MOST_SELECTOR = 300  # characters
_MOST_TITLE = 500
_MOST_VALUE = 1000  # characters of one fact
_MOST_FACTS = 50  # of one kind
_MOST_HEADINGS = 200
_MOST_JSON = 200_000  # characters of one JSON-LD block
_TITLE_WITHIN = 64 * 1024  # characters of a page whose markup is not read further

_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/>]*)|<!--|-->")
# These need no end tag, or have none.
_NOT_NESTING = frozenset(
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track",
     "wbr", "param", "frame", "keygen", "p", "li", "dt", "dd", "option", "optgroup", "tr", "td",
     "th", "thead", "tbody", "tfoot", "colgroup", "rt", "rp", "rb", "rtc", "html", "head", "body",
     "a"]
)  # fmt: skip
_NOT_MARKUP = frozenset(["script", "style", "textarea", "title", "svg", "math", "xmp", "iframe"])

_MAIN = "main,article,[role=main i]"
_LANDMARKS = (
    "nav,[role=navigation i],[role=banner i],[role=contentinfo i],[role=complementary i],"
    "[role=search i],body header,body footer,body aside"
)
_SECTIONS = frozenset(["main", "article", "section", "blockquote", "td"])

_SCHEME = re.compile(r"[\x00-\x20]*([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_LINKED = ("http", "https", "mailto")
_BLANKS = re.compile(r"[\t\n\r]+")
_SELF_LINK = ("¶", "#", "§", "🔗", "")
# In a Markdown text: a link that the page wrote itself, or one that came out of its markup.
_UNSAFE_LINK = re.compile(
    r"(\]\([\s<]{0,9}|\]:[\s<]{0,9}|<)(?:javascript|vbscript|data|file|blob):(?=\S)",
    re.IGNORECASE,
)
_LANGUAGE = re.compile(
    r"(?:^|\s)(?:(?:language|lang|highlight|brush:|highlight-source)[- ]?)([a-z][\w+#-]{0,30})",
    re.IGNORECASE,
)
_NO_LANGUAGE = ("default", "none", "notranslate", "text")

_OPTIONS: dict[str, Any] = {
    "max_depth": _MOST_DEPTH,
    "extract_metadata": False,  # or it would stand above the text
    "compact_tables": True,  # padding costs, and can be made to grow without end
    "expand_abbreviations": False,
    "include_blockquote_citations": False,
    "preprocessing": html_to_markdown.PreprocessingOptions(enabled=False),
}


def convert(
    body: bytes, *, content_type: str, url: str, want: str, selector: str = ""
) -> dict[str, Any]:
    """Return what is wanted of a page.

    ``content``: ``title``, ``text`` as Markdown, ``base`` for relative addresses, ``encoding``.
    ``raw``: the same with the text as it is. ``links``: a list of ``url`` (http or https, without
    a fragment, each once), ``text`` and ``rel``. ``info``: see `_info`.

    Raises:
        Refused: ``too_large``, ``invalid_arguments`` for the selector, ``not_found`` when nothing
            matches it.
        MemoryError: the page needs more than this process may have.
    """
    kind = content_type.partition(";")[0].strip().lower()
    is_html = kind in HTML_TYPES or (not kind and _looks_like_html(body))
    text, encoding = decode(body, content_type, markup=is_html or "xml" in kind)
    if want == "raw" or (want == "content" and not is_html):
        title = _title(_parse(text[:_TITLE_WITHIN])) if is_html else ""
        return {"title": title, "text": clean(text), "base": url, "encoding": encoding}
    if not is_html:
        text = ""
    if len(selector) > _MOST_SELECTOR:
        raise Refused("invalid_arguments", f"selector: at most {_MOST_SELECTOR} characters")
    _check(text)
    tree = _parse(text)
    base = _base(tree, url)
    if want == "info":
        return _info(tree, base)
    title = _title(tree)
    remove_hidden(tree)
    if want == "links":
        return {"links": _links(_matching(tree, selector), base)}
    markdown = _markdown(tree, selector, base)
    return {"title": title, "text": markdown, "base": base, "encoding": encoding}


def _parse(text: str) -> LexborHTMLParser:
    # As with scripts: what stands in for them is not shown. Without events it is faster.
    try:
        return LexborHTMLParser(text, options=LexborDocumentOptions.WO_EVENTS, scripting=True)
    except SelectolaxError:  # any text is a page, so this is about memory
        raise MemoryError from None


def _looks_like_html(body: bytes) -> bool:
    start = body[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return start.startswith((b"<!doctype html", b"<html"))


def _check(text: str) -> None:
    """Refuse what takes a parser long, in linear time. It need not find all: time is limited.

    Raises:
        Refused: ``too_large``.
    """
    parts = text.split("<")
    if len(parts) > _MOST_TAGS:
        raise Refused("too_large", f"the page has more than {_MOST_TAGS} elements")
    long = [part for part in parts if len(part) > 2 * _MOST_ATTRIBUTES]
    if len(parts) < _FEW_TAGS and not any(map(_has_many_attributes, long)):
        return
    depth, inside, end = 0, "", 0
    for found in _TAG.finditer(text):
        close, name = found[1], (found[2] or "").lower()
        if inside:
            if (close and name == inside) or found[0] == inside:
                inside = ""
            continue
        if _has_many_attributes(text[end : found.start()]):
            raise Refused("too_large", "an element of the page has too many attributes")
        end = found.end()
        if found[0] == "<!--":
            inside = "-->"
        elif close:
            depth = max(0, depth - (name not in _NOT_NESTING))
        elif name in _NOT_MARKUP:
            inside = name
        elif name and name not in _NOT_NESTING:
            depth += 1
            if depth > _MOST_DEPTH:
                raise Refused("too_large", f"the page nests more than {_MOST_DEPTH} elements")
    if not inside and _has_many_attributes(text[end:]):
        raise Refused("too_large", "an element of the page has too many attributes")


def _has_many_attributes(tag: str) -> bool:
    """Return whether a tag, or what stands between two, may have more than it should."""
    if len(tag) < 2 * _MOST_ATTRIBUTES:
        return False
    tag = tag.partition(">")[0]
    return len(tag.split(None, _MOST_ATTRIBUTES)) > _MOST_ATTRIBUTES


# -- addresses ------------------------------------------------------------------------------------


def _base(tree: LexborHTMLParser, url: str) -> str:
    node = tree.css_first("base[href]")
    return (_absolute(url, node.attrs.get("href") or "") if node else "") or url


def _absolute(base: str, address: str) -> str:
    """Return an http or https address in full, or an empty text."""
    address = clean(_BLANKS.sub("", address[: _MOST_URL + 1])).strip()
    try:
        joined = urljoin(base, address).replace(" ", "%20")
        parts = urlsplit(joined)
    except ValueError:
        return ""
    fit = parts.scheme in ("http", "https") and parts.netloc and len(joined) <= _MOST_URL
    return joined if fit else ""


def _is_linked(address: str) -> bool:
    if len(address) > _MOST_URL:
        return False
    if address.startswith(("https:", "http:", "/", "#")):  # most are so, and this is quick
        return True
    scheme = _SCHEME.match(clean(_BLANKS.sub("", address)))
    return scheme is None or scheme[1].lower() in _LINKED


def _links(roots: Iterable[LexborNode], base: str) -> list[dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for root in roots:
        for node in root.css("a[href],area[href]"):
            url = urldefrag(_absolute(base, node.attrs.get("href") or "")).url
            if url and url not in found:
                rel = line(node.attrs.get("rel") or "", 100)
                found[url] = {"url": url, "text": _label(node), "rel": rel}
            if len(found) == _MOST_LINKS:
                return list(found.values())
    return list(found.values())


def _label(node: LexborNode) -> str:
    text = line(node.text(), 300)
    if not text:
        image = node if node.tag == "area" else node.css_first("img[alt]")
        text = line((image.attrs.get("alt") or "") if image else "", 300)
    return text


# -- Markdown -------------------------------------------------------------------------------------


def _matching(tree: LexborHTMLParser, selector: str) -> list[LexborNode]:
    """Return the elements that match a selector, none within another; all without a selector.

    Raises:
        Refused: ``invalid_arguments``, or ``not_found`` when there is none.
    """
    if not selector:
        return [tree.root] if tree.root else []
    try:
        nodes = tree.css(selector)
    except SelectolaxError:
        raise Refused("invalid_arguments", "selector: not a CSS selector that is known") from None
    chosen: dict[int, LexborNode] = {}
    for node in nodes:
        outer = node.parent
        while outer is not None and outer.mem_id not in chosen:
            outer = outer.parent
        if outer is None:
            chosen[node.mem_id] = node
    if not chosen:
        raise Refused("not_found", "nothing that the page shows matches the selector")
    return list(chosen.values())


def _markdown(tree: LexborHTMLParser, selector: str, base: str) -> str:
    for node in tree.css("head"):
        node.decompose()
    if not selector:
        _remove_landmarks(tree)
    _prepare_links(tree)
    _prepare_code(tree)
    html = "\n".join(node.html or "" for node in _matching(tree, selector))
    options = html_to_markdown.ConversionOptions(base_url=base, **_OPTIONS)
    result = html_to_markdown.convert(html, options)
    if any(str(each.kind) == "depth_limit_exceeded" for each in result.warnings):
        raise Refused("too_large", f"the page nests more than {_MOST_DEPTH} elements")
    markdown = clean(result.content or "").strip()
    return _UNSAFE_LINK.sub(r"\1", markdown) if ":" in markdown else markdown


def _remove_landmarks(tree: LexborHTMLParser) -> None:
    """Take out what surrounds the main content, unless that is where the content is."""
    nodes = [node for node in tree.css(_LANDMARKS) if _surrounds(node)]
    nodes = [node for node in nodes if not node.css(f"{_MAIN},h1")]
    if not nodes or tree.body is None:
        return
    main = tree.css_first(_MAIN)
    if main is None or len(main.text()) < 200:
        removed = sum(len(node.text()) for node in nodes)
        if removed > 0.75 * len(tree.body.text()):
            return
    for node in nodes:
        node.decompose()


def _surrounds(node: LexborNode) -> bool:
    """Return whether it is a landmark of the page, not of an article (HTML-AAM, "header")."""
    if node.tag not in ("header", "footer", "aside"):
        return True
    outer = node.parent
    while outer is not None and outer.is_element_node:
        if outer.tag in _SECTIONS or outer.attrs.get("role") == "main":
            return False
        outer = outer.parent
    return True


def _prepare_links(tree: LexborHTMLParser) -> None:
    """Leave of links to other than pages and mail the text alone, of such images theirs."""
    for node in tree.css("a[href]"):
        address = node.attrs.get("href") or ""
        if address.startswith("#") and node.text().strip() in _SELF_LINK and not node.css("img"):
            node.decompose()
        elif not _is_linked(address):
            del node.attrs["href"]
    for node in tree.css("img"):
        address = node.attrs.get("src") or ""
        if not address or not _is_linked(address):
            node.replace_with(node.attrs.get("alt") or "")
    for node in tree.css("[title]"):  # shown to a mouse alone
        del node.attrs["title"]


def _prepare_code(tree: LexborHTMLParser) -> None:
    """Put the language of a code block where the conversion looks for it."""
    for node in tree.css("pre"):
        node.unwrap_tags(["a"])  # a link's Markdown would stand in the code
        if node.css_first("code[class*=lang]") is not None:
            continue
        outer: LexborNode | None = node
        for _ in range(3):
            if outer is None or not outer.is_element_node:
                break
            found = _LANGUAGE.search(outer.attrs.get("class") or "")
            if found and found[1].lower() not in _NO_LANGUAGE:
                node.attrs["class"] = f"language-{found[1].lower()}"
                break
            outer = outer.parent


# -- facts ----------------------------------------------------------------------------------------


def _title(tree: LexborHTMLParser) -> str:
    for node in tree.css("title"):
        if node.parent is not None and node.parent.tag != "svg":
            return line(node.text(), _MOST_TITLE)
    return ""


def _info(tree: LexborHTMLParser, base: str) -> dict[str, Any]:
    """Return what a page says about itself; a fact that it does not state is an empty text."""
    metas: dict[str, str] = {}
    for node in tree.css("meta[content]")[:500]:
        name = node.attrs.get("property") or node.attrs.get("name") or node.attrs.get("itemprop")
        value = line(node.attrs.get("content") or "", _MOST_VALUE)
        if name and value:
            metas.setdefault(line(name, 100).lower(), value)
    linked, types = _json_ld(tree)
    title, root = _title(tree), tree.css_first("html")
    canonical = tree.css_first("link[rel~=canonical i][href]")
    graph = {name[3:]: value for name, value in metas.items() if name.startswith("og:")}
    time = tree.css_first("time[datetime]")
    remove_hidden(tree)
    first = _first_of(metas, linked)
    return {
        "title": title or graph.get("title", ""),
        "description": first("description", "og:description"),
        "canonical": _absolute(base, canonical.attrs.get("href") or "") if canonical else "",
        "language": line((root.attrs.get("lang") or "") if root else "", 50)
        or first("content-language", "og:locale"),
        "author": first("author", "article:author", "dc.creator"),
        "published": first("article:published_time", "datepublished", "date", "dc.date")
        or line((time.attrs.get("datetime") or "") if time else "", 100),
        "modified": first("article:modified_time", "datemodified", "last-modified"),
        "robots": first("robots"),
        "open_graph": dict(list(graph.items())[:_MOST_FACTS]),
        "json_ld_types": types,
        "headings": [
            {"level": int((node.tag or "h1")[1]), "text": line(node.text(), 300)}
            for node in tree.css("h1,h2,h3,h4,h5,h6")[:_MOST_HEADINGS]
        ],
    }


def _first_of(*sources: dict[str, str]) -> Callable[..., str]:
    return lambda *names: next(
        (source[name] for name in names for source in sources if source.get(name)), ""
    )


def _json_ld(tree: LexborHTMLParser) -> tuple[dict[str, str], list[str]]:
    """Return facts by their names in small letters, and the types of the things described."""
    facts: dict[str, str] = {}
    types: dict[str, None] = {}
    for node in tree.css("script[type='application/ld+json' i]")[:20]:
        text = node.text()
        try:
            things = [json.loads(text)] if len(text) <= _MOST_JSON else []
        except (ValueError, RecursionError):
            continue
        for _ in range(1000):
            if not things:
                break
            thing = things.pop(0)
            if isinstance(thing, list):
                things[:0] = thing[:1000]
            elif isinstance(thing, dict):
                things.append(thing.get("@graph"))
                types |= dict.fromkeys(_texts(thing.get("@type")))
                for name in ("datePublished", "dateModified", "author", "description"):
                    for value in _texts(thing.get(name))[:1]:
                        facts.setdefault(name.lower(), value)
    return facts, list(types)[:_MOST_FACTS]


def _texts(value: Any) -> list[str]:
    values = value[:_MOST_FACTS] if isinstance(value, list) else [value]
    named = [each.get("name") if isinstance(each, dict) else each for each in values]
    return [line(each, _MOST_VALUE) for each in named if isinstance(each, str) and each.strip()]
