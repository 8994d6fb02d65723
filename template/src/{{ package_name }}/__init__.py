# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""An MCP server made with modelctx. Start reading at server.py."""
