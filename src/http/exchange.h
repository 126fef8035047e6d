/* SPDX-License-Identifier: MIT */
#pragma once

/* An exchange: one HTTP request and what is done with it. The one home of libmicrohttpd's suspend and resume:
 * whoever handles a request answers it at once, or holds it and answers later, or opens a stream and writes
 * to it.
 *
 * Everything runs on the thread of the exchange's shard. States and their legal moves are in exchange.c.
 */

#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/timer.h"
#include "core/names.h"
#include "http/chunks.h"
#include "http/fields.h"
#include "shard/bearers.h"
#include "shard/memory_share.h"
#include "shard/shard.h"
#include "tables/errors.h"

enum http_method {
    METHOD_GET = 1u << 0,
    METHOD_HEAD = 1u << 1,
    METHOD_POST = 1u << 2,
    METHOD_PUT = 1u << 3,
    METHOD_DELETE = 1u << 4,
    METHOD_OPTIONS = 1u << 5,
};

enum exchange_state {
    EXCHANGE_HEAD,      /* the head is here */
    EXCHANGE_BODY,      /* the body is being read; suspended while some of it is missing */
    EXCHANGE_READ,      /* the body is whole */
    EXCHANGE_HANDLING,  /* its route handles it */
    EXCHANGE_PENDING,   /* suspended without an answer, which comes even to a peer that has closed its side */
    EXCHANGE_HELD,      /* suspended without an answer; its holder waits, and is told when the client goes */
    EXCHANGE_ANSWERED,  /* has its answer, which libmicrohttpd is to send */
    EXCHANGE_OPENING,   /* the same, but a stream follows the head */
    EXCHANGE_UPGRADING, /* has its 101; the socket goes on without it (http/upgrade.h) */
    EXCHANGE_STREAMING, /* its stream is open and suspended */
    EXCHANGE_ENDING,    /* the stream is to be ended */
    EXCHANGE_GONE,      /* the client went away or is cut: the connection is to be closed */
    EXCHANGE_OVER,      /* freed after this turn */
};

struct exchange;
struct route;
struct transport;

/* What a holder wants to know; each called on the shard's thread. All but `gone` may be NULL. */
struct hold_ops {
    /* The exchange is over for whatever reason, or its client has gone: let go of it. The last call. */
    void (*gone)(struct exchange *exchange);
    /* The stream is open: its head is sent, and its holder writes to the socket from now on. May end. */
    void (*opened)(struct exchange *exchange);
    /* The socket of the stream may take bytes again. May end. */
    void (*writable)(struct exchange *exchange);
    /* The time of exchange_set_deadline has come. May answer, write and end. */
    void (*expire)(struct exchange *exchange);
    /* The stream is open; a few times for each heartbeat. May end. */
    void (*tick)(struct exchange *exchange);
    /* Answer or end now: the server stops (ERROR_STOPPING), or the grant on which it was begun is over. */
    void (*let_go)(struct exchange *exchange, enum error_code why);
    /* There will be one answer and then an end: a peer that only will not send any more gets it still. */
    bool is_finite;
};

enum origin_verdict {
    ORIGIN_NONE,    /* no page asks */
    ORIGIN_ALLOWED, /* the server's own, or everybody is allowed */
    ORIGIN_LISTED,  /* named: its pages may also send what the browser keeps for us (cookies) */
    ORIGIN_FOREIGN,
    ORIGIN_OPEN, /* what is answered is for everybody's pages, with what their browsers keep for us */
};

/* What is known of the token of a request; of http/identity. */
struct identity {
    enum error_code error; /* what is wrong with it */
    bool is_judged;
    bool is_given;      /* in Authorization or the query: not in the cookie, which a browser sends unasked */
    bool is_ignored;    /* it is in the cookie, which does not count here */
    bool is_in_address; /* the query has one: nobody is to be told the address */
};

/* What is touched for each write stands together at the beginning. */
struct exchange {
    struct client_owner owner; /* what the connection tells us */
    struct shard *shard;
    const struct hold_ops *hold; /* NULL when nobody holds it */
    void *holder;                /* the holder's own */
    enum exchange_state state;
    int fd; /* the connection's */
    bool is_http10;
    bool is_suspended; /* libmicrohttpd leaves the connection alone until it is resumed */
    bool is_admin;     /* may use /api and /metrics: its listener says so, or its token */
    bool is_let_go;    /* its holder knows that the server stops; it may still have last bytes to write */
    bool has_query;
    enum http_method method;
    enum origin_verdict origin;
    struct client *client;
    struct MHD_Connection *connection;
    const struct route *route;
    const struct transport *transport; /* by which it receives, once that is allowed; or NULL */
    const char *fields[FIELD_COUNT];   /* libmicrohttpd's; NULL when absent */
    struct timer timer;                /* of the body, then of the hold */
    struct garbage garbage;
    struct MHD_Response *response;
    struct shared_answer *shared; /* whose response it is; NULL when it is the exchange's own */
    unsigned status;
    uint32_t retry_after_s;        /* of a failure that is over then; 0 when nobody knows */
    enum error_code pending_error; /* to be answered once the body is read */
    struct identity identity;
    struct bearer bearer; /* has the grant of the token */
    struct buf body;
    struct memory_share share; /* of the body, then of the answer */
    struct chunks chunks;      /* of a chunked body */
    uint64_t body_left;        /* of one with a length */
    uint64_t body_seen;        /* of a chunked one */
    size_t body_limit;
    bool must_close; /* the answer says that the connection ends with it */
    uint64_t begun_ns;
    size_t path_len;
    char *path;    /* decoded, terminated; in `target`'s allocation; NULL when it cannot be decoded */
    char target[]; /* as sent */
};

