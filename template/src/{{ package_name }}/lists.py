# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""Settings that are lists or tables, written as JSON or, a single item, as plain text.

With `pydantic_settings.NoDecode`, so that an error names the setting and not its whole section.
"""

import json
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic_settings import NoDecode


def as_list(value: Any) -> Any:
    """Take one item as plain text, since quoting JSON in a shell is easily got wrong.

    Raises:
        ValueError: it is empty, or begins like JSON and is not.
    """
    if not isinstance(value, str):
        return value
    if not value:  # emptied by mistake, it would switch off what the list protects
        raise ValueError("write [] for an empty list")
    if not value.lstrip().startswith("["):
        return [value]
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError('write one item as plain text, or a list as JSON: ["a", "b"]') from None


def as_table(value: Any) -> Any:
    """Take a table as JSON.

    Raises:
        ValueError: it is not JSON.
    """
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError('write a table as JSON: {"a": "b"}') from None


Texts = Annotated[list[str], BeforeValidator(as_list), NoDecode]
