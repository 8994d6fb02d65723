# yours: written once; modelctx updates never touch this file.
"""Settings of your own tools, read from the environment like all others."""

from pydantic import BaseModel


class CustomSettings(BaseModel, extra="forbid"):
    """Add a field, and it has a variable: ``greeting: str = "Hello"`` is ``…_CUSTOM__GREETING``.

    Use ``SecretStr`` for a secret: it is then kept out of every log and error.
    """
