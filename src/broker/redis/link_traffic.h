/* SPDX-License-Identifier: MIT */
#pragma once

/* What goes through an open link, for link.c: commands out, replies in. On the broker's thread. */

#include "broker/redis/link.h"

/* Reads what is there, until its turn is over, and delivers it. With `must_see_end` also where a read has not
 * filled its buffer: the end of the connection may have been told together with bytes. */
void link_read(struct link *link, bool must_see_end);

/* Sends what is to be sent, as far as the socket takes it. */
void link_write(struct link *link);

/* Something is awaited: it has to come in time. */
void link_arm_deadline(struct link *link);

/* Breaks the link for the reason in errno, or the one that TLS has. */
void link_break_io(struct link *link);
