# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""Finds what a page holds and a browser does not show: there, instructions to models are hidden.

Attributes, styles of one element, and rules of the page's own `<style>` with simple selectors.
Not known: style sheets elsewhere, scripts, and colours that two elements have in common.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from selectolax.lexbor import LexborHTMLParser, LexborNode, SelectolaxError

# Never shown, or not as text: also what stands in for an element that could not be loaded.
UNSEEN_TAGS = (
    "script,style,noscript,template,iframe,frame,frameset,noframes,noembed,object,embed,applet,"
    "svg,canvas,audio,video,input,button,select,textarea,datalist,option,progress,meter"
)
_ATTRIBUTES = (
    "[hidden],[popover],dialog:not([open]),[aria-hidden=true i]:not(h1,h2,h3,h4,h5,h6),"
    "[width='0'],[height='0'],img[width='1'][height='1']"
)
_SHOWN_ANYWAY = ("html", "body")  # hidden by style until a script shows them
_MOST_RULES = 500
_MOST_SELECTOR = 100

# One compound selector, or two in a row: as long as this, matching is linear.
_COMPOUND = r"(?:[a-z][\w-]*)?(?:[.#][\w-]+|\[[\w-]+(?:[~|^$*]?=\"?[\w-]*\"?)?\])*"
_SIMPLE = re.compile(rf"(?=\S){_COMPOUND}(?:\s?>\s?|\s)?{_COMPOUND}\Z", re.IGNORECASE)
_WEIGHED = re.compile(r"(#[\w-]+)|([.\[][\w-]+)|[a-z][\w-]*", re.IGNORECASE)
# A group of rules that holds whatever the screen; those of other groups may not be in force.
_ALWAYS = re.compile(r"@media\s+(?:only\s+)?(?:all|screen)\s*\Z|@(?:layer|supports|scope)\b")

_ESCAPE = re.compile(r"\\([0-9a-fA-F]{1,6})[ \t\n]?|\\(.)")
_LENGTH = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+))(?:e([-+]?\d{1,2}))?([a-z%]*)")
_PX = {"": 1.0, "px": 1.0, "pt": 4 / 3, "pc": 16.0, "in": 96.0, "cm": 37.8, "mm": 3.78, "q": 0.94}
_PX |= {"em": 16.0, "rem": 16.0, "ex": 8.0, "ch": 8.0, "vw": 10.0, "vh": 10.0, "%": 10.0}
_SHARE = {"%": 0.01}
_FAR = (-500.0, 9000.0)  # px; before and behind it is no screen
_SMALL_FONT = re.compile(r"(?:^|\s)(?:0|[01](?:\.\d+)?(?:px|pt))(?:\s|/)")
_FACTOR = re.compile(r"(?:scale[xy3d]*|opacity)\(([^)]*)\)")
_MOVED = re.compile(r"translate[xy3d]*\(([^)]*)\)")
_NO_AREA = re.compile(
    r"inset\((?:[5-9]\d|\d{3,})(?:\.\d+)?%|circle\(0(?![.\d])|polygon\(0[^1-9]*\)|"
    r"rect\((?:[01](?:px)?[\s,]*){4}\)"
)
_COLOURS = {"white": "fff", "black": "000", "ffffff": "fff", "000000": "000"}
_RGB = re.compile(r"rgba?\((\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})(?:[\s,/]+([\d.]+)(%?))?\)")

Declarations = dict[str, str]


class _Rule(NamedTuple):
    """One declaration that decides about showing, in the order in which such rules win."""

    important: bool
    weight: tuple[int, int, int]  # CSS Selectors, "specificity"
    order: int
    selector: str
    aspect: str
    hides: bool


def remove_hidden(tree: LexborHTMLParser) -> None:
    """Take all that is not shown out of a page."""
    sheets = [node.text() for node in tree.css("style")]
    for node in tree.css(UNSEEN_TAGS):
        node.decompose()
    for node in _hidden_by_rules(tree, sheets):
        node.decompose()
    for node in tree.css(_ATTRIBUTES):
        if node.tag not in _SHOWN_ANYWAY:
            node.decompose()
    for node in tree.css("[style]"):
        if node.tag not in _SHOWN_ANYWAY and hides(node.attrs.get("style") or ""):
            node.decompose()
    for node in tree.css("font[color],[bgcolor]"):
        if _same_colour(node):
            node.decompose()


