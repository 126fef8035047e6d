/* SPDX-License-Identifier: MIT */
#pragma once

/* The embedded broker: the channel logs in this process's memory, behind one lock that is held shortly.
 * Requests are answered in the thread that submits them. */

#include "core/broker.h"

/* Takes a reference to the options. NULL when memory is out. */
struct broker *memory_broker_new(struct options *options);
