# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""Every setting, typed, with its default and its environment variable.

A setting's variable is the package's name in capitals, then the path to the setting, joined by
two underscores: ``MYSERVER_READ_ONLY``, ``MYSERVER_GUARD__RATE``. A flag of the command wins over
the environment, the environment over ``.env``, ``.env`` over a secret file, that over the default.
An unknown or invalid setting stops the start: a typing error must not switch off a protection.
"""

import contextlib
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import (
    Any,
    Literal,
    TypeGuard,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)
from urllib.parse import unquote, urlsplit

from dotenv.parser import parse_stream
from pydantic import (
    BaseModel,
    Field,
    Secret,
    SecretBytes,
    SecretStr,
    ValidationError,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from .backends import BackendSettings
from .custom.settings import CustomSettings
from .errors import ConfigError
from .guard.settings import AuditSettings, GuardSettings
from .lists import Texts
from .prefix import COMMAND, PREFIX

# Where to look for settings is not itself a setting: it is read before they are.
ENV_FILE = f"{PREFIX}ENV_FILE"
SECRETS_DIR = f"{PREFIX}SECRETS_DIR"
_MAX_SECRET = 64 * 1024  # bytes


class Settings(BackendSettings, BaseSettings):
    """What can be configured. ``--help`` and ``.env.example`` list the same."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        # A dot-env file may hold variables of other programs; ours are checked by name below.
        extra="ignore",
        # Errors name the setting, never its value, which may be a secret.
        hide_input_in_errors=True,
    )

    read_only: bool = Field(
        default=True,
        description="Serve only tools that change nothing. The others are neither listed nor "
        "callable.",
    )
    transport: Literal["stdio", "http"] = Field(
        default="stdio", description="How clients connect: through stdin and stdout, or HTTP."
    )
    host: Literal["127.0.0.1", "localhost", "::1"] = Field(
        default="127.0.0.1",
        description="Address that HTTP listens on. Only loopback in this release.",
    )
    port: int = Field(
        default=8000, ge=0, le=65535, description="Port that HTTP listens on; 0 takes a free one."
    )
    max_message_bytes: int = Field(
        default=4 * 1024 * 1024,
        ge=1024,
        le=256 * 1024 * 1024,
        description="Largest message in bytes that is accepted: a line of stdin, a body of HTTP.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="What is written to stderr."
    )
    landlock: Literal["auto", "off", "require"] = Field(
        default="auto",
        description="Let the Linux kernel confine this process to its own files and the allowed "
        "folders: where it can (auto), never (off), or do not start without it (require).",
    )
    landlock_paths: Texts = Field(
        default_factory=list,
        max_length=100,
        description='More paths that your own tools may read, or change with the suffix ":rw".',
    )
    guard: GuardSettings = Field(
        default_factory=GuardSettings, description="Limits and permissions around every call."
    )
    audit: AuditSettings = Field(
        default_factory=AuditSettings, description="The record of every call."
    )
    custom: CustomSettings = Field(
        default_factory=CustomSettings, description="Settings of your own tools."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the environment, then ``.env``, then one file for each secret."""
        return init_settings, env_settings, dotenv_settings, SecretFiles(settings_cls)


class SecretFiles(EnvSettingsSource):
    """One file for each secret, in the folder of SECRETS_DIR, named like its variable."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): value for name, value in _secret_files().items()}


def load() -> Settings:
    """Read and validate the settings.

    Raises:
        ConfigError: a setting is unknown or invalid, or a file that was named cannot be read.
    """
    named = env_file()
    _refuse_unknown(os.environ, {ENV_FILE, SECRETS_DIR})
    try:
        if named:
            _refuse_unknown(_names_in(named))
        return Settings(_env_file=named)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise ConfigError(
            f"{_named_by(error.title, first['loc'])}: {_plain(first['msg'])}"
        ) from None
    except SettingsError as error:
        name = _named_in(str(error))
        raise ConfigError(f'{name}: the value is not valid JSON, such as ["a", "b"]') from None
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"{ENV_FILE}: the file cannot be read as UTF-8 text") from None


def variable(path: tuple[str, ...]) -> str:
    """Return the environment variable of the setting at ``path``, such as ``("guard", "rate")``."""
    return PREFIX + "__".join(path).upper()


