/* SPDX-License-Identifier: MIT */
#pragma once

/* Where the server listens: the addresses of the options `http`, `admin` and `tcp`, bound here, accepted on
 * by every shard. Main thread.
 */

#include <stdbool.h>

#include "base/address.h"
#include "config/options.h"
#include "shard/shard.h"
#include "transport/tcp/tcp.h"

struct listening {
    const char *option;             /* that names it */
    struct address address;         /* as bound */
    bool is_tcp;                    /* `tcp`: else HTTP is spoken there */
    struct declaration declaration; /* of HTTP its entrance only */
    struct tls_identity *identity;  /* NULL without TLS */
    struct tls_identity *renewed;   /* read, and not given to the shards yet */
    bool has_file;                  /* the file of a Unix socket is there and to be removed */
    bool is_passed; /* its sockets come from the service manager, or from the process whose place this one
                       takes */
    int *fds;       /* its sockets, which the shards own; good while they accept */
    size_t fd_count;
    bool has_ancestor;
    size_t ancestor; /* its number in the process whose place this one takes */
};

struct listenings {
    size_t count;
    struct listening *items;
    struct inheritance *inheritance; /* from which sockets are taken first; or NULL */
};

#define LISTENING_TEXT_MAX 512u
#define LISTENING_FAULT_MAX (DECLARATION_FAULT_MAX + 512u)

/* Takes the sockets that the service manager passes, too: those of the name of an option take the places of
 * its addresses, in their order. Returns 0, or with `fault` a sentence -ENOMEM, -EINVAL, or -EACCES for an
 * address that needs the option `anonymous`. */
int listenings_parse(struct listenings *listenings, const struct options *options,
                     char fault[LISTENING_FAULT_MAX]);

/* Whether nobody could read and publish who may not under these options. Returns 0, or -EACCES with `fault` a
 * sentence. */
int listenings_check_exposure(const struct listenings *listenings, const struct options *options,
                              char fault[LISTENING_FAULT_MAX]);

/* Binds the sockets and gives them to the shards. Returns 0, or -errno with `fault` a sentence. */
int listenings_open(struct listenings *listenings, const struct shard_group *group,
                    char fault[LISTENING_FAULT_MAX]);

/* The listener that has the sockets of number `ancestor` there; NULL when there is none any more. */
const struct listening *listenings_find_heir(const struct listenings *listenings, size_t ancestor);

/* Reads the certificates again. Returns 0, or -ENOMEM or -EINVAL with `fault` a sentence: then those in force
 * stay. */
int listenings_read_again(struct listenings *listenings, char fault[LISTENING_FAULT_MAX]);

/* Gives the shards what was read. Returns 0 or -ENOMEM: then some have it and some do not. */
int listenings_renew(struct listenings *listenings, const struct shard_group *group);

/* The files of Unix sockets are another process's now. */
void listenings_leave_files(struct listenings *listenings);

/* The address as bound, as text. */
void listening_format(const struct listening *listening, char text[LISTENING_TEXT_MAX]);

/* Removes the files of Unix sockets, and frees. The shards have stopped. */
void listenings_close(struct listenings *listenings);