def hides(style: str) -> bool:
    """Return whether the declarations of a style attribute leave nothing to see."""
    return True in _verdicts(_declarations(style)).values()


def _declarations(style: str) -> Declarations:
    """Return the values by property: of several the last, or the first that hides.

    A browser passes over a value that it does not know, so a later one may not count.
    """
    found: Declarations = {}
    for each in _without_comments(style).split(";"):
        name, colon, value = each.partition(":")
        name = _unescape(name).strip().lower()
        value = " ".join(_unescape(value).lower().split())
        if colon and found.get(name, "").partition("!")[0].strip() not in ("none", "hidden"):
            found[name] = value.replace("! important", "!important")
    return found


def _verdicts(found: Declarations) -> dict[str, bool]:
    """Return whether an element is hidden, by the aspect that hides or shows it."""
    values = {name: value.removesuffix("!important").strip() for name, value in found.items()}
    verdicts = {}
    if "display" in values:
        verdicts["display"] = values["display"] == "none"
    if "visibility" in values:
        verdicts["visibility"] = values["visibility"] in ("hidden", "collapse")
    if "opacity" in values:
        verdicts["opacity"] = any(size <= 0.1 for size in _lengths(values["opacity"], _SHARE))
    if _is_out_of_sight(values):
        verdicts["place"] = True
    if _is_too_small(values):
        verdicts["size"] = True
    if _is_without_contrast(values):
        verdicts["colour"] = True
    return verdicts


def _is_out_of_sight(values: Declarations) -> bool:
    moved = [values[name] for name in ("left", "right", "top", "bottom") if name in values]
    moved += [values[name] for name in ("text-indent", "translate") if name in values]
    moved += [value for name, value in values.items() if name.startswith(("margin", "inset"))]
    moved += _MOVED.findall(values.get("transform", ""))
    return any(
        not _FAR[0] < size < _FAR[1] for value in moved for size in _lengths(value)
    ) or values.get("content-visibility") == "hidden"  # fmt: skip


def _is_too_small(values: Declarations) -> bool:
    if any(size < 2 for size in _lengths(values.get("font-size", ""))):
        return True
    if _SMALL_FONT.search(values.get("font", "")):
        return True
    transforms = values.get("transform", "") + values.get("filter", "")
    factors = [*_FACTOR.findall(transforms), values.get("scale", ""), values.get("zoom", "")]
    if any(size < 0.05 for value in factors for size in _lengths(value, _SHARE)):
        return True
    if _NO_AREA.search(values.get("clip-path", "") + values.get("clip", "")):
        return True
    cut = any(values.get(name, "visible") != "visible" for name in ("overflow", "overflow-x",
        "overflow-y"))  # fmt: skip
    sides = ("width", "height", "max-width", "max-height", "block-size", "inline-size",
        "line-height")  # fmt: skip
    return cut and any(size <= 1 for name in sides for size in _lengths(values.get(name, "")[:20])
        if name != "line-height" or size == 0)  # fmt: skip


def _is_without_contrast(values: Declarations) -> bool:
    text = _colour(values.get("-webkit-text-fill-color") or values.get("color", ""))
    ground = values.get("background-color") or values.get("background", "")
    if text in ("", "inherit", "initial", "unset", "revert", "currentcolor"):
        return False
    return text in ("transparent", _colour(ground))


def _same_colour(node: LexborNode) -> bool:
    """Return whether the attributes of old pages give text and ground one colour."""
    ground = node.attrs.get("bgcolor") or _declarations(node.attrs.get("style") or "").get(
        "background-color", ""
    )
    text = node.attrs.get("color") or node.attrs.get("text") or ""
    return bool(text and ground) and _colour(text.lower()) == _colour(ground.lower())


