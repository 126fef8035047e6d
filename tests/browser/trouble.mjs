// SPDX-License-Identifier: MIT
// A proxy that does what proxies do, as its `mode` says when a connection comes:
// pass; cut (after some bytes); buffer (an answer is kept back until it ends); no-upgrade; delay; refuse (502); mute (no answer comes back).
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { atEnd } from './support.mjs';

const DELAY_MS = 150;
const CUT_BYTES = 3000;
const BAD = 'HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 0\r\n\r\n';

export async function startTrouble(port) {
  const proxy = { mode: 'pass', port, sockets: new Set() };
  const listener = createServer((client) => {
    const { mode } = proxy;
    const upstream = connect(proxy.port, '127.0.0.1').on('error', () => client.destroy());
    proxy.sockets.add(client);
    client.on('error', () => {}).on('close', () => { proxy.sockets.delete(client); upstream.destroy(); });
    let rest = Math.floor(CUT_BYTES * Math.random());
    let kept = [];
    let isEndless = false;
    client.on('data', (part) => {
      if (proxy.mode === 'refuse') return client.end(BAD);
      if (['no-upgrade', 'buffer'].includes(proxy.mode) && /^upgrade: websocket/im.test(part.toString('latin1'))) return client.end(BAD);
      return upstream.write(part);
    });
    upstream.on('data', (part) => {
      if (client.destroyed) return;
      isEndless ||= /^transfer-encoding: chunked/im.test(part.toString('latin1'));
      if (mode === 'buffer' && isEndless) {
        kept.push(part);
      } else if (mode === 'cut' && rest < part.length) {
        client.end(part.subarray(0, rest));
      } else if (mode === 'delay') {
        setTimeout(() => { if (!client.destroyed) client.write(part); }, DELAY_MS);
      } else if (proxy.mode !== 'mute') {
        rest -= part.length;
        client.write(part);
      }
    });
    upstream.on('end', () => { client.end(Buffer.concat(kept)); kept = []; });
  }).listen(0, '127.0.0.1');
  await once(listener, 'listening');
  proxy.origin = `http://127.0.0.1:${listener.address().port}`;
  /** Cuts that part of the connections, at random. */
  proxy.cut = (part) => { for (const socket of proxy.sockets) if (Math.random() < part) socket.destroy(); };
  proxy.stop = () => { listener.close(); proxy.cut(1); };
  atEnd(proxy.stop);
  return proxy;
}
