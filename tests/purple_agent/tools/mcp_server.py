"""A small MCP server for tests: `python mcp_server.py` speaks over stdio, `python mcp_server.py PORT` over HTTP."""

import sys

from mcp.server import MCPServer

server = MCPServer("market")


@server.tool()
def get_quote(symbol: str, as_of: str = "2030-01-01") -> str:
    """Price of a symbol on a day."""
    return f"{symbol} closed at 101.5 on {as_of}"


@server.tool()
def get_earnings(symbol: str, as_of: str = "") -> str:
    """The next report, whatever day it is."""
    return f"{symbol} reports on 2029-12-31"


@server.tool()
def get_company_info(symbol: str) -> dict[str, str]:
    """Facts without a date."""
    return {"symbol": symbol, "sector": "energy"}


@server.tool()
def breaks() -> str:
    """Fails."""
    raise ValueError("out of order")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run(transport="streamable-http", port=int(sys.argv[1]))
    else:
        server.run()
