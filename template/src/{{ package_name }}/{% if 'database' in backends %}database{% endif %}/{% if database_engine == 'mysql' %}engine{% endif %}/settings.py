# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""The settings that MySQL and MariaDB have besides those of every database."""

from typing import Any

from pydantic import BaseModel, Field

from ...lists import Texts


class EngineSettings(BaseModel):
    """What a role may read is the database's to enforce; these say what is made sure of."""

    schemas: Texts = Field(
        default_factory=list,
        max_length=1000,
        description="Schemas (databases) that may be read; empty: all that the role may read. The "
        "server does not start when the role may read others.",
    )
    allow_privileged: bool = Field(
        default=False,
        description="Serve although the role may do more than read and write tables: administer "
        "the server, reach files of its host, or read the accounts' password hashes.",
    )

    def engine_config(self) -> dict[str, Any]:
        """Return what a worker has to know of these settings, by the names in `job.Config`."""
        return {"schemas": self.schemas, "allow_privileged": self.allow_privileged}
