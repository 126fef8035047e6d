# SPDX-License-Identifier: MIT
"""The server that people write with Tornado (Debian's python3-tornado): what is posted to a path goes to every WebSocket of
that path. Announces its port on standard output."""

import asyncio
import collections
import json

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

channels: dict[str, set["Channel"]] = collections.defaultdict(set)
published = 0


class Channel(WebSocketHandler):
    def open(self, name: str) -> None:
        channels[name].add(self)

    def on_close(self) -> None:
        for clients in channels.values():
            clients.discard(self)

    def post(self, name: str) -> None:
        global published
        published += 1
        self.set_status(201)
        self.finish()
        for client in channels[name]:
            client.write_message(self.request.body)


class Stats(RequestHandler):
    def get(self) -> None:
        numbers = {"subscribers_websocket": sum(map(len, channels.values())), "published_total": published}
        self.write(json.dumps(numbers, separators=(",", ":")))


async def main() -> None:
    server = HTTPServer(Application([("/channels/(.*)", Channel), ("/api/stats", Stats)]))
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    print(sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
