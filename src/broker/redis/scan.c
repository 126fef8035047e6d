/* SPDX-License-Identifier: MIT */
#include "broker/redis/scan.h"

#include <string.h>

static void scan_step(struct scan *scan, struct redis_server *server);

static void scan_answered(struct call *call, const struct redisReply *reply)
{
    struct scan *scan = container_of(call, struct scan, call);
    const struct redisReply *keys = NULL;
    bool is_answer = reply && answer_parse_scan(&keys, scan->cursor, reply) == 0;
    for (size_t i = 0; is_answer && scan->is_wanted && i < keys->elements; i++) {
        size_t len;
        const char *name = answer_find_channel(keys->element[i], &len);
        if (name)
            scan->found(scan, name, len);
    }
    enum error_code error = is_answer ? ERROR_NONE : call_error(call, reply);
    call_deinit(call);
    if (is_answer && scan->is_wanted && strcmp(scan->cursor, "0") != 0)
        scan_step(scan, call->server);
    else
        scan->ended(scan, error);
}

static void scan_step(struct scan *scan, struct redis_server *server)
{
    const char *const argv[] = {"SCAN", scan->cursor, "MATCH", "sluice:{*}:m:*", "COUNT", "1000"};
    if (call_prepare_command(&scan->call, server, 6, argv, NULL, scan_answered))
        scan->ended(scan, ERROR_OUT_OF_MEMORY);
    else
        call_submit(&scan->call);
}

void scan_begin(struct scan *scan, struct redis_server *server)
{
    scan->is_wanted = true;
    strcpy(scan->cursor, "0");
    scan_step(scan, server);
}
