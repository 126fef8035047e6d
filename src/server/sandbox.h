/* SPDX-License-Identifier: MIT */
#pragma once

/* The system calls that a running server makes, and no others: a filter for all threads of the process that
 * cannot be taken off again. No program is executed, no process made, no file opened for writing, no memory
 * made executable. A call that is not allowed is not executed: it is told on stderr, and the process dies of
 * SIGSYS. Newer calls that the C library tries first and can do without are answered ENOSYS.
 *
 * Main thread, once everything is open that only a start opens. Not for a build with a sanitizer, which makes
 * calls of its own.
 */

#include <stdbool.h>

#define SANDBOX_FAULT_MAX 256u

/* `has_files` says that files of Unix sockets are to be removed at the end. Returns 0, or -errno with `fault`
 * a sentence. */
int sandbox_enter(bool has_files, char fault[SANDBOX_FAULT_MAX]);
