/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_BROKER_MEMORY_MEMORY_H
#define SLUICE_BROKER_MEMORY_MEMORY_H

/* The embedded broker: one thread owns all channel logs, in this process's memory. */

#include "core/broker.h"

/* A broker that is not started; takes a reference to the options. NULL when memory is out. */
struct broker *memory_broker_new(struct options *options);

#endif
