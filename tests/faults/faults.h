/* SPDX-License-Identifier: MIT */
/* Calls that fail when a test says so: linked into a copy of the server in place of the real ones (ld's
 * --wrap, see Makefile.am), and told through the file that SLUICE_FAULTS names, which
 * both sides map (tests/e2e/support/faults.py).
 *
 * Only calls from Sluice's own objects are wrapped, not those from within libraries.
 */
#pragma once

#include <stdbool.h>

/* Counts a call of this kind; whether it is to fail, and then errno is set. Any thread. */
bool fault_is_due(const char *kind);

/* Defines what the linker puts in place of NAME: it returns FAILED where a fault is due. */
#define FAULTY(KIND, RESULT, FAILED, NAME, PARAMETERS, ARGUMENTS)                                            \
    RESULT __real_##NAME PARAMETERS;                                                                         \
    RESULT __wrap_##NAME PARAMETERS;                                                                         \
    RESULT __wrap_##NAME PARAMETERS                                                                          \
    {                                                                                                        \
        return fault_is_due(KIND) ? (FAILED) : __real_##NAME ARGUMENTS;                                      \
    }