/* Header and query values; NULL when absent. The name of a header is one of http/fields.h. A query value is
 * terminated too. */
const char *exchange_field(const struct exchange *exchange, enum exchange_field field);
struct text exchange_query(const struct exchange *exchange, const char *name);

/* The body as it came, after a route has been called. */
const char *exchange_body(const struct exchange *exchange, size_t *len);

/* Answering. Each exchange gets one answer, in the state HANDLING, PENDING or HELD. A response is taken over.
 */

/* A response with a body that is copied, or with `take` one that was malloc'd and is freed. NULL when memory
 * is out. */
struct MHD_Response *exchange_response(const char *body, size_t len, const char *content_type, bool take);
void exchange_response_header(struct MHD_Response *response, const char *name, const char *value);

/* Adds when, and where, the client is to come back, because the server stops: Retry-After and
 * Sluice-Alternatives. */
void exchange_add_comeback(const struct exchange *exchange, struct MHD_Response *response);

/* Counts, in the place of the body, what an answer to it takes at least, before it is known: for what cannot
 * be undone once it turns out to be large. Returns false when there is no room for it; then the body is gone,
 * and the exchange is to fail with ERROR_CONNECTION_MEMORY. */
bool exchange_reserve_answer(struct exchange *exchange, size_t bytes);

/* Counts what the answer takes until the client has it, beside which the body, which is let go, is over. */
void exchange_count_answer(struct exchange *exchange, size_t bytes);

/* Sends the response; NULL stands for one that could not be made, and answers 503. */
void exchange_answer(struct exchange *exchange, unsigned status, struct MHD_Response *response);

/* The same answer for many exchanges of a shard: whoever has it holds a reference. */
struct shared_answer {
    unsigned references;
    unsigned status;
    struct MHD_Response *response;
};

/* Whether nothing in the exchange's answer would be its own: no page asks, no token stands in the address,
 * and the server is not stopping. */
bool exchange_can_share(const struct exchange *exchange);

/* Makes an answer to be shared, with one reference; the response is taken over. NULL when memory is out (or
 * the response is NULL). */
struct shared_answer *exchange_share(unsigned status, struct MHD_Response *response);
struct shared_answer *shared_answer_ref(struct shared_answer *answer);
void shared_answer_unref(struct shared_answer *answer);

/* Sends a shared answer; the exchange takes a reference of its own. */
void exchange_answer_shared(struct exchange *exchange, struct shared_answer *answer);

/* Answers {"error","message"}; the message in the manner of printf. */
void exchange_fail(struct exchange *exchange, enum error_code error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Answers JSON from a buffer, which is taken over and emptied. */
void exchange_answer_json(struct exchange *exchange, unsigned status, struct buf *json);

/* Holding. */

/* Somebody takes care of the exchange: `gone` follows, once, with the answer, the end of the stream or the
 * client's going. `holder` is anything of the caller's. */
void exchange_hold(struct exchange *exchange, const struct hold_ops *ops, void *holder);

/* The exchange ends with its grant, if it has one: `let_go` follows then. */
void exchange_bear(struct exchange *exchange);

/* Waits for an answer; in the state HANDLING, within the route's handler. */
void exchange_suspend(struct exchange *exchange);

/* The holder knows now that it has to wait. Returns false when the client has gone meanwhile: then the holder
 * has been let go. */
bool exchange_settle(struct exchange *exchange);

/* Asks for `expire` after `after_ms`; the latest call counts. */
void exchange_set_deadline(struct exchange *exchange, uint64_t after_ms);

/* Streaming. */

#define EXCHANGE_STREAM_CACHING "no-store, no-transform"

/* Answers 200 with a body that has no end yet; `opened` follows once the head is sent. What is written to the
 * socket from then on is as on the wire: chunked when exchange_is_chunked. */
void exchange_open(struct exchange *exchange, const char *content_type);

/* The same in two steps, for whoever has headers of his own: the response, NULL when memory is out; and its
 * sending. */
struct MHD_Response *exchange_stream_response(struct exchange *exchange, const char *content_type);
void exchange_open_response(struct exchange *exchange, struct MHD_Response *response);

bool exchange_is_chunked(const struct exchange *exchange);

/* Ends the stream: cleanly between two frames, otherwise by closing the connection. Nothing of the holder is
 * called any more but `gone`. */
void exchange_end(struct exchange *exchange, bool is_clean);

/* Whether the server is letting its clients go. */
bool exchange_is_draining(const struct exchange *exchange);

/* libmicrohttpd's callbacks. */
extern const struct cell_handlers exchange_cell_handlers;
