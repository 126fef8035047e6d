/* SPDX-License-Identifier: MIT */
/* Revoking tokens, by their id or by their subject. */

#include <stdlib.h>
#include <string.h>

#include "auth/revoked.h"
#include "auth/token.h"
#include "base/clock.h"
#include "base/number.h"
#include "http/origin.h"
#include "http/query.h"
#include "http/router.h"
#include "http/routes.h"
#include "render/render.h"

struct revoking {
    struct revoke_request request;
    struct exchange *exchange;
};

static void revoking_done(struct broker_request *super)
{
    struct revoking *revoking = container_of(super, struct revoking, request.super);
    const struct revocation *revocation = &revoking->request.revocation;
    struct buf json = {0};
    if (super->error != ERROR_NONE) {
        exchange_fail(revoking->exchange, super->error, "%s", error_text(super->error));
    } else {
        buf_append_text(&json, revocation->kind == REVOCATION_TOKEN ? "{\"revoked\":\"token\",\"id\":"
                                                                    : "{\"revoked\":\"subject\",\"sub\":");
        render_json_string(&json, revocation->text.bytes, revocation->text.len);
        if (revocation->kind == REVOCATION_SUBJECT) {
            buf_append_text(&json, ",\"before\":");
            buf_append_u64(&json, (uint64_t)revocation->before_ms);
        }
        buf_append_text(&json, ",\"until\":");
        buf_append_u64(&json, (uint64_t)revocation->until_ms);
        buf_append_text(&json, "}\n");
        exchange_answer_json(revoking->exchange, MHD_HTTP_OK, &json);
    }
    free(revoking);
}

static bool tokens_is_name(struct text text)
{
    if (text.len == 0 || text.len > REVOCATION_TEXT_MAX)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.bytes[i] < 0x20 || text.bytes[i] == 0x7f)
            return false;
    return text_is_utf8(text.bytes, text.len, NULL);
}

/* The whole second that is named, since `iat` may have a fraction; else the latest that is good now, for the
 * clock of who has issued the tokens may be ahead of ours. Returns whether it is one. */
static bool tokens_read_before(struct exchange *exchange, int64_t now_ms, int64_t *before_ms)
{
    struct text text = exchange_query(exchange, "before");
    uint64_t before_s;
    *before_ms = now_ms + TOKEN_LEEWAY_MS;
    if (!text.bytes)
        return true;
    if (number_parse_u64(&before_s, text.bytes, text.len) || before_s > (uint64_t)*before_ms / 1000) {
        exchange_fail(exchange, ERROR_BAD_OPTION,
                      "before is a time in whole seconds since 1970, at most %d seconds from now",
                      TOKEN_LEEWAY_MS / 1000);
        return false;
    }
    *before_ms = (int64_t)before_s * 1000 + 999;
    return true;
}

static struct revoking *revoking_new(struct exchange *exchange, const struct revocation *revocation)
{
    struct revoking *revoking = calloc(1, sizeof(*revoking));
    if (!revoking)
        return NULL;
    revoking->exchange = exchange;
    memcpy(revoking->request.text, revocation->text.bytes, revocation->text.len);
    revoking->request.revocation = *revocation;
    revoking->request.revocation.text.bytes = revoking->request.text;
    return revoking;
}

static void tokens_revoke(struct exchange *exchange, enum revocation_kind kind, struct text text)
{
    if (origin_refuses_change(exchange))
        return;
    if (kind == REVOCATION_SUBJECT && text.len == 0) {
        exchange_fail(
            exchange, ERROR_BAD_OPTION,
            "say what to revoke: one token as /api/tokens/JTI, all of a subject as /api/tokens?sub=NAME");
        return;
    }
    if (!tokens_is_name(text)) {
        exchange_fail(exchange, ERROR_BAD_OPTION, "%s has 1 to %u bytes of UTF-8 without control characters",
                      kind == REVOCATION_TOKEN ? "the id of a token" : "sub", REVOCATION_TEXT_MAX);
        return;
    }
    int64_t now_ms = clock_wall_ms();
    struct revocation revocation = {
        .kind = kind,
        .text = text,
        .until_ms = now_ms + (int64_t)exchange->shard->options->revocation_time_ms,
    };
    if (!tokens_read_before(exchange, now_ms, &revocation.before_ms))
        return;
    if (!revoked_has_room(exchange->shard->revoked, kind, text, now_ms)) {
        exchange_fail(exchange, ERROR_TOO_MANY_REVOKED, "%s", error_text(ERROR_TOO_MANY_REVOKED));
        return;
    }
    struct revoking *revoking = revoking_new(exchange, &revocation);
    if (!revoking) {
        exchange_fail(exchange, ERROR_OUT_OF_MEMORY, "%s", error_text(ERROR_OUT_OF_MEMORY));
        return;
    }
    exchange_suspend(exchange);
    if (hub_submit(&exchange->shard->hub, &revoking->request.super, BROKER_REVOKE, revoking_done))
        revoking_done(&revoking->request.super);
}

void token_handle(struct exchange *exchange)
{
    static const char *const names[] = {"token", NULL};
    if (query_refuses(exchange, &(const struct query_rules){.doing = "revoking a token", .names = names}))
        return;
    tokens_revoke(exchange, REVOCATION_TOKEN, router_name(exchange));
}

void tokens_handle(struct exchange *exchange)
{
    static const char *const names[] = {"sub", "before", "token", NULL};
    if (query_refuses(exchange, &(const struct query_rules){.doing = "revoking a subject", .names = names}))
        return;
    tokens_revoke(exchange, REVOCATION_SUBJECT, exchange_query(exchange, "sub"));
}
