# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""The web scraper: pages for models. Exports `register` and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..prefix import COMMAND, PREFIX

if TYPE_CHECKING:
    from ..backend import Registered
    from ..guard import GuardedServer
    from ..settings import Settings

__all__ = ["register"]


def register(server: GuardedServer, settings: Settings) -> Registered:
    """Add the tools. Called once, at the start; nothing is fetched."""
    # Only now: a worker process imports this package too, and needs none of it.
    from ..backend import Registered
    from ..net.egress import Egress
    from ..server import identity
    from . import tools
    from .reader import Reader
    from .visits import Visits

    own = settings.webscraper
    user_agent = own.user_agent or f"{COMMAND}/{identity()[1]}"
    warnings = []
    if own.timeout >= settings.guard.timeout:
        warnings.append(
            f"{PREFIX}WEBSCRAPER__TIMEOUT has no effect: GUARD__TIMEOUT, which bounds the whole "
            "call, is not longer"
        )
    if not own.robots:
        warnings.append(f"{PREFIX}WEBSCRAPER__ROBOTS is off: what sites ask of robots is ignored")
    egress = Egress(private=own.allowed_origins, ports=own.ports, user_agent=user_agent)
    reader = Reader(size=own.workers, timeout=own.convert_timeout)
    visits = Visits(egress, own, user_agent)
    tools.add_to(server, tools.Tools(visits, reader, own, user_agent))
    domains = ", ".join(own.allowed_domains[:5]) or "all public sites"
    more = ", …" if len(own.allowed_domains) > 5 else ""
    private = f", {len(own.allowed_origins)} private origins" if own.allowed_origins else ""
    robots = "respected" if own.robots else "ignored"
    return Registered(
        name="webscraper",
        summary=f"webscraper: {domains}{more}{private}, robots.txt {robots}, {tools.count()} tools",
        warnings=tuple(warnings),
        close=reader.close,
        aclose=egress.aclose,
    )
