# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""Settings of the database backend: which database, what may be read of it, and how much."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, SecretStr

from ..lists import Texts
from .engine import URL_EXAMPLE
from .engine.address import own_files
from .engine.settings import EngineSettings

_KIB = 1024
_MIB = 1024 * _KIB


def _expanded(value: str) -> str:
    return str(Path(value).expanduser())


class DatabaseSettings(EngineSettings):
    """The database backend. A list is JSON, or a single item as plain text."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    url: SecretStr | None = Field(
        default=None,
        min_length=1,
        description=f"Address of the database with its credentials, such as {URL_EXAMPLE}",
    )
    read_only: bool | None = Field(
        default=None,
        description="Serve no query that writes. Unset, the server's own read_only decides; false "
        "does not undo that.",
    )
    expose_sql: bool = Field(
        default=True,
        description="Serve query and explain, which take SQL from the client. Without them there "
        "are named queries and the catalogue.",
    )
    queries: Annotated[str, AfterValidator(_expanded)] | None = Field(
        default=None,
        min_length=1,
        description="File of named queries. Without it, custom/queries.toml of the package.",
    )
    confirm_writes: Literal["always", "if_possible", "never"] = Field(
        default="always",
        description="Whether the user is asked before a query that writes is run. Where a client "
        "cannot ask, always refuses the call and if_possible runs it.",
    )
    deny_tables: Texts = Field(
        default_factory=list,
        max_length=1000,
        description="Tables that are neither shown nor read.",
    )
    deny_columns: Texts = Field(
        default_factory=list,
        max_length=1000,
        description='Columns that are neither shown nor read, such as ["users.password"].',
    )
    pool_size: int = Field(
        default=4, ge=1, le=64, description="Connections to the database, each a process."
    )
    pool_timeout: float = Field(
        default=10.0, gt=0, le=300, description="Seconds that a call waits for a connection."
    )
    connect_timeout: float = Field(
        default=5.0, gt=0, le=60, description="Seconds to reach and open the database."
    )
    statement_timeout: float = Field(
        default=10.0,
        gt=0,
        le=3600,
        description="Seconds after which a statement is stopped in the database. The guard's "
        "timeout bounds the whole call.",
    )
    max_rows: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="Rows of an answer, at most; a call may ask for fewer.",
    )
    max_bytes: int = Field(
        default=_MIB,
        ge=_KIB,
        le=64 * _MIB,
        description="Bytes of the rows of an answer, at most.",
    )
    max_memory: int = Field(
        default=256 * _MIB,
        ge=64 * _MIB,
        le=8192 * _MIB,
        description="Bytes of memory that a statement may take on this machine.",
    )

    def private_files(self) -> list[Path]:
        """Return the files through which another backend would reach the same data."""
        return own_files(self.url.get_secret_value()) if self.url else []
