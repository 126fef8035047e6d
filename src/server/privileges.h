/* SPDX-License-Identifier: MIT */
#pragma once

/* What the process gives up: the rights of root once its sockets are bound (option `user`), and what no
 * server needs. Main thread; the rights are those of all threads.
 */

#include "config/options.h"

#define PRIVILEGES_FAULT_MAX 256u

/* No program that this process might be made to execute can get more rights than it has. Before any other
 * thread, which would not inherit it. */
void privileges_give_up_new(void);

/* No core file and no tracing by other processes of the user: the memory holds keys. */
void privileges_hide_memory(void);

/* Whether `user`, NAME[:GROUP] in names or numbers, is somebody whom this process may become. Returns 0, or
 * -EINVAL or -EPERM with `fault` the end of a sentence. */
int privileges_check(const char *user, char fault[PRIVILEGES_FAULT_MAX]);

/* Becomes that user with the user's groups, for good. Returns 0, or -errno with `fault`; the process is then
 * to end, for some of the rights may be gone. */
int privileges_drop(const char *user, char fault[PRIVILEGES_FAULT_MAX]);

/* Logs each file of the options that this process cannot read: after the drop a reload will fail of it. */
void privileges_warn_of_unreadable_files(const struct options *options);
