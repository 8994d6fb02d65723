# yours: written once; modelctx updates never touch this file.
"""An example of a test of your own tools: it asks the running server through a real client."""

import pytest
from conftest import serve


@pytest.mark.anyio
async def test_the_server_lists_its_tools() -> None:
    """Your own tools belong into this list."""
    async with serve() as client:
        tools = {tool.name for tool in (await client.list_tools()).tools}
    assert tools
