// SPDX-License-Identifier: MIT
// Puts the packages of ./package-lock.json into ./node_modules as `npm ci` would. Debian's npm brings 360 packages that
// nothing here needs; this takes curl, tar and Debian's node-registry-url, which knows where packages come from.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import registryUrl from 'registry-url';

const HOME = 'node_modules/';
const ARCHIVE_BYTES_MAX = 64 << 20;

function fetchArchive(name, { version, integrity }) {
  const [scope] = name.startsWith('@') ? name.split('/') : [];
  const url = `${registryUrl(scope)}${name}/-/${name.replace(/^.*\//, '')}-${version}.tgz`;
  const archive = execFileSync('curl', ['-fsSL', '--retry', '3', url], { maxBuffer: ARCHIVE_BYTES_MAX });
  const [algorithm, sum] = integrity.split(/-(.*)/s);
  if (createHash(algorithm).update(archive).digest('base64') !== sum) {
    throw new Error(`${name} ${version} is not what package-lock.json says it is`);
  }
  return archive;
}

const { packages } = JSON.parse(readFileSync('package-lock.json'));
rmSync(HOME, { recursive: true, force: true });
for (const [folder, about] of Object.entries(packages)) {
  const isForHere = [about.os?.includes(process.platform), about.cpu?.includes(process.arch)].every((fits) => fits !== false);
  if (folder !== '' && isForHere) {
    const archive = fetchArchive(folder.slice(folder.lastIndexOf(HOME) + HOME.length), about);
    mkdirSync(folder, { recursive: true });
    execFileSync('tar', ['-xz', '--no-same-owner', '--strip-components=1', '-C', folder], { input: archive });
  }
}
