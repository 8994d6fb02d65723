# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""Bytes of a page to text, and what of a text is never passed on.

Encodings are found as browsers do it: byte order mark, header, declaration in the page (HTML
Standard, "Determining the character encoding"), then a look at the bytes. Python's own table of
codecs is never asked: it has some that decode no text, and some that undo filters, as UTF-7 does.
"""

from __future__ import annotations

import re

_PRESCAN = 1024  # bytes in which a page declares its encoding, HTML Standard
_FALLBACK = "cp1252"
_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xfe\xff", "utf-16-be"), (b"\xff\xfe", "utf-16-le"))

# Names of the Encoding Standard, without what is neither letter nor digit, by the codec of
# Python that decodes them. Where the standard takes a larger set for a smaller one, so do we.
_LABELS = {
    "utf-8": "utf8 unicode11utf8 unicode20utf8 xunicode20utf8",
    "utf-16-le": "utf16 utf16le ucs2 unicode iso10646ucs2 csunicode unicodefeff",
    "utf-16-be": "utf16be unicodefffe",
    "cp1252": "windows1252 cp1252 xcp1252 ascii usascii ansix341968 iso88591 iso885911987 latin1 "
    "l1 ibm819 cp819 isoir100 csisolatin1",
    "cp1250": "windows1250 cp1250 xcp1250",
    "cp1251": "windows1251 cp1251 xcp1251",
    "cp1253": "windows1253 cp1253 xcp1253",
    "cp1254": "windows1254 cp1254 xcp1254 iso88599 iso885991989 latin5 l5 isoir148 csisolatin5",
    "cp1255": "windows1255 cp1255 xcp1255",
    "cp1256": "windows1256 cp1256 xcp1256",
    "cp1257": "windows1257 cp1257 xcp1257",
    "cp1258": "windows1258 cp1258 xcp1258",
    "cp874": "windows874 dos874 iso885911 tis620",
    "cp866": "ibm866 cp866 866 csibm866",
    "iso8859-2": "iso88592 iso885921987 latin2 l2 isoir101 csisolatin2",
    "iso8859-3": "iso88593 iso885931988 latin3 l3 isoir109 csisolatin3",
    "iso8859-4": "iso88594 iso885941988 latin4 l4 isoir110 csisolatin4",
    "iso8859-5": "iso88595 iso885951988 cyrillic isoir144 csisolatincyrillic",
    "iso8859-6": "iso88596 iso885961987 iso88596e iso88596i arabic asmo708 ecma114 isoir127 "
    "csiso88596e csiso88596i csisolatinarabic",
    "iso8859-7": "iso88597 iso885971987 greek greek8 ecma118 elot928 isoir126 suneugreek "
    "csisolatingreek",
    "iso8859-8": "iso88598 iso885981988 iso88598e iso88598i hebrew visual logical isoir138 "
    "csiso88598e csiso88598i csisolatinhebrew",
    "iso8859-10": "iso885910 latin6 l6 isoir157 csisolatin6",
    "iso8859-13": "iso885913",
    "iso8859-14": "iso885914",
    "iso8859-15": "iso885915 latin9 l9 csisolatin9",
    "iso8859-16": "iso885916",
    "koi8-r": "koi8r koi koi8 cskoi8r",
    "koi8-u": "koi8u koi8ru",
    "mac-roman": "macintosh mac xmacroman csmacintosh",
    "mac-cyrillic": "xmaccyrillic xmacukrainian",
    "gb18030": "gb18030 gbk xgbk gb2312 gb231280 chinese isoir58 csgb2312 csiso58gb231280",
    "big5hkscs": "big5 big5hkscs cnbig5 xxbig5 csbig5",
    "euc_jp": "eucjp xeucjp cseucpkdfmtjapanese",
    "iso2022_jp": "iso2022jp csiso2022jp",
    "cp932": "shiftjis sjis xsjis mskanji ms932 windows31j csshiftjis",
    "cp949": "euckr windows949 korean ksc5601 ksc56011987 ksc56011989 isoir149 cseuckr "
    "csksc56011987",
}
_CODECS = {label: codec for codec, labels in _LABELS.items() for label in labels.split()}

_CHARSET = re.compile(r"charset\s{0,9}=\s{0,9}[\"']?([^\s;\"'>]{1,40})", re.IGNORECASE)
_META = re.compile(r"<meta[\s/]([^>]*)>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"([^\s=/\"'>]+)(?:\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+)))?")
_XML = re.compile(r"\A<\?xml\s[^>]*?encoding\s*=\s*[\"']([^\"']{1,40})")

_LINE_ENDS = ("\r\n", "\r", "\x0b", "\x0c", "\x85", "\u2028", "\u2029")
# What shows nothing, or changes how other text shows: controls, zero width, directions, tags,
# variation selectors, fillers, invisible operators, annotations, halves of surrogate pairs.
_UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\xad\u034f\u061c\u070f\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\ud800-\udfff\U0001107f\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)
_CONTROLS = dict.fromkeys([*range(9), *range(14, 32), 127])


def clean(text: str) -> str:
    """Return a text without what a reader cannot see; all line ends are ``\\n``.

    A model reads such characters, its user does not: text is smuggled in them. Joiners of some
    scripts and of emoji are among them and are lost.
    """
    for end in _LINE_ENDS:
        text = text.replace(end, "\n")
    # The short way is 20 times as fast.
    return text.translate(_CONTROLS) if text.isascii() else _UNSEEN.sub("", text)


def line(text: str, most: int) -> str:
    """Return `clean` text as one line of at most ``most`` characters."""
    return " ".join(clean(text[: 8 * most]).split())[:most].rstrip()


def decode(body: bytes, content_type: str, *, markup: bool) -> tuple[str, str]:
    """Return the text and the name of Python's codec that it was decoded with.

    Never fails: bytes that mean nothing become U+FFFD, an unknown encoding is as none.

    Args:
        body: as received.
        content_type: value of the header, or an empty text.
        markup: it is HTML or XML, which may declare its encoding.
    """
    for mark, codec in _MARKS:
        if body.startswith(mark):
            return body[len(mark) :].decode(codec, "replace"), codec
    named = _CHARSET.search(content_type[:1000])
    codec = _codec(named[1]) if named else ""
    if not codec and markup:
        codec = _declared(body[:_PRESCAN].decode("latin-1"))
    if codec:
        return body.decode(codec, "replace"), codec
    try:
        return body.decode(), "utf-8"
    except UnicodeDecodeError:
        return body.decode(_FALLBACK, "replace"), _FALLBACK


def _codec(label: str) -> str:
    return _CODECS.get("".join(filter(str.isalnum, label.lower())), "")


def _declared(start: str) -> str:
    """Return the encoding that a page declares in itself; UTF-16 cannot be, so it is UTF-8."""
    xml = _XML.match(start)
    labels = [xml[1]] if xml else []
    for tag in _META.finditer(_without_comments(start)):
        found: dict[str, str] = {}
        for name, *values in _ATTRIBUTE.findall(tag[1]):
            found.setdefault(name.lower(), "".join(values))
        if "charset" in found:
            labels.append(found["charset"])
        elif found.get("http-equiv", "").lower() == "content-type":
            labels += _CHARSET.findall(found.get("content", ""))
    codec = next(filter(None, map(_codec, labels)), "")
    return "utf-8" if codec.startswith("utf-16") else codec


def _without_comments(start: str) -> str:
    first, *rest = start.split("<!--")
    return first + "".join(each.partition("-->")[2] for each in rest)