def _colour(value: str) -> str:
    """Return a colour in one spelling, ``transparent`` for one that shows nothing."""
    value = value.strip()
    rgb = _RGB.match(value)
    if rgb:
        if rgb[4] and float("0" + rgb[4].rstrip(".")) / (100 if rgb[5] else 1) <= 0.1:
            return "transparent"
        value = "".join(f"{min(int(part), 255):02x}" for part in rgb.groups()[:3])
    value = value.partition(" ")[0].removeprefix("#")
    if re.fullmatch(r"[0-9a-f]{3}0|[0-9a-f]{6}0[0-9a-f]", value):
        return "transparent"
    if re.fullmatch(r"[0-9a-f]{6}", value) and value[::2] == value[1::2]:
        value = value[::2]
    return _COLOURS.get(value, value)


def _lengths(value: str, units: dict[str, float] = _PX) -> Iterator[float]:
    """Yield the lengths of a value in CSS pixels, roughly."""
    for number, power, unit in _LENGTH.findall(value[:200]):
        yield float(number) * 10.0 ** int(power or 0) * units.get(unit, 1.0)


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    return _ESCAPE.sub(lambda m: chr(min(int(m[1], 16), 0x10FFFF)) if m[1] else m[2], text)


def _without_comments(css: str) -> str:
    first, *rest = css.split("/*")
    return first + " ".join(each.partition("*/")[2] for each in rest)


# -- rules of a style sheet -----------------------------------------------------------------------


def _hidden_by_rules(tree: LexborHTMLParser, sheets: list[str]) -> list[LexborNode]:
    """Return the elements that the page's own style sheets hide, by the order of the cascade."""
    hidden: dict[str, dict[int, tuple[_Rule, LexborNode]]] = {}
    for rule in sorted(_rules("\n".join(sheets))):
        found = hidden.setdefault(rule.aspect, {})
        if not rule.hides and not found:
            continue
        for node in _select(tree, rule.selector):
            if rule.hides:
                found[node.mem_id] = (rule, node)
            else:
                found.pop(node.mem_id, None)
    return [
        node
        for aspect, found in hidden.items()
        for rule, node in found.values()
        if node.tag not in _SHOWN_ANYWAY and not _shown_inline(node, aspect, rule)
    ]


def _shown_inline(node: LexborNode, aspect: str, rule: _Rule) -> bool:
    style = node.attrs.get("style")
    return bool(style) and not rule.important and (
        _verdicts(_declarations(style or "")).get(aspect) is False
    )  # fmt: skip


def _select(tree: LexborHTMLParser, selector: str) -> list[LexborNode]:
    try:
        return tree.css(selector)
    except SelectolaxError:
        return []


def _rules(css: str) -> list[_Rule]:
    """Return the rules that hide or show, the first few hundred, without those of other media."""
    rules: list[_Rule] = []
    groups: list[bool] = []  # of each open brace, whether its rules are in force
    for chunk in _without_comments(css).split("}"):
        *opened, body = chunk.split("{")
        for prelude in opened[:-1]:
            groups.append(bool(_ALWAYS.match(prelude.rpartition(";")[2].strip().lower())))
        if not opened:
            if groups:
                groups.pop()
        elif all(groups) and len(rules) < _MOST_RULES:
            rules += _of_block(opened[-1].rpartition(";")[2], body, len(rules))
    return rules


def _of_block(selectors: str, body: str, order: int) -> Iterator[_Rule]:
    found = _declarations(body[:4000])
    verdicts = _verdicts(found)
    if not verdicts:
        return
    for each in selectors[:4000].split(","):
        selector = " ".join(each.split())
        if len(selector) <= _MOST_SELECTOR and _SIMPLE.match(selector):
            for aspect, hidden in verdicts.items():
                important = found.get(aspect, "").endswith("!important")
                yield _Rule(important, _weight(selector), order, selector, aspect, hidden)


def _weight(selector: str) -> tuple[int, int, int]:
    parts = [(bool(ident), bool(other)) for ident, other in _WEIGHED.findall(selector)]
    idents, others = sum(a for a, _ in parts), sum(b for _, b in parts)
    return idents, others, len(parts) - idents - others
