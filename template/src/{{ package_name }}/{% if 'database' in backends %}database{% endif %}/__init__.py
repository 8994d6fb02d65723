# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""The database backend: one database, for models. Exports `register` and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..prefix import PREFIX

if TYPE_CHECKING:
    from ..backend import Registered
    from ..guard import GuardedServer
    from ..settings import Settings

__all__ = ["register"]


def register(server: GuardedServer, settings: Settings) -> Registered:
    """Look at the database once and add the tools. Called once, at the start.

    Raises:
        ConfigError: the database cannot be reached or is not what the settings say, or the file
            of named queries is wrong.
    """
    # Only now: a worker process imports this package too, and needs none of it.
    from ..backend import Registered
    from . import tools
    from .engine import URL_EXAMPLE
    from .engine.address import files
    from .job import Config
    from .pool import Pool
    from .queries import SETTING, load

    own = settings.database
    if own.url is None:
        raise ConfigError(f"{PREFIX}DATABASE__URL: which database? Such as {URL_EXAMPLE}")
    read_only = settings.read_only or bool(own.read_only)
    named = Path(own.queries) if own.queries else Path(__file__).parents[1] / "custom/queries.toml"
    queries = load(named, required=own.queries is not None)
    # While the whole server is read-only, the guard hides what writes.
    served = {
        name: query
        for name, query in queries.items()
        if not (query.write and read_only and not settings.read_only)
    }
    config: dict[str, Any] = {
        "url": own.url.get_secret_value(),
        "connect_timeout": own.connect_timeout,
        "statement_timeout": own.statement_timeout,
        "max_memory": own.max_memory,
        "deny_tables": own.deny_tables,
        "deny_columns": own.deny_columns,
        **own.engine_config(),
    }
    reading = Pool(Config(**config), size=own.pool_size, wait=own.pool_timeout)
    trials = {name: query.trial() for name, query in served.items() if not query.write}
    connected, wrong = reading.probe(trials)
    warnings = [f"{named.name}: {name}: {why}" for name, why in wrong.items()]
    if own.statement_timeout >= settings.guard.timeout:
        warnings.append(
            f"{PREFIX}DATABASE__STATEMENT_TIMEOUT has no effect: GUARD__TIMEOUT, which bounds the "
            "whole call, is not longer"
        )
    writes = not read_only and any(query.write for query in queries.values())
    writing = Pool(Config(**config, write=True), size=1, wait=own.pool_timeout) if writes else None
    try:
        tools.add_to(server, tools.Tools(reading, writing, own), own, served)
    except ValueError as error:
        raise ConfigError(f"{SETTING}: {error}") from None
    count = tools.count(own) + sum(1 for query in served.values() if writes or not query.write)
    mode = "read, and write by named queries" if writing else "read-only"
    hidden = len(own.deny_tables) + len(own.deny_columns)
    denied = f", {hidden} tables and columns denied" if hidden else ""
    read, write = files(config["url"], write=writing is not None)

    def close() -> None:
        reading.close()
        if writing is not None:
            writing.close()

    return Registered(
        name="database",
        summary=f"database: {connected}, {mode}, {count} tools{denied}",
        warnings=tuple(warnings),
        read=read,
        write=write,
        close=close,
    )
