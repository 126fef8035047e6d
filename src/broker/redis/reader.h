/* SPDX-License-Identifier: MIT */
#pragma once

#include <hiredis/hiredis.h>

/* What makes replies of bytes, which takes no array for as long as somebody says it is; NULL without memory.
 * For the broker's thread. */
redisReader *reader_new(void);
