// SPDX-License-Identifier: MIT
// The classic build: the names of the module as globals.
import * as names from './index.js';

Object.assign(globalThis, names);
