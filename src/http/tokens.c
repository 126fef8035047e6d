/* SPDX-License-Identifier: MIT */
/* Revoking tokens, by their id or by their subject. */

#include <stdlib.h>
#include <string.h>

#include "auth/revoked.h"
#include "auth/token.h"
#include "base/clock.h"
#include "http/origin.h"
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

static struct revoking *revoking_new(struct exchange *exchange, enum revocation_kind kind, struct text text)
{
    struct revoking *revoking = calloc(1, sizeof(*revoking));
    int64_t now_ms = clock_wall_ms();
    if (!revoking)
        return NULL;
    revoking->exchange = exchange;
    memcpy(revoking->request.text, text.bytes, text.len);
    revoking->request.revocation = (struct revocation){
        .kind = kind,
        .text = {revoking->request.text, text.len},
        /* The clock of who has issued the tokens may be ahead of ours. */
        .before_ms = now_ms + TOKEN_LEEWAY_MS,
        .until_ms = now_ms + (int64_t)exchange->shard->options->revocation_time_ms,
    };
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
    if (!revoked_has_room(exchange->shard->revoked, kind, text, clock_wall_ms())) {
        exchange_fail(exchange, ERROR_TOO_MANY_REVOKED, "%s", error_text(ERROR_TOO_MANY_REVOKED));
        return;
    }
    struct revoking *revoking = revoking_new(exchange, kind, text);
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
    tokens_revoke(exchange, REVOCATION_TOKEN, router_name(exchange));
}

void tokens_handle(struct exchange *exchange)
{
    tokens_revoke(exchange, REVOCATION_SUBJECT, exchange_query(exchange, "sub"));
}
