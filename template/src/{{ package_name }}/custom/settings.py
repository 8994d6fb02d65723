# yours: written once; modelctx updates never touch this file.
"""Settings of your own tools, read from the environment like all others."""

from pydantic import BaseModel


class CustomSettings(BaseModel, extra="forbid"):
    """Add a field, and it has a variable: ``greeting: str = "Hello"`` is ``…_CUSTOM__GREETING``.

    Give each a default, or the tests of the project cannot start the server. Use
    ``SecretStr | None = None`` for a secret: it is then kept out of every log and error, and
    ``Texts`` (from ``..lists``) for a list, which may then be plain text or JSON.
    """
