# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""A second opinion on SQL: what a read-only session does not hold.

It reads a statement into words, quoted names and signs as the server does (MySQL manual, chapter
"Language Structure"; MariaDB's sql_lex.cc), given the sql_mode that `readonly` fixes: without
ANSI_QUOTES, NO_BACKSLASH_ESCAPES and IGNORE_SPACE. What the two families read differently is
refused: an executable comment, a hint with quotes, a name that begins with a dollar sign.
Words in literals, comments and names are never taken for more than that.
"""

from __future__ import annotations

import re

ONLY_READS = (
    "only one statement that reads is run here: SELECT, WITH, SHOW, VALUES or TABLE; `explain` "
    "shows its plan, `list_tables` and `describe_table` the catalogue"
)
_READS = frozenset({"SELECT", "WITH", "SHOW", "VALUES", "TABLE"})
_TOKEN = re.compile(
    r"""
    (?P<space> [\x00-\x20\x7f]++ | (?: \# | --(?=[\x00-\x20\x7f]|\Z) ) [^\n]*+ )
    | (?P<executable> /\*[mM]?! )
    | (?P<hint> /\*\+ .*? (?: \*/ | \Z ) )
    | (?P<comment> /\* .*? (?: \*/ | \Z ) )
    | (?P<text> '(?: [^'\\] | \\. | '' )*+ (?:'|\Z) | "(?: [^"\\] | \\. | "" )*+ (?:"|\Z) )
    | (?P<name> `(?: [^`] | `` )*+ (?:`|\Z) )
    | (?P<word> [0-9A-Za-z_$\x80-\U0010ffff]++ )
    | (?P<sign> \\N | . )
    """,
    re.VERBOSE | re.DOTALL,
)
# A lock held for others, a file of the database's host, a password hash of the role's own. Each
# one was tried: the session's READ ONLY lets it through (the first two only with FILE; MariaDB
# holds FOR UPDATE, MySQL lets it through). NEXT VALUE FOR and SETVAL it holds.
_PHRASES = (
    ("INTO", "OUTFILE"),
    ("INTO", "DUMPFILE"),
    ("FOR", "UPDATE"),
    ("FOR", "SHARE"),
    ("LOCK", "IN", "SHARE"),
)
_SHOWS = (("SHOW", "GRANTS"), ("SHOW", "CREATE", "USER"))
# Built-in ones of that kind, and those of lib_mysqludf_sys, which run programs. A quoted name
# calls a function too.
_FUNCTIONS = frozenset(
    {"GET_LOCK", "LOAD_FILE", "SERVICE_GET_READ_LOCKS", "SERVICE_GET_WRITE_LOCKS"}
    | {"SYS_EXEC", "SYS_EVAL", "SYS_GET", "SYS_SET"}
)


def refused(sql: str) -> str | None:
    """Say why a statement is not run; None when nothing is wrong with it."""
    words: list[str] = []  # quoted names and signs among them, the former with backquotes
    for found in _TOKEN.finditer(sql):
        kind, text = str(found.lastgroup), found.group()
        if kind == "executable":
            return "comments that are executed (/*! and /*M!) are not taken"
        if kind == "hint" and re.search("['\"`]", text):
            return "an optimizer hint with quotes is not taken"
        if kind == "word" and text[0] == "$":
            return "write a name that begins with $ in backquotes"
        if kind in ("space", "hint", "comment"):
            continue
        words.append("''" if kind == "text" else text.upper())
    first = next((each for each in words if each != "("), "")
    return ONLY_READS if first not in _READS else _effect(words)


def first_word(sql: str) -> str:
    """Return the first word of a statement in capitals, after comments and parentheses."""
    for found in _TOKEN.finditer(sql):
        if found.lastgroup not in ("space", "hint", "comment") and found.group() != "(":
            return found.group().upper()
    return ""


def _effect(words: list[str]) -> str | None:
    """Say which effect beyond reading a statement has."""
    for show in _SHOWS:
        if tuple(words[: len(show)]) == show:
            return f"{' '.join(show)} is not run here: it shows the password's hash"
    for place, word in enumerate(words):
        for phrase in _PHRASES:
            # A number may end where the word begins: 1.5FOR UPDATE.
            same = word.endswith(phrase[0]) if word[0].isdigit() else word == phrase[0]
            if same and tuple(words[place + 1 : place + len(phrase)]) == phrase[1:]:
                return f"{' '.join(phrase)} is not run here: it does more than read"
        if word == "(" and place:
            name = words[place - 1].strip("`")
            if name in _FUNCTIONS:
                return f"{name.lower()} is not called here: it does more than read"
    return None
