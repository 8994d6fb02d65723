# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""The settings of the guard and of the audit log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from pydantic_settings import NoDecode

from ..lists import as_list, as_table
from .audit import AuditLog, probe

_MIB = 1024 * 1024

_Globs = Annotated[tuple[str, ...], BeforeValidator(as_list), NoDecode]
_Table = Annotated[dict[str, str], BeforeValidator(as_table), NoDecode]


class GuardSettings(BaseModel):
    """What every call has to pass, whatever the backend and the transport."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    allow: _Globs = Field(
        ("*",),
        description="Globs of the tools, prompts and resource URIs that may be used.",
    )
    deny: _Globs = Field(
        (),
        description="Globs of the tools, prompts and resource URIs that may not be used;"
        " stronger than allow.",
    )
    scopes: _Table = Field(
        {},
        description="Glob to the scope that a token needs for names that match. Over HTTP only.",
    )
    rate: float = Field(
        20.0,
        gt=0,
        le=100_000,
        description="Calls a second, for each caller and each tool, prompt or resource.",
    )
    burst: int = Field(
        100,
        ge=1,
        le=100_000,
        description="Calls that a caller may make at once before the rate counts.",
    )
    max_in_flight: int = Field(
        64, ge=1, le=10_000, description="Calls that may run at the same time, of all callers."
    )
    timeout: float = Field(
        30.0, gt=0, le=3600, description="Seconds that one call may take in all."
    )
    max_argument_bytes: int = Field(
        4 * _MIB,
        ge=1024,
        le=256 * _MIB,
        description="Bytes that the arguments of a call may have.",
    )
    max_argument_depth: int = Field(
        32, ge=8, le=100, description="Levels that the arguments of a call may be nested."
    )
    max_result_bytes: int = Field(
        16 * _MIB,
        ge=1024,
        le=256 * _MIB,
        description="Bytes that the result of a call may have.",
    )


class AuditSettings(BaseModel):
    """Where the audit log goes, and what happens when it cannot."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = Field(True, description="Whether calls are recorded.")
    path: str | None = Field(
        None,
        min_length=1,
        description="The log file, or - for standard error. Without it, a file in the"
        " user's state folder.",
    )
    key: SecretStr | None = Field(
        None,
        min_length=16,
        description="Key of the hash chain (HMAC-SHA256), 16 characters or more. Without it,"
        " whoever can write the file can also compute a new chain.",
    )
    max_bytes: int = Field(
        10 * _MIB,
        ge=64 * 1024,
        le=1024 * _MIB,
        description="Bytes after which a new file is begun.",
    )
    keep: int = Field(10, ge=1, le=10_000, description="Full files that are kept.")
    fsync: bool = Field(
        False, description="Wait for the disk after every record. Milliseconds a call."
    )
    on_failure: Literal["refuse", "continue"] = Field(
        "refuse",
        description="What to do with a call that cannot be recorded.",
    )

    def file(self, default: Path) -> Path | None:
        """Return the log's file; None where there is none (switched off, or standard error).

        Args:
            default: the file to use when ``path`` is not set.
        """
        if not self.enabled or self.path == "-":
            return None
        return Path(self.path or default).expanduser().absolute()

    def open(self, default: Path) -> AuditLog | None:
        """Open the log as configured; None when it is switched off.

        Args:
            default: as for `file`.

        Raises:
            ConfigError: the file or its folder cannot be used.
        """
        if not self.enabled:
            return None
        return AuditLog.open(
            self.file(default) or "-",
            key=self.chain_key(),
            max_bytes=self.max_bytes,
            keep=self.keep,
            fsync=self.fsync,
            fail_closed=self.on_failure == "refuse",
        )

    def probe(self, default: Path) -> None:
        """Find out whether `open` would succeed, and leave no trace.

        Args:
            default: as for `file`.

        Raises:
            ConfigError: the file or its folder cannot be used.
        """
        if file := self.file(default):
            probe(file, self.chain_key())

    def chain_key(self) -> bytes | None:
        """Return the key of the hash chain; None for a chain without one."""
        return self.key.get_secret_value().encode() if self.key is not None else None
