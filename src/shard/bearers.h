/* SPDX-License-Identifier: MIT */
#pragma once

/* Bearers: what is open on a shard and hangs on a grant, and ends with it: when its time is over, or when it
 * is revoked, or when new keys do not hold the one that made it any more. Nothing is looked at when something
 * is delivered. On the shard's thread.
 */

#include "auth/access.h"
#include "base/list.h"
#include "base/timer.h"
#include "core/persona.h"
#include "core/revocation.h"
#include "tables/errors.h"

struct shard;
struct subscriber;

/* Embedded in whatever is open; all zeros is nobody. */
struct bearer {
    struct grant *grant; /* NULL: nobody has said who he is. A reference of its own */
    /* The grant is over, and why; the bearer is not told again. May end it, and free nothing in this turn.
     * NULL before bearer_begin. */
    void (*over)(struct bearer *bearer, enum error_code why);
    struct bearer_table *table;
    struct list link; /* in the table, while there is a grant */
    struct timer timer;
};

/* Those of a shard. */
struct bearer_table {
    struct shard *shard;
    struct list bearers;
    uint64_t count;
};

void bearer_table_init(struct bearer_table *table, struct shard *shard);

/* Verifies a token, hostile; its grant takes the place of the one that there is. Returns ERROR_NONE, or why
 * not, with `fault` a sentence; then nothing has changed. */
enum error_code bearer_verify(struct bearer *bearer, const struct shard *shard, struct text token,
                              char fault[AUTH_FAULT_MAX]);

/* Whether the bearer may do that: access_check with what is in force on the shard. */
enum error_code bearer_check(const struct bearer *bearer, const struct shard *shard, enum access_verb verb,
                             struct text channel, char fault[AUTH_FAULT_MAX]);

/* What `admits` of a subscriber answers whose channels are the bearer's: whether he may, and has room
 * (max-channels-per-connection). */
enum error_code bearer_admits(const struct bearer *bearer, const struct shard *shard,
                              const struct subscriber *subscriber, struct text channel);

/* Has the bearer another grant from now on, or none; the reference is taken over. */
void bearer_identify(struct bearer *bearer, struct grant *grant);

/* Has it the grant that another one has. */
void bearer_share(struct bearer *bearer, const struct bearer *with);

/* Has the bearer the grant of the certificate that was shown on this connection (shard/tls.h). Returns
 * ERROR_NONE, also when none was shown, or why it does not count any more; then nothing has changed. */
enum error_code bearer_certify(struct bearer *bearer, const struct shard *shard, int fd);

/* Who that is, for others to know: the subject of the token, where it has one, with the info of what he has
 * said of himself (not NULL), or else that. One reference; NULL when memory is out. */
struct persona *bearer_introduce(const struct bearer *bearer, struct persona *said);

/* It is open: `over` follows when its grant, this one or a later one, is over; within this call when it was
 * revoked since it was judged, as a handshake can wait long for its 101 to be taken. */
void bearer_begin(struct bearer *bearer, struct bearer_table *table,
                  void (*over)(struct bearer *bearer, enum error_code why));

/* An open one without a grant is over (ERROR_NO_TOKEN) when it has none after so long. */
void bearer_await(struct bearer *bearer, uint64_t most_ms);

/* It is not open any more, and nobody's. Twice does no harm. */
void bearer_end(struct bearer *bearer);

/* Ends those whose grant was made by a key that is not in force any more. */
void bearer_table_look(struct bearer_table *table);

/* Ends those whose grant is revoked. */
void bearer_table_revoke(struct bearer_table *table, const struct revocation *revocation);
