"""The official client of the Model Context Protocol: it lists the tools of a server, calls some, and says what it was told.

On its standard input is what to do, as JSON: `url`, `socket` (a Unix socket, or null), `mode` (`legacy`, which begins with
`initialize`, or `auto`, which asks `server/discover` first) and `calls`, pairs of a tool and its arguments. On its standard
output is what became of it.
"""

import asyncio, importlib.metadata, json, sys

import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client


async def call(client, name, arguments):
    try:
        result = await client.call_tool(name, arguments)
    except MCPError as error:
        return {"raised": str(error)}
    text = "\n".join(part.text for part in result.content if part.type == "text")
    return {"is_error": bool(result.is_error), "text": text, "structured": result.structured_content}


async def main(plan):
    way = httpx2.AsyncHTTPTransport(uds=plan["socket"])
    async with httpx2.AsyncClient(transport=way, timeout=60) as http:
        server = streamable_http_client(plan["url"], http_client=http)
        async with Client(server, mode=plan["mode"], read_timeout_seconds=60) as client:
            tools = (await client.list_tools()).tools
            called = [await call(client, name, arguments) for name, arguments in plan["calls"]]
            return {
                "version": importlib.metadata.version("mcp"),
                "protocol": client.protocol_version,
                "server": client.server_info.name,
                "tools": {tool.name: tool.input_schema for tool in tools},
                "called": called,
            }


json.dump(asyncio.run(main(json.load(sys.stdin))), sys.stdout)
