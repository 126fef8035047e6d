// SPDX-License-Identifier: MIT
export { Sluice } from './sluice.js';
export { SluiceEventSource } from './event_source.js';
export { SluiceError } from './fault.js';
