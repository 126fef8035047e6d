# SPDX-License-Identifier: MIT
"""The echo server that people write with Tornado (Debian's python3-tornado); announces its port on standard output."""

import asyncio

from tornado.iostream import IOStream, StreamClosedError
from tornado.tcpserver import TCPServer


class EchoServer(TCPServer):
    async def handle_stream(self, stream: IOStream, address: object) -> None:
        while True:
            try:
                data = await stream.read_until(b"\n")
                await stream.write(data)
            except StreamClosedError:
                break


async def main() -> None:
    server = EchoServer()
    server.listen(0, "127.0.0.1")
    socket = next(iter(server._sockets.values()))
    print(socket.getsockname()[1], flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
