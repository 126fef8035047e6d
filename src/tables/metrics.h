/* SPDX-License-Identifier: MIT */
/* Every number that the server keeps for operators, one row each: name, kind, text, help, and where its value
 * comes from. /metrics shows them as sluice_NAME, /api/stats as NAME.
 */
#pragma once

#include "tables/closes.h"
#include "tables/transports.h"

/* COUNTED: with shard_count or broker_count, where it happens; SHARD: what each `shard` says at the end of
 * its turn, added up; ASKED: what `group`, all of them, says when somebody asks. */
#define METRIC_TABLE(COUNTED, SHARD, ASKED)                                                                  \
    ASKED(UPTIME, "gauge", "uptime_seconds", "Seconds since the process started.",                           \
          (clock_monotonic_ms() - group->started_ms) / 1000)                                                 \
    SHARD(CONNECTIONS, "gauge", "connections", "Connections open now.",                                      \
          shard->cells.client_count + shard->streams.count)                                                  \
    SHARD(CHANNELS_ATTACHED, "gauge", "channels_attached",                                                   \
          "Channels attached to shards now, once for each shard.", shard->hub.channel_count)                 \
    TRANSPORT_TABLE(METRIC_SUBSCRIBERS, TRANSPORT_NONE, SHARD)                                               \
    ASKED(BROKER_READY, "gauge", "broker_ready", "1 while the broker works, else 0.",                        \
          group->broker->ops->is_ready(group->broker))                                                       \
    COUNTED(CHANNELS, "gauge", "channels", "Channels that have a log in the broker.")                        \
    COUNTED(MESSAGES, "gauge", "messages", "Messages kept in the logs.")                                     \
    ASKED(MESSAGE_BYTES, "gauge", "message_bytes", "Memory of all messages and their wire forms.",           \
          message_memory_bytes())                                                                            \
    COUNTED(ACCEPTED, "counter", "connections_accepted_total", "Connections accepted.")                      \
    COUNTED(REFUSED, "counter", "connections_refused_total", "Connections refused at the door.")             \
    COUNTED(TLS_HANDSHAKES, "counter", "tls_handshakes_total", "TLS handshakes that were finished.")         \
    COUNTED(TLS_FAILED, "counter", "tls_failed_total",                                                       \
            "Connections to listeners with TLS that ended before a handshake was finished.")                 \
    COUNTED(CONNECT_RATE, "counter", "connections_over_rate_total", "Connections refused by connect-rate.")  \
    COUNTED(SUBSCRIBE_RATE, "counter", "subscriptions_over_rate_total", "Subscriptions refused by a rate.")  \
    COUNTED(PUBLISH_RATE, "counter", "publishes_over_rate_total", "Messages refused by a rate.")             \
    COUNTED(REQUESTS, "counter", "requests_total", "Requests handled.")                                      \
    COUNTED(ERRORS, "counter", "request_errors_total", "Requests answered with an error.")                   \
    COUNTED(DELIVERIES, "counter", "deliveries_total", "Messages delivered to subscribers.")                 \
    COUNTED(DELIVERED_BYTES, "counter", "delivered_bytes_total", "Bytes written to streams.")                \
    SHARD(RESETS, "counter", "resets_total", "Resets told to subscribers.", shard->hub.resets_told)          \
    SHARD(REFILLS, "counter", "refills_total", "Pages of history read from the broker.", shard->hub.refills) \
    COUNTED(HANGUPS, "counter", "hangups_total", "Held clients that went away.")                             \
    COUNTED(SLOW_CUT, "counter", "slow_clients_cut_total", "Streams cut because their client took nothing.") \
    CLOSE_TABLE(METRIC_CLOSED, COUNTED)                                                                      \
    COUNTED(SOCKJS_SESSIONS, "gauge", "sockjs_sessions", "SockJS sessions now, those of WebSockets too.")    \
    COUNTED(SESSIONS_REFUSED, "counter", "sockjs_sessions_refused_total", "SockJS sessions refused.")        \
    ASKED(CONNECTION_BYTES, "gauge", "connection_memory_bytes",                                              \
          "Memory of input that is not whole, of answers that are not taken, and of TLS sessions.",          \
          atomic_load_explicit(&group->memory.used, memory_order_relaxed))                                   \
    ASKED(CONNECTION_MEMORY_REFUSED, "counter", "connection_memory_refused_total",                           \
          "Inputs, answers and TLS sessions refused because of connection-memory.",                          \
          atomic_load_explicit(&group->memory.refused, memory_order_relaxed))                                \
    COUNTED(PUBLISHED, "counter", "published_total", "Messages accepted by the broker.")                     \
    COUNTED(DUPLICATES, "counter", "duplicates_total", "Publishes that repeated an idempotency key.")        \
    COUNTED(PUBLISH_REFUSED, "counter", "publish_refused_total", "Messages that the broker refused.")        \
    COUNTED(BROKER_PENDING, "gauge", "broker_publishes_pending",                                             \
            "Publishes that the broker has not answered yet.")                                               \
    COUNTED(BROKER_SUBSCRIPTIONS, "gauge", "broker_subscriptions", "Channels subscribed to at Redis.")       \
    COUNTED(BROKER_RECEIVED, "counter", "broker_received_total", "Messages that came by Redis Pub/Sub.")     \
    COUNTED(BROKER_COMMANDS, "counter", "broker_commands_total", "Commands that Redis has answered.")        \
    COUNTED(BROKER_RECONNECTS, "counter", "broker_reconnects_total", "Connections to Redis that were lost.") \
    COUNTED(BROKER_GAPS, "counter", "broker_gaps_total", "Holes found in what came from Redis.")             \
    COUNTED(BROKER_GAPS_FILLED, "counter", "broker_gaps_filled_total",                                       \
            "Holes that were filled from the stream.")                                                       \
    COUNTED(BROKER_RESETS, "counter", "broker_resets_total", "Channel logs in use that were begun anew.")    \
    COUNTED(CHANNELS_REFUSED, "counter", "channels_refused_total", "New channels refused by max-channels.")  \
    COUNTED(EVICTED, "counter", "channels_evicted_total", "Idle channels dropped for memory.")

#define METRIC_SUBSCRIBERS(SHARD, name, word, help)                                                          \
    SHARD(SUBSCRIBERS_##name, "gauge", "subscribers_" word, help,                                            \
          shard->hub.subscriber_count[TRANSPORT_##name])

#define METRIC_CLOSED(COUNTED, name, code, word, text)                                                       \
    COUNTED(CLOSED_##name, "counter", "closed_" word "_total",                                               \
            "WebSockets and SockJS sessions closed with " #code ": " text ".")

enum metric {
#define METRIC_ENUM(name, ...) METRIC_##name,
    METRIC_TABLE(METRIC_ENUM, METRIC_ENUM, METRIC_ENUM)
#undef METRIC_ENUM
        METRIC_COUNT
};

/* For those who want some of the rows only. */
#define METRIC_NONE(...)
