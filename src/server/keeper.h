/* SPDX-License-Identifier: MIT */
#pragma once

/* A second process of the server, which waits to start the next one: the server itself gives up the rights to
 * execute a program before it reads the first byte of a client. The keeper is made at the start, has the
 * rights of the option `user`, holds no descriptor of the server's and no key, and ends with the server. Main
 * thread.
 *
 * The next process is the program of the same path, with the same arguments, environment and folder, and a
 * socket to the server that keeper_successor() finds there.
 */

struct keeper {
    int fd;               /* to the keeper; -1 when there is none */
    unsigned char number; /* of the last process that it was asked for */
};

/* Makes it; before any other thread, and before any key is read. `user` as the option, or empty. Without a
 * keeper the server runs as well: it is logged, and nobody can take its place. */
void keeper_start(struct keeper *keeper, const char *user);

/* The keeper ends, unless it is gone. */
void keeper_stop(struct keeper *keeper);

/* Has it start the next process. Returns a socket to that, or -errno; what the keeper cannot do it tells by
 * closing that socket. */
int keeper_start_next(struct keeper *keeper);

/* Has it kill the process that it has started last, if that still runs. */
void keeper_kill_next(struct keeper *keeper);

/* The socket to the server whose place this process is to take; -1 when it is not there for that. Once. */
int keeper_successor(void);
