/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_BROKER_REDIS_READER_H
#define SLUICE_BROKER_REDIS_READER_H

#include <hiredis/hiredis.h>

/* What makes replies of bytes, which takes no array for as long as somebody says it is; NULL without memory.
 * For the broker's thread. */
redisReader *reader_new(void);

#endif
