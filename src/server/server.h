/* SPDX-License-Identifier: MIT */
#pragma once

/* The wiring: the only place that knows the broker, the shards, HTTP and the transports. Main thread. */

#include "config/configuration.h"

/* Runs until it is told to stop. Returns the process's exit status: 0 after a clean stop, 1 when it cannot
 * run, 2 when the options do not allow it. */
int server_run(struct configuration *configuration);
