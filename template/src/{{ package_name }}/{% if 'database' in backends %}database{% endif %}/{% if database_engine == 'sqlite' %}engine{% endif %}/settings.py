# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""The settings that only SQLite has: none by now."""

from typing import Any

from pydantic import BaseModel


class EngineSettings(BaseModel):
    """SQLite has one schema and no roles."""

    def engine_config(self) -> dict[str, Any]:
        """Return what a worker has to know of these settings, by the names in `job.Config`."""
        return {}
