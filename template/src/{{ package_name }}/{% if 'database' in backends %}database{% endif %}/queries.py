# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""Named queries: statements of the operator's own, from a TOML file, each of them a tool.

Their SQL is trusted as much as a setting; what clients give are values, bound by the database.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import ConfigError
from ..prefix import PREFIX
from .job import INTEGERS, NUMBERS, Value

SETTING = f"{PREFIX}DATABASE__QUERIES"
_MAX_FILE = 1024 * 1024  # bytes
_WIDEST: dict[str, tuple[float, float]] = {"integer": INTEGERS, "number": NUMBERS}
_TYPES: dict[str, type] = {"text": str, "integer": int, "number": float, "boolean": bool}
_NAME = r"^[a-z][a-z0-9_]{0,62}$"


class Parameter(BaseModel):
    """One value that a client gives."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=_NAME)
    type: Literal["text", "integer", "number", "boolean"]
    description: str = ""
    default: str | int | float | bool | None = None
    optional: bool = False
    minimum: Annotated[float, Field(allow_inf_nan=False)] | None = None
    maximum: Annotated[float, Field(allow_inf_nan=False)] | None = None
    max_length: int = Field(default=10_000, ge=1, le=1_000_000)
    choices: list[str] = []

    @model_validator(mode="after")
    def _agrees(self) -> Parameter:
        if self.name.startswith("model_"):  # pydantic, of which arguments are made, has some
            raise ValueError(f"{self.name}: a name that does not begin with model_")
        kinds = {_TYPES[self.type], type(None)} | ({int} if self.type == "number" else set())
        if type(self.default) not in kinds:
            raise ValueError(f"{self.name}: the default is not of its type")
        if (self.minimum, self.maximum) != (None, None) and self.type not in ("integer", "number"):
            raise ValueError(f"{self.name}: minimum and maximum are for numbers")
        bounds = (self.minimum, self.maximum)
        if self.type == "integer" and not all(b is None or b == int(b) for b in bounds):
            raise ValueError(f"{self.name}: minimum and maximum of an integer are integers")
        if self.choices and self.type != "text":
            raise ValueError(f"{self.name}: choices are for text")
        return self

    def annotation(self) -> Any:
        """Return the parameter as a tool's argument is annotated, with its bounds."""
        kind: Any = _TYPES[self.type]
        if self.choices:
            kind = Literal[tuple(self.choices)]
        if self.optional:
            kind |= None
        bounds: dict[str, Any] = {}
        if self.type in ("integer", "number"):
            exact = int if self.type == "integer" else float
            least, most = _WIDEST[self.type]
            bounds = {
                "ge": least if self.minimum is None else exact(self.minimum),
                "le": most if self.maximum is None else exact(self.maximum),
            }
        elif self.type == "text" and not self.choices:
            bounds = {"max_length": self.max_length}
        return Annotated[kind, Field(description=self.description or None, **bounds)]

    def example(self) -> Value:
        """Return a value that it may have."""
        if self.default is not None or self.optional:
            return self.default
        if self.choices:
            return self.choices[0]
        if self.type in ("text", "boolean"):
            return "a" if self.type == "text" else True
        bound = self.minimum if self.minimum is not None else self.maximum
        return _TYPES[self.type](1 if bound is None else bound)  # type: ignore[no-any-return]

    @property
    def required(self) -> bool:
        """Whether a client has to give it."""
        return self.default is None and not self.optional


class Query(BaseModel):
    """One named query."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str = Field(min_length=1, max_length=2000)
    sql: str = Field(min_length=1, max_length=100_000)
    parameters: list[Parameter] = Field(default=[], max_length=100)
    write: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Query:
        names = [each.name for each in self.parameters]
        if len(set(names)) < len(names):
            raise ValueError("two parameters have one name")
        return self

    def trial(self) -> tuple[str, list[Value]]:
        """Return its SQL and values that it may be planned with."""
        return self.sql, [each.example() for each in self.parameters]

    def values(self, given: dict[str, Value]) -> list[Value]:
        """Return the values of the placeholders, in the order of the parameters."""
        return [given[each.name] for each in self.parameters]


class _File(BaseModel):
    """The whole file: a table for each query."""

    model_config = ConfigDict(extra="forbid")

    queries: dict[Annotated[str, Field(pattern=_NAME)], Query] = {}


def load(path: Path, *, required: bool) -> dict[str, Query]:
    """Read the named queries.

    Args:
        required: whether there has to be such a file.

    Raises:
        ConfigError: it cannot be read, or says something that is not understood; in one line.
    """
    try:
        if not path.is_file():
            if required:
                raise ConfigError(f"{SETTING}: {path}: no such file")
            return {}
        with path.open("rb") as file:
            content = file.read(_MAX_FILE + 1)
        if len(content) > _MAX_FILE:
            raise ConfigError(f"{SETTING}: {path.name} is larger than {_MAX_FILE} bytes")
        return _File.model_validate(tomllib.loads(content.decode())).queries
    except OSError:
        raise ConfigError(f"{SETTING}: {path}: cannot be read by this account") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{SETTING}: {path.name} is no TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{SETTING}: {path.name} is nested too deeply") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{SETTING}: {path.name}: {place}: {reason}") from None