def fields(
    model: type[BaseModel] = Settings, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    """Yield ``(path, field)`` of every setting, sections before what they hold."""
    for name, field in model.model_fields.items():
        here = (*path, name)
        yield here, field
        if section(field.annotation):
            yield from fields(field.annotation, here)


def section(annotation: Any) -> TypeGuard[type[BaseModel]]:
    """Say whether a field holds settings of its own."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def audit_file(settings: AuditSettings) -> Path | None:
    """Return the audit log's file; None where there is none (switched off, or on stderr)."""
    return settings.file(default_audit_log())


def default_audit_log() -> Path:
    """Return the audit log's file where no setting names one.

    It outlives a run, so it is state (XDG Base Directory Specification, XDG_STATE_HOME).
    """
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    base = state if state.is_absolute() else Path.home() / ".local" / "state"
    return base / COMMAND / "audit.jsonl"


def secret(annotation: Any) -> bool:
    """Say whether a setting holds a secret, however deep: then it is no flag, in no snippet."""
    if isinstance(annotation, type) and issubclass(annotation, (SecretStr, SecretBytes, Secret)):
        return True
    if section(annotation):
        return any(secret(field.annotation) for field in annotation.model_fields.values())
    if isinstance(annotation, type) and (is_dataclass(annotation) or is_typeddict(annotation)):
        return any(map(secret, get_type_hints(annotation).values()))
    alias = getattr(annotation, "__value__", None)  # type X = …
    inner = (get_origin(annotation), alias, *get_args(annotation))
    return any(secret(each) for each in inner if each is not None)


def secrets(value: Any) -> Iterator[str]:
    """Yield every secret that settings hold, so that logs can be searched for it."""
    if isinstance(value, (SecretStr, SecretBytes, Secret)):
        held = value.get_secret_value()
        text = held.decode("utf-8", "replace") if isinstance(held, bytes) else str(held)
        yield text
        yield from _passwords_in(text)
    elif isinstance(value, BaseModel):
        yield from secrets(dict(value))
    elif is_dataclass(value):
        yield from secrets(vars(value))
    elif isinstance(value, dict):
        yield from secrets([*value.keys(), *value.values()])
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from secrets(item)


def _passwords_in(url: str) -> Iterator[str]:
    """Yield the password in an address, as it is written there and as it is meant."""
    with contextlib.suppress(ValueError):
        password = urlsplit(url).password if "://" in url else None
        if password:
            yield from {password, unquote(password)}


def env_file() -> Path | None:
    """Return the dot-env file to read: the one named, or that of the project's own folder.

    The current directory is not searched. A client starts the server wherever it works, and a
    ``.env`` in somebody else's repository must not switch off a protection.
    """
    if named := os.environ.get(ENV_FILE):
        if not Path(named).is_file():
            raise ConfigError(f"{ENV_FILE}: no such file")
        return Path(named)
    project = project_folder()
    beside = project / ".env" if project else None
    return beside if beside and beside.is_file() else None


def project_folder() -> Path | None:
    """Return the folder of this project; None where only its package is installed."""
    folder = Path(__file__).resolve().parents[2]
    return folder if (folder / "pyproject.toml").is_file() else None


def _names_in(named: Path) -> set[str]:
    """Return the names in a dot-env file. A line that cannot be read would be left out silently."""
    names: set[str] = set()
    with named.open(encoding="utf-8") as file:
        for line in parse_stream(file):
            if line.error or (line.key is not None and line.value is None):
                number = line.original.line
                raise ConfigError(f"{ENV_FILE}: line {number} is not NAME=value: {named.name}")
            if line.key is None:
                continue
            if line.key.upper().startswith(PREFIX):
                where = f"{ENV_FILE}: line {line.original.line}: {line.key}"
                if line.key in names:
                    raise ConfigError(f"{where} is there twice; keep one")
                if "${" in (line.value or ""):
                    raise ConfigError(f"{where}: ${{…}} would be replaced; write the value itself")
            names.add(line.key)
    return names


def _secret_files() -> dict[str, str]:
    """Return what the files of SECRETS_DIR hold, by variable. Files of others are left alone.

    Raises:
        ConfigError: the folder or a file of ours cannot be read, or its name is no setting's.
    """
    named = os.environ.get(SECRETS_DIR)
    if not named:
        return {}
    if not Path(named).is_dir():
        raise ConfigError(f"{SECRETS_DIR}: no such folder")
    found: dict[str, str] = {}
    for entry in sorted(Path(named).iterdir()):
        variable = entry.name.upper()  # such files are often named in small letters
        if not variable.startswith(PREFIX):
            continue
        _refuse_unknown([variable])
        if variable in found:
            raise ConfigError(f"{SECRETS_DIR}: {entry.name} is there twice; keep one spelling")
        found[variable] = _secret_in(entry)
    return found


def _secret_in(entry: Path) -> str:
    where = f"{SECRETS_DIR}: {entry.name}"
    try:
        if not entry.is_file():
            raise ConfigError(f"{where} is not a file")
        with entry.open("rb") as file:
            content = file.read(_MAX_SECRET + 1)
        text = content.decode().strip()
    except UnicodeDecodeError:
        raise ConfigError(f"{where} is not UTF-8 text") from None
    except OSError:
        raise ConfigError(f"{where} cannot be read by this account") from None
    if len(content) > _MAX_SECRET:
        raise ConfigError(f"{where} is larger than {_MAX_SECRET} bytes")
    return text


def _refuse_unknown(names: Iterable[str], besides: Collection[str] = ()) -> None:
    """Refuse names like ours that are not spelled like ours.

    Small letters too: beside the same name in capitals, which of the two counts is an accident.
    """
    known = {variable(path) for path, _ in fields()} | set(besides)
    for name in sorted(names):
        if not name.upper().startswith(PREFIX) or name in known:
            continue
        if name in (ENV_FILE, SECRETS_DIR):
            raise ConfigError(f"{name}: only the environment can say this, not what it points to")
        raise ConfigError(f"{name}: there is no such setting; `{COMMAND} --help` lists them")


def _named_by(model: str, place: tuple[int | str, ...]) -> str:
    """Return the variable of the setting that an error of pydantic is about."""
    # A section of which nothing is set is validated alone, and named by its class.
    sections = {
        field.annotation.__name__: path for path, field in fields() if section(field.annotation)
    }
    path = (*sections.get(model, ()), *map(str, place))
    known = {setting for setting, _ in fields()}
    while path and path not in known:  # an item of a list or a key of a mapping: name the setting
        path = path[:-1]
    return variable(path) if path else "settings"


def _named_in(text: str) -> str:
    """Find the variable that an error of pydantic-settings speaks of; it names the field only."""
    named = [(path, field) for path, field in fields() if f'"{path[0]}"' in text]
    for path, field in named:
        value = os.environ.get(variable(path), "")
        if get_origin(field.annotation) and value and not _is_json(value):
            return variable(path)
    return variable(named[0][0]) if named else "settings"


def _plain(message: str) -> str:
    """Return an error of pydantic without its own words for what a text consists of."""
    return message.removeprefix("Value error, ").replace(" items after validation", " characters")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
