// SPDX-License-Identifier: MIT
export { Sluice } from './sluice.js';
export { SluiceError } from './fault.js';
