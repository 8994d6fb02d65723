# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""The two kinds of error whose text is meant to be read by somebody outside the process."""


class Refused(Exception):
    """A deliberate refusal. Its text reaches the client word for word.

    Raise it from any tool, yours included. Every other exception reaches the client
    only as "internal error, reference ID".

    Args:
        code: one word from the backend's small vocabulary, such as ``denied`` or ``too_large``.
        message: what is wrong and what to do, without a path, secret or query of the server's side.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class ConfigError(Exception):
    """A setting is missing, unknown, invalid or contradicts another: the server does not start.

    The text is one line for the operator, names the setting and says what to write.
    It never holds the value of a secret.
    """
