# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""The settings that PostgreSQL has besides those of every database."""

from typing import Any

from pydantic import BaseModel, Field

from ...lists import Texts


class EngineSettings(BaseModel):
    """What a role may read is PostgreSQL's to enforce; these say what is made sure of."""

    schemas: Texts = Field(
        default_factory=list,
        max_length=1000,
        description="Schemas that may be read; empty: all that the role may read. The server does "
        "not start when the role may read others.",
    )
    allow_privileged: bool = Field(
        default=False,
        description="Serve although the role may do more than read and write tables: a superuser, "
        "one that reaches files or programs of the database's host, or ends others' sessions.",
    )

    def engine_config(self) -> dict[str, Any]:
        """Return what a worker has to know of these settings, by the names in `job.Config`."""
        return {"schemas": self.schemas, "allow_privileged": self.allow_privileged}
