// SPDX-License-Identifier: MIT
// The ES module.
import { script } from './share.js';

Object.assign(script, { url: import.meta.url, type: 'module' });
export * from './index.js';
