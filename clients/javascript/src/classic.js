// SPDX-License-Identifier: MIT
// The classic build: the names of the module as globals.
import { Sluice, SluiceError, SluiceEventSource } from './index.js';
import { script } from './share.js';

script.url = globalThis.document?.currentScript?.src;
Object.assign(globalThis, { Sluice, SluiceError, SluiceEventSource });
