/* SPDX-License-Identifier: MIT */
#pragma once

/* What is said first on a new command link: who we are, what this Redis is, and the functions that we need
 * there. */

struct redis_server;

/* Says hello; ends with server_greeted or server_fail. */
void hello_begin(struct redis_server *server);
