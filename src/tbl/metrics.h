/* SPDX-License-Identifier: MIT */
/* Every number that the server keeps for operators, one row each: name, kind, text, help.
 * /metrics shows them as sluice_NAME, /api/stats as NAME.
 */
#ifndef SLUICE_TBL_METRICS_H
#define SLUICE_TBL_METRICS_H

#include <stdint.h>

/* COUNTER: counted by the shards; GAUGE: read when asked. */
#define METRIC_TABLE(COUNTER, GAUGE)                                                                         \
    GAUGE(UPTIME, "uptime_seconds", "Seconds since the process started.")                                    \
    GAUGE(CONNECTIONS, "connections", "Connections open now.")                                               \
    GAUGE(CHANNELS_ATTACHED, "channels_attached", "Channels attached to shards now, once for each shard.")   \
    GAUGE(SUBSCRIBERS_POLL, "subscribers_poll", "Long-polls held now.")                                      \
    GAUGE(SUBSCRIBERS_SSE, "subscribers_sse", "Server-Sent Events streams held now.")                        \
    GAUGE(SUBSCRIBERS_STREAM, "subscribers_stream", "NDJSON streams held now.")                              \
    GAUGE(SUBSCRIBERS_TCP, "subscribers_tcp", "Channels that raw TCP connections are subscribed to now.")    \
    GAUGE(BROKER_READY, "broker_ready", "1 while the broker works, else 0.")                                 \
    GAUGE(CHANNELS, "channels", "Channels that have a log in the broker.")                                   \
    GAUGE(MESSAGES, "messages", "Messages kept in the logs.")                                                \
    GAUGE(MESSAGE_BYTES, "message_bytes", "Memory of all messages and their wire forms.")                    \
    COUNTER(ACCEPTED, "connections_accepted_total", "Connections accepted.")                                 \
    COUNTER(REFUSED, "connections_refused_total", "Connections refused at the door.")                        \
    COUNTER(REQUESTS, "requests_total", "Requests handled.")                                                 \
    COUNTER(ERRORS, "request_errors_total", "Requests answered with a status of 400 or above.")              \
    COUNTER(DELIVERIES, "deliveries_total", "Messages delivered to subscribers.")                            \
    COUNTER(DELIVERED_BYTES, "delivered_bytes_total", "Bytes written to streams.")                           \
    COUNTER(RESETS, "resets_total", "Resets told to subscribers.")                                           \
    COUNTER(REFILLS, "refills_total", "Pages of history read from the broker.")                              \
    COUNTER(HANGUPS, "hangups_total", "Held clients that went away.")                                        \
    COUNTER(SLOW_CUT, "slow_clients_cut_total", "Streams cut because their client took nothing.")            \
    COUNTER(PUBLISHED, "published_total", "Messages accepted by the broker.")                                \
    COUNTER(DUPLICATES, "duplicates_total", "Publishes that repeated an idempotency key.")                   \
    COUNTER(PUBLISH_REFUSED, "publish_refused_total", "Messages that the broker refused.")                   \
    GAUGE(BROKER_PENDING, "broker_publishes_pending", "Publishes that the broker has not answered yet.")     \
    GAUGE(BROKER_SUBSCRIPTIONS, "broker_subscriptions", "Channels subscribed to at Redis.")                  \
    COUNTER(BROKER_RECEIVED, "broker_received_total", "Messages that came by Redis Pub/Sub.")                \
    COUNTER(BROKER_COMMANDS, "broker_commands_total", "Commands that Redis has answered.")                   \
    COUNTER(BROKER_RECONNECTS, "broker_reconnects_total", "Connections to Redis that were lost.")            \
    COUNTER(BROKER_GAPS, "broker_gaps_total", "Holes found in what came from Redis.")                        \
    COUNTER(BROKER_GAPS_FILLED, "broker_gaps_filled_total", "Holes that were filled from the stream.")       \
    COUNTER(BROKER_RESETS, "broker_resets_total", "Channel logs in use that were begun anew.")               \
    COUNTER(EVICTED, "channels_evicted_total", "Idle channels dropped for memory.")

enum metric {
#define METRIC_ENUM(name, text, help) METRIC_##name,
    METRIC_TABLE(METRIC_ENUM, METRIC_ENUM)
#undef METRIC_ENUM
        METRIC_COUNT
};

/* Static facts of a metric. Any thread. */
const char *metric_name(enum metric metric);
const char *metric_help(enum metric metric);
const char *metric_kind(enum metric metric); /* "counter" or "gauge" */

#endif
