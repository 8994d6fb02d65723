# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""Your own part of the server: tools.py and settings.py are yours, updates never touch them."""
