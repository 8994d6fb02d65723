# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""What leaves this machine: addresses (`urls`), the only way out (`egress`), and its pace (`pace`).

Knows nothing of MCP. The backends that reach the network have no other way to do it.
"""
