# managed: part of the template; modelctx updates may rewrite it. Your tests live in tests/custom/.
"""What the tests of the web scraper share: a server in the tests' network, and how it is called."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from conftest import text_of, var
from mcp import Client
from world import Network


@asynccontextmanager
async def scraping(network: Network, timeout: float = 60, **settings: str) -> AsyncIterator[Client]:
    """Serve with the default configuration. Settings are named without ``WEBSCRAPER__``."""
    env = {var("GUARD__RATE"): "10000", var("GUARD__BURST"): "10000"}
    for name, value in settings.items():
        env[var(name if name.startswith("GUARD__") else f"WEBSCRAPER__{name}")] = value
    async with network.serve(env=env, timeout=timeout) as client:
        yield client


async def call(client: Client, tool: str, url: str, **arguments: Any) -> dict[str, Any]:
    """Make a call that must succeed, and return its structured answer."""
    answer = await client.call_tool(tool, {"url": url, **arguments})
    assert not answer.is_error, text_of(answer)
    return dict(answer.structured_content)


async def refusal(client: Client, url: str, tool: str = "fetch", **arguments: Any) -> str:
    """Make a call that must be refused, and return what the client is told."""
    answer = await client.call_tool(tool, {"url": url, **arguments})
    assert answer.is_error, f"{url}: {text_of(answer)[:300]}"
    return text_of(answer)


def targets(network: Network, host: str) -> list[str]:
    """Return what has been asked for of a host, in order."""
    return [request.target for request in network.requests(host)]
