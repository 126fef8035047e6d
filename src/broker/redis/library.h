/* SPDX-License-Identifier: MIT */
#pragma once

/* sluice.lua, ready to be loaded. Immutable; any thread. */

/* What the function sluice_version answers. */
#define LIBRARY_VERSION 6

/* For FUNCTION LOAD (Redis 7). */
extern const char library_functions[];

/* For SCRIPT LOAD (Redis 6): a call's first argument is the function's name without sluice_. */
extern const char library_script[];
