# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""A second opinion: calls of functions whose effect no rollback undoes are refused by name.

This is no wall. It reads names, so it does not see a function of the database's own that calls
one of these, nor a view or an operator over one. The wall is the cursor, the transaction and the
role's rights (`readonly`); take EXECUTE away from the role where one of these matters. Tried on
PostgreSQL 15 with a role that has no right but SELECT: those that end sessions, take locks, write
to the log or lift limits do so behind that wall; the others are here by what the documentation
says of them. What leaves no trace is not here: nextval and setval are refused by PostgreSQL,
pg_notify and lo_create are rolled back, pg_read_file and pg_reload_conf need a right.
"""

from __future__ import annotations

import re

_FORBIDDEN = re.compile(
    "|".join(
        (
            # End or stop the role's other sessions: those of this server, or of an application.
            "pg_(cancel|terminate)_backend",
            # Hold back whoever uses the same lock, until the end of the session.
            "pg_(try_)?advisory_.*",
            # Written to the log of the database at once, and sent to who replicates it.
            "pg_logical_emit_message",
            # Another connection, which is not read-only, to wherever it likes.
            "dblink.*",
            # Run SQL given as text, in which this module would see no names.
            "(query_to_xml|query_to_xmlschema|query_to_xml_and_xmlschema|ts_stat|ts_rewrite)",
            "(crosstab.*|connectby|xpath_table)",
            # Lifts the limits of time and memory while the statement runs, and changes what
            # row-level security goes by where policies read a setting.
            "set_config",
            # The next job would get the numbers that this one has chosen.
            "setseed",
            # Write to an index of the role's own.
            "(brin_summarize_.*|brin_desummarize_range|gin_clean_pending_list)",
        )
    )
)

# PostgreSQL's own classes of characters (scan.l), which are not those of Python: every character
# beyond ASCII is a letter to it, white space of other scripts too.
_FIRST = r"[A-Za-z_\x80-\U0010ffff]"
_NEXT = r"[A-Za-z0-9_\x80-\U0010ffff]"
_SPACE = r"[ \t\n\r\f\v]"
_STRING = r"'(?:[^']|'')*'"
_ESCAPED = r"'(?:[^'\\]|''|\\.)*'"
# A string goes on behind a line's end: 'a' <newline> 'b' (documentation, section 4.1.2.1). Only
# then do the rules of an E'' string hold for the second part too.
_GOES_ON = rf"[ \t\f\v]*(?:--[^\r\n]*)?[\r\n](?:{_SPACE}|--[^\r\n]*[\r\n])*"
_TOKEN = re.compile(
    rf"""
    (?P<skipped> {_SPACE}+ | --[^\r\n]* )
    | (?P<comment> /\* )
    | [eE] {_ESCAPED} (?:{_GOES_ON} {_ESCAPED})*
    | [uU]& {_STRING}
    | [bBxXnN]? {_STRING}
    | (?P<tag> \$ (?: {_FIRST} {_NEXT}* )? \$ ) .*? (?P=tag)
    | (?P<unicode> [uU]&"(?:[^"]|"")*" )
    | (?P<quoted> "(?:[^"]|"")*" )
    | (?P<name> {_FIRST} (?: {_NEXT} | \$ )* )
    | [0-9] (?: {_NEXT} | \. )* | \. [0-9] (?: {_NEXT} | \. )* | \$[0-9]+ | .
    """,
    re.VERBOSE | re.DOTALL,
)
_DEEPEST = 50  # levels of comments in comments
_COMMENT_EDGE = re.compile(r"/\*|\*/")


class TooDeep(Exception):
    """Comments are nested so deeply that PostgreSQL would read them for minutes, unstoppably."""


def refused(sql: str) -> str | None:
    """Return the name of a function that is called and must not be; None when there is none.

    Names in strings and comments, and those of columns, are not calls. A name written as
    ``U&"…"`` could spell anything, so it is taken for a forbidden one when it is called.

    Raises:
        TooDeep: it is not to be sent at all.
    """
    last: str | None = None
    for kind, text in _tokens(sql):
        if kind == "name":
            # UESCAPE stands between a name and what follows it.
            if last != _UNICODE or text.lower() != "uescape":
                last = text.lower()
        elif kind == "quoted":
            last = text[1:-1].replace('""', '"')
        elif kind == "unicode":
            last = _UNICODE
        elif text == "(" and last is not None and (last == _UNICODE or _FORBIDDEN.fullmatch(last)):
            return last
        elif not (last == _UNICODE and text.startswith("'")):
            last = None
    return None


def begins_as_command(sql: str) -> bool:
    """Say whether the first word is one of a statement that is no read; for a message alone."""
    first = next((text.lower() for _, text in _tokens(sql)), "")
    return first in _COMMANDS


_COMMANDS = frozenset(
    """abort alter analyze begin call checkpoint close cluster comment commit copy create deallocate
    declare delete discard do drop end execute explain fetch grant import insert listen load lock
    merge move notify prepare reassign refresh reindex release reset revoke rollback savepoint
    security set show start truncate unlisten update vacuum""".split()  # noqa: SIM905
)
_UNICODE = 'U&"…"'


def _tokens(sql: str) -> list[tuple[str | None, str]]:
    """Cut a statement as PostgreSQL's scanner does with standard_conforming_strings on."""
    found = []
    at = 0
    while match := _TOKEN.match(sql, at):
        at = match.end()
        if match.lastgroup == "comment":
            at = _comment_end(sql, at)
        elif match.lastgroup != "skipped":
            found.append((match.lastgroup, match.group()))
    return found


def _comment_end(sql: str, at: int) -> int:
    """Return where a comment ends; comments nest."""
    depth = 1
    while depth:
        if depth > _DEEPEST:
            raise TooDeep
        edge = _COMMENT_EDGE.search(sql, at)
        if edge is None:
            return len(sql)
        depth += 1 if edge.group() == "/*" else -1
        at = edge.end()
    return at
