// SPDX-License-Identifier: MIT
// What is in static/ is made of clients/javascript, and small.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';

const { SOURCE_DIR } = process.env;
const SIZE_MAX = 6 * 1024;

test('the built files are in step with their sources', () => {
  execFileSync(process.execPath, [join(SOURCE_DIR, 'clients/javascript/build'), '--check'], { env: { ...process.env, BROWSER_MODULES: process.cwd() } });
});

for (const name of ['sluice.js', 'sluice.classic.js']) {
  test(`${name} is small`, () => {
    const size = gzipSync(readFileSync(join(SOURCE_DIR, 'static', name)), { level: 9 }).length;
    assert.ok(size <= SIZE_MAX, `${size} bytes, gzipped`);
  });
}
