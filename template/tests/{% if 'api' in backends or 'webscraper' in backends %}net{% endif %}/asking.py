# managed: part of the template; modelctx updates may rewrite it. Your tests live in tests/custom/.
"""Sends requests by the package's egress alone, without a server, inside a network of the tests.

The package's name is its argument. Reads ``{"egress": {…}, "send": [[method, url, {…}], …],
"together": bool}`` and prints what came of each, then the most memory that it took, in KiB.
"""

import asyncio
import json
import resource
import sys
import time
from importlib import import_module
from typing import Any

PACKAGE = sys.argv[1]  # nothing else is imported: it runs some hundred times
egress, urls = import_module(f"{PACKAGE}.net.egress"), import_module(f"{PACKAGE}.net.urls")
errors = import_module(f"{PACKAGE}.errors")


async def ask(sender: Any, method: str, url: str, options: dict[str, Any]) -> dict[str, Any]:
    """Send one request, after its redirects if ``follow`` says so, as a backend would."""
    began = time.monotonic()
    follow = options.pop("follow", 0)
    limits = {"deadline": 5, "max_bytes": 5_000_000, **options}
    if "body" in limits:
        limits["body"] = limits["body"].encode()
    try:
        where = urls.parse(url)
        while True:
            answer = await sender.send(method, where, **limits)
            where = answer.redirect() if follow else None
            if where is None:
                break
            follow -= 1
        told = {"status": answer.status, "size": len(answer.body), "cut": answer.cut}
        told |= {"body": answer.body[:2000].decode("latin-1")}
    except errors.Refused as refused:
        told = {"code": refused.code, "message": refused.message}
    return {**told, "seconds": time.monotonic() - began}


async def main() -> None:
    """Do what standard input says."""
    asked = json.load(sys.stdin)
    sender = egress.Egress(**{"user_agent": "tests/1", **asked["egress"]})
    requests = [ask(sender, *each) for each in asked["send"]]
    if asked["together"]:
        results = await asyncio.gather(*requests)
    else:
        results = [await each for each in requests]
    await sender.aclose()
    print(json.dumps([results, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))


if __name__ == "__main__":
    asyncio.run(main())
