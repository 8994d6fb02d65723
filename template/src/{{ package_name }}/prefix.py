# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""The names that follow from the package's own. Nothing is imported here, so anything may."""

PACKAGE = __package__ or ""
PREFIX = f"{PACKAGE.upper()}_"
COMMAND = PACKAGE.replace("_", "-")
