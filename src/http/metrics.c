/* SPDX-License-Identifier: MIT */
/* Numbers for operators, liveness and readiness. */

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "config.h"
#include "http/routes.h"
#include "render/render.h"

static const struct {
    const char *name;
    const char *kind;
    const char *help;
} metrics_rows[METRIC_COUNT] = {
#define METRICS_ROW(name, kind, text, help, ...) [METRIC_##name] = {text, kind, help},
    METRIC_TABLE(METRICS_ROW, METRICS_ROW, METRICS_ROW)
#undef METRICS_ROW
};

static void metrics_gather(const struct shard_group *group, uint64_t values[METRIC_COUNT])
{
    for (unsigned i = 0; i < METRIC_COUNT; i++)
        values[i] = shard_group_sum(group, (enum metric)i) +
                    atomic_load_explicit(&group->broker->counters[i], memory_order_relaxed);
#define METRICS_ASK(name, kind, text, help, value) values[METRIC_##name] = value;
    METRIC_TABLE(METRIC_NONE, METRIC_NONE, METRICS_ASK)
#undef METRICS_ASK
}

static void metrics_append_seconds(struct buf *text, uint64_t us)
{
    char digits[32];
    buf_append(text, digits,
               (size_t)snprintf(digits, sizeof(digits), "%llu.%06llu", (unsigned long long)(us / 1000000),
                                (unsigned long long)(us % 1000000)));
}

/* The one histogram (Prometheus text format, "Histograms and summaries"). */
static void metrics_append_latency(struct buf *text, const struct shard_group *group)
{
    static const uint64_t bounds_us[] = {BROKER_LATENCY_BOUNDS_US};
    const struct broker *broker = group->broker;
    uint64_t count = 0;
    buf_append_text(text, "# HELP sluice_broker_latency_seconds How long Redis took to answer commands.\n"
                          "# TYPE sluice_broker_latency_seconds histogram\n");
    for (unsigned i = 0; i < BROKER_LATENCY_BUCKETS; i++) {
        count += atomic_load_explicit(&broker->latency[i], memory_order_relaxed);
        buf_append_text(text, "sluice_broker_latency_seconds_bucket{le=\"");
        if (i < ARRAY_LENGTH(bounds_us))
            metrics_append_seconds(text, bounds_us[i]);
        else
            buf_append_text(text, "+Inf");
        buf_append_text(text, "\"} ");
        buf_append_u64(text, count);
        buf_append_char(text, '\n');
    }
    buf_append_text(text, "sluice_broker_latency_seconds_sum ");
    metrics_append_seconds(text, atomic_load_explicit(&broker->latency_sum_us, memory_order_relaxed));
    buf_append_text(text, "\nsluice_broker_latency_seconds_count ");
    buf_append_u64(text, count);
    buf_append_char(text, '\n');
}

void stats_handle(struct exchange *exchange)
{
    uint64_t values[METRIC_COUNT];
    struct buf json = {0};
    metrics_gather(exchange->shard->group, values);
    buf_append_text(&json, "{\"version\":\"" PACKAGE_VERSION "\",\"shards\":");
    buf_append_u64(&json, exchange->shard->group->count);
    for (unsigned i = 0; i < METRIC_COUNT; i++) {
        buf_append_text(&json, ",\n");
        render_json_key(&json, metrics_rows[i].name);
        buf_append_u64(&json, values[i]);
    }
    buf_append_text(&json, "}\n");
    exchange_answer_json(exchange, MHD_HTTP_OK, &json);
}

void metrics_handle(struct exchange *exchange)
{
    uint64_t values[METRIC_COUNT];
    struct buf text = {0};
    struct MHD_Response *response = NULL;
    metrics_gather(exchange->shard->group, values);
    for (unsigned i = 0; i < METRIC_COUNT; i++) {
        const char *name = metrics_rows[i].name;
        const char *const words[] = {"# HELP sluice_",   name, " ", metrics_rows[i].help,
                                     "\n# TYPE sluice_", name, " ", metrics_rows[i].kind,
                                     "\nsluice_",        name, " "};
        for (size_t j = 0; j < ARRAY_LENGTH(words); j++)
            buf_append_text(&text, words[j]);
        buf_append_u64(&text, values[i]);
        buf_append_char(&text, '\n');
    }
    metrics_append_latency(&text, exchange->shard->group);
    if (!text.has_failed)
        response = exchange_response(text.bytes, text.len, "text/plain; version=0.0.4; charset=utf-8", false);
    buf_deinit(&text);
    if (response)
        exchange_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    exchange_answer(exchange, MHD_HTTP_OK, response);
}

static void metrics_answer_text(struct exchange *exchange, unsigned status, const char *text)
{
    struct MHD_Response *response = exchange_response(text, strlen(text), "text/plain; charset=utf-8", false);
    if (response)
        exchange_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    exchange_answer(exchange, status, response);
}

void health_handle(struct exchange *exchange)
{
    metrics_answer_text(exchange, MHD_HTTP_OK, "ok\n");
}

void ready_handle(struct exchange *exchange)
{
    struct broker *broker = exchange->shard->group->broker;
    if (exchange_is_draining(exchange))
        exchange_fail(exchange, ERROR_STOPPING, "%s", error_text(ERROR_STOPPING));
    else if (!broker->ops->is_ready(broker))
        exchange_fail(exchange, ERROR_BROKER_DOWN, "%s", error_text(ERROR_BROKER_DOWN));
    else if (auth_keys_are_there(exchange->shard->keys) && !revocations_are_known(exchange->shard->group))
        exchange_fail(exchange, ERROR_BROKER_DOWN, "which tokens are revoked is not known yet");
    else
        metrics_answer_text(exchange, MHD_HTTP_OK, "ready\n");
}
