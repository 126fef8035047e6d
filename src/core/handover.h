/* SPDX-License-Identifier: MIT */
#pragma once

/* What a server tells the process that takes its place (docs/SERVICE.md, "Upgrade"), as records one behind
 * another: a length, a kind, numbers and texts. The first record of a state says which version of it follows,
 * the last how much has been told. Pure; any thread.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/text.h"

/* Of the records of a state and their fields. One that knows a version knows those before it. */
#define HANDOVER_VERSION 1u

#define HANDOVER_NUMBERS 6u
#define HANDOVER_TEXTS 5u
/* The longest record: a message with all of its attributes. */
#define HANDOVER_RECORD_MAX ((64u << 20) + 4096u)

enum handover_kind {
    /* From the old process: */
    HANDOVER_SOCKET,  /* is_file, descriptors that come with it, number of the listener | option, address as
                         written */
    HANDOVER_SOCKETS, /* that was all | */
    HANDOVER_HEAD,    /* HANDOVER_VERSION | version of the program */
    HANDOVER_LOG,     /* top, last published, idle for ms | name, epoch */
    HANDOVER_MESSAGE, /* offset or 0, time, ttl, left ms, type | data, event, producer, mime, key */
    HANDOVER_ENTRY,   /* how many messages came before the one it stands for, offset, left ms | channel */
    HANDOVER_KEY,     /* offset, time, left ms | idempotency key */
    HANDOVER_REVOCATION, /* | core/revocation.h's form */
    HANDOVER_ROOM,       /* is_occupied, ms until its people may be missed | channel */
    HANDOVER_MEMBER,     /* since, transport, is_told | name, info */
    HANDOVER_END,        /* logs, messages and entries | */
    HANDOVER_GO,         /* the new one is the server now | */
    /* From the new one: */
    HANDOVER_READY,  /* everything but the state is there: number of the process | */
    HANDOVER_LOADED, /* whether it has the state | why not */
    /* From the old process: */
    HANDOVER_PLACE, /* how many messages came before it, offset, left ms: stands in the log, and was told with
                       an entry | */
    HANDOVER_CLIENT, /* number of the listener by which it came, is_kept: a connection, which comes with it,
                        once the new one is the server | address as the kernel has it, what of it has been
                        read */
    HANDOVER_KINDS
};

struct handover {
    enum handover_kind kind;
    uint64_t numbers[HANDOVER_NUMBERS];
    struct text texts[HANDOVER_TEXTS]; /* borrowed */
};

void handover_append(struct buf *to, const struct handover *record);

/* Parses the record that `len` bytes begin with. Returns its length, 0 when it is not whole, or -EINVAL when
 * it is none. */
ssize_t handover_parse(struct handover *record, const char *bytes, size_t len);
