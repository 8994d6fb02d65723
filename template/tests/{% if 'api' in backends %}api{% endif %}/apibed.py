# managed: part of the template; modelctx updates may rewrite it. Your tests live in tests/custom/.
"""What the tests of the API backend share: a server for an API of theirs, and a document of it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

from conftest import text_of, var
from mcp import Client
from world import Network, Reply

PET = {
    "type": "object",
    "required": ["id"],
    "properties": {"id": {"type": "integer"}, "name": {"type": "string"}},
}
ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
PETS: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "Pets", "version": "7.1"},
    "paths": {
        "/pets": {
            "get": {
                "operationId": "listPets",
                "summary": "List pets",
                "tags": ["pets"],
                "parameters": [
                    {"name": "q", "in": "query", "schema": {"type": "string"}},
                    {"name": "X-Trace", "in": "header", "schema": {"type": "string"}},
                ],
                "responses": {"200": {"description": "them"}},
            },
            "post": {
                "operationId": "addPet",
                "tags": ["pets"],
                "requestBody": {"content": {"application/json": {"schema": PET}}},
                "responses": {"201": {"description": "made"}},
            },
        },
        "/pets/{id}": {
            "get": {
                "operationId": "getPet",
                "description": "One pet.",
                "tags": ["pets"],
                "parameters": [ID],
                "responses": {
                    "200": {
                        "description": "it",
                        "content": {"application/json": {"schema": PET}},
                    }
                },
            },
            "delete": {
                "operationId": "removePet",
                "parameters": [ID],
                "responses": {"204": {"description": "gone"}},
            },
        },
        "/stock": {"get": {"operationId": "stock", "tags": ["shop"], "responses": {}}},
    },
}


@asynccontextmanager
async def serving(
    network: Network,
    host: str,
    document: Any = None,
    timeout: float = 40,
    stderr: TextIO | None = None,
    **settings: str,
) -> AsyncIterator[Client]:
    """Serve the API at ``https://HOST/v1``.

    Args:
        document: of the API, as JSON; None: without one.
        settings: named without ``API__``; those of the guard and of the server in full.
    """
    env = {var("API__BASE_URL"): f"https://{host}/v1", var("GUARD__BURST"): "9999"}
    with TemporaryDirectory() as folder:
        if document is not None:
            file = Path(folder, "openapi.json")
            file.write_text(json.dumps(document))
            env[var("API__DOCUMENT")] = str(file)
        for name, value in settings.items():
            whole = name.startswith(("GUARD__", "AUDIT__")) or name == "SERVER_READ_ONLY"
            env[var(name.removeprefix("SERVER_") if whole else f"API__{name}")] = value
        told = {**env, "HOME": folder}
        async with network.serve(env=told, timeout=timeout, stderr=stderr) as client:
            yield client


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool that must succeed."""
    answer = await client.call_tool(tool, arguments)
    assert not answer.is_error, text_of(answer)
    assert answer.structured_content == json.loads(text_of(answer))
    return dict(answer.structured_content)


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    """Call a tool that must refuse, and return what the client is told."""
    answer = await client.call_tool(tool, arguments)
    assert answer.is_error, text_of(answer)[:500]
    return text_of(answer)


async def resource(client: Client, uri: str) -> dict[str, Any]:
    """Read a resource of JSON."""
    (content,) = (await client.read_resource(uri)).contents
    return dict(json.loads(getattr(content, "text", "")))


def answer(value: Any, status: int = 200, **headers: str) -> Reply:
    """Return an answer of JSON; ``Retry_After`` is a header's name."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(json.dumps(value).encode(), status, "application/json", named)
