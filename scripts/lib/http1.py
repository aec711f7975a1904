"""A small HTTP/1.1 client on asyncio: keep-alive, bodies with a length, nothing else. Fast enough to overload a server
from the same machine, and honest: it never repeats a request."""

import asyncio
import json
from typing import NamedTuple


class Response(NamedTuple):
    """Status, header fields by lower-case name, body."""

    status: int
    headers: dict
    body: bytes

    def json(self):
        return json.loads(self.body)


def request(method, path, body=b"", headers=()):
    """The bytes of a request, to be built once and sent often."""
    lines = [f"{method} {path} HTTP/1.1", "host: localhost", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Connection:
    """One connection to 127.0.0.1, opened when it is needed, kept while the server keeps it."""

    def __init__(self, port):
        self.port = port
        self.reader = self.writer = None

    async def send(self, raw):
        """One exchange. A connection that breaks is an OSError or an asyncio.IncompleteReadError."""
        if self.writer is None or self.reader.at_eof():
            self.close()
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            self.writer.write(raw)
            response = await self._receive()
        except BaseException:
            self.close()
            raise
        if response.headers.get("connection", "").lower() == "close":
            self.close()
        return response

    async def _receive(self):
        head = await self.reader.readuntil(b"\r\n\r\n")
        first, *fields = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return Response(int(first.split(" ", 2)[1]), headers, body)

    def close(self):
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None


async def call(port, method, path, body=b"", headers=()):
    """One request on a connection of its own."""
    connection = Connection(port)
    try:
        return await connection.send(request(method, path, body, [*headers, ("connection", "close")]))
    finally:
        connection.close()
