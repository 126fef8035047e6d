// SPDX-License-Identifier: MIT
// The server that people write with node's ws: what is posted to a path goes to every WebSocket of that path. Announces its
// port on standard output. Its argument is the folder that has node_modules.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';

const { WebSocketServer } = createRequire(`${process.argv[2]}/`)('ws');
const channels = new Map();
let published = 0;

function publish(request, response, data) {
  published++;
  response.writeHead(201, { 'Content-Length': 0 }).end();
  for (const client of channels.get(request.url) ?? []) client.send(data, { binary: false });
}

function tell(response) {
  const subscribers = [...channels.values()].reduce((sum, clients) => sum + clients.size, 0);
  const text = JSON.stringify({ subscribers_websocket: subscribers, published_total: published });
  response.writeHead(200, { 'Content-Length': text.length }).end(text);
}

const server = createServer((request, response) => {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => (request.method === 'GET' ? tell(response) : publish(request, response, Buffer.concat(parts))));
});

new WebSocketServer({ server, perMessageDeflate: false }).on('connection', (client, request) => {
  if (!channels.has(request.url)) channels.set(request.url, new Set());
  const clients = channels.get(request.url);
  clients.add(client);
  client.on('close', () => clients.delete(client));
});

server.listen(0, '127.0.0.1', () => console.log(server.address().port));
