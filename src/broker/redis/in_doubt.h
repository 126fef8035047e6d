/* SPDX-License-Identifier: MIT */
#pragma once

/* Publishes in doubt: their commands were sent, and the link broke before the answers came. Each waits for
 * its server to be back; then it is looked up whether it is in the log. */

#include <stdbool.h>

struct publication;

/* Keeps a publication whose answer was lost, behind those that its server lost before. Returns false when it
 * is not in doubt, because it was sent nowhere, or cannot be kept: then the caller finishes it. */
bool in_doubt_keep(struct publication *publication);
