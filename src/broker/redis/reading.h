/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_BROKER_REDIS_READING_H
#define SLUICE_BROKER_REDIS_READING_H

/* The messages in an answer of sluice_open or sluice_read. */

#include "broker/redis/answer.h"
#include "broker/redis/envelope.h"

/* The message of entry `index`; NULL when it is none, has expired, or memory is out. */
struct message *reading_make_message(const struct reading *reading, size_t index, uint64_t now_ms);

/* Tells the operator that somebody writes messages that are not what they say. */
void reading_tell_mended(const char *channel);

#endif
