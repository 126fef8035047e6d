/* SPDX-License-Identifier: MIT */
/* Every option, one row each. The struct field, the command line, the configuration file, the environment,
 * --help, the manual page and docs/OPTIONS.md come from this table; nothing else names an option.
 *
 * Row: KIND(name, field, default text, least, most, flags, argument, help)
 *   STRING, STRINGS (repeatable), BOOLEAN, CHOICE (argument lists the words, separated by '|'), SET (any of
 *   such words, separated by commas; the field has a bit for each), INTEGER,
 *   BYTES (accepts KiB, MiB, GiB), DURATION (seconds by default; accepts ms, s, m, h; kept in milliseconds).
 *   least and most: of a number its range, of a STRING its length, of a STRINGS how often it is given;
 *   of a SET least has a bit for each word that stands alone.
 * Flags: RELOAD, takes effect on SIGHUP; RESTART, does not; CHANNEL, as RELOAD, and a section
 * [channel "PATTERN"] of the file may have its own: these make CHANNEL_OPTION_TABLE, and the fields of struct
 * channel_options.
 */
#define OPTION_TABLE(STRING, STRINGS, BOOLEAN, CHOICE, INTEGER, BYTES, DURATION)                             \
    STRINGS("http", http, "127.0.0.1:8080", 1, 64, RESTART, "ADDRESS [KEY=VALUE]...",                        \
            "Listen for HTTP on host:port, [v6]:port, :port or unix:/path; port 0 takes a free one; keys "   \
            "are proxy-protocol, mode, tls-cert, tls-key, tls-client-ca and tls-client, see "                \
            "docs/LISTENERS.md. Repeatable.")                                                                \
    STRINGS("admin", admin, "", 0, 64, RESTART, "ADDRESS [KEY=VALUE]...",                                    \
            "Listen for HTTP as with http; /api and /metrics need no right there, and are not found on "     \
            "other listeners any more but with an admin token. Repeatable.")                                 \
    STRINGS("tcp", tcp, "", 0, 64, RESTART, "ADDRESS [KEY=VALUE]...",                                        \
            "Listen for raw TCP on host:port, [v6]:port or unix:/path; keys are framing, feed, input, "      \
            "default-channel and ping, see docs/TCP.md, and those of http. Repeatable.")                     \
    STRINGS("sockjs", sockjs, "/sockjs", 0, 64, RESTART, "PREFIX [KEY=VALUE]...",                            \
            "Serve SockJS clients below this path; keys are app, feed, websocket, cookie, response-limit, "  \
            "disconnect-delay, legacy and client, see docs/SOCKJS.md. Empty serves none. Repeatable.")       \
    STRING(                                                                                                  \
        "broker", broker, "memory:", 1, 1024, RESTART, "URL",                                                \
        "Where channel logs live: memory: is this process; redis://[user:password@]host:port/db, several "   \
        "hosts separated by commas for a Cluster, unix:///path, or "                                         \
        "redis-sentinel://host:port,host:port/master-name/db; rediss:// and rediss-sentinel:// over TLS.")   \
    STRING(                                                                                                  \
        "redis-tls-ca", redis_tls_ca, "", 0, 4096, RELOAD, "FILE",                                           \
        "Certificate authorities, in PEM, that may vouch for Redis (rediss://); the system's when empty.")   \
    STRING("redis-tls-cert", redis_tls_cert, "", 0, 4096, RELOAD, "FILE",                                    \
           "Certificate, in PEM, that is shown to a Redis that asks for one.")                               \
    STRING("redis-tls-key", redis_tls_key, "", 0, 4096, RELOAD, "FILE",                                      \
           "Its key, in PEM, without a password.")                                                           \
    STRING("redis-tls-name", redis_tls_name, "", 0, 255, RELOAD, "NAME",                                     \
           "Name that the certificates of all Redis servers and Sentinels have; the host of each address "   \
           "when empty.")                                                                                    \
    STRINGS("redis-subscribe", redis_subscribe, "", 0, 256, RESTART, "NAME",                                 \
            "Redis Pub/Sub channels and patterns (scores.*) whose plain PUBLISH reaches the channel of the " \
            "same name. Repeatable.")                                                                        \
    DURATION("redis-timeout", redis_timeout_ms, "5s", 10, 3600000, RELOAD, "TIME",                           \
             "A connection to Redis that owes an answer for this long is given up and made anew.")           \
    DURATION("redis-probe-time", redis_probe_time_ms, "10s", 10, 3600000, RELOAD, "TIME",                    \
             "A subscription connection to Redis that has been silent for this long is probed.")             \
    DURATION("redis-check-time", redis_check_time_ms, "30s", 10, 3600000, RELOAD, "TIME",                    \
             "How often each channel in use is compared with its log in Redis.")                             \
    INTEGER("shards", shards, "0", 0, 256, RESTART, "N",                                                     \
            "Event loops, one thread each; 0 is one for each CPU.")                                          \
    STRING("static-dir", static_dir, OPTION_STATIC_DIR, 0, 4096, RESTART, "DIR",                             \
           "Files served at /; empty serves none.")                                                          \
    STRING("config", config, "", 0, 4096, RESTART, "FILE",                                                   \
           "Read options from this INI file; not in the file itself.")                                       \
    BOOLEAN("anonymous", anonymous, "no", 0, 1, RESTART, "yes|no",                                           \
            "Let anybody who reaches an address other than loopback read and publish.")                      \
    STRINGS("jwt-key", jwt_key, "", 0, 64, RELOAD, "ALG[/KID]:FILE",                                         \
            "A key that tokens are signed with: HS256:/etc/sluice/key is a file with the secret, "           \
            "RS256/2026:/etc/sluice/rsa.pem a public key in PEM. The algorithm is one of HS, RS, PS, ES "    \
            "with 256, 384, 512; KID the token's key id. Repeatable.")                                       \
    STRING("jwt-jwks", jwt_jwks, "", 0, 4096, RELOAD, "FILE",                                                \
           "More keys that tokens are signed with, as a JWKS file (RFC 7517).")                              \
    STRINGS("jwt-audience", jwt_audience, "", 0, 64, RELOAD, "NAME",                                         \
            "Whom tokens must be for: one of these stands in their aud. Without any, tokens must have no "   \
            "aud. Repeatable.")                                                                              \
    STRINGS("jwt-issuer", jwt_issuer, "", 0, 64, RELOAD, "NAME",                                             \
            "Who must have issued tokens: one of these is their iss. Without any, it is not looked at. "     \
            "Repeatable.")                                                                                   \
    DURATION("revocation-time", revocation_time_ms, "30d", 60000, 31536000000, RELOAD, "TIME",               \
             "How long a revocation is kept: longer than tokens live.")                                      \
    STRING("publish-keys", publish_keys, "", 0, 4096, RELOAD, "FILE",                                        \
           "Publisher keys, a line NAME:HASH each, as sluice key NAME prints it.")                           \
    STRINGS("allowed-origins", allowed_origins, "", 0, 256, RELOAD, "ORIGIN",                                \
            "Origins whose pages may publish and read, as https://host[:port], null for those without one, " \
            "or * for every one. Repeatable.")                                                               \
    STRINGS("allowed-hosts", allowed_hosts, "", 0, 256, RELOAD, "HOST",                                      \
            "Names and addresses under which requests may come (Host), without a port; * for all. On "       \
            "listeners of loopback addresses, loopback names and the hosts of allowed-origins may anyway; "  \
            "on others every name while none is listed. Repeatable.")                                        \
    STRINGS(                                                                                                 \
        "trusted-proxies", trusted_proxies, "local", 0, 256, RELOAD, "NETWORK",                              \
        "Proxies whose word counts for where a client comes from (PROXY protocol, forwarded-header) and "    \
        "by which scheme and host: an address, a network as 10.0.0.0/8, or local: all of this machine. "     \
        "Empty is none. Repeatable.")                                                                        \
    CHOICE("forwarded-header", forwarded_header, "x-forwarded-for", 0, 0, RELOAD,                            \
           "x-forwarded-for|forwarded", "The header by which trusted proxies say whose a request is.")       \
    BOOLEAN("legacy", legacy, "no", 0, 1, RELOAD, "yes|no",                                                  \
            "Serve ?transport=jsonp and htmlfile too. A page of any site can then read every channel that "  \
            "its visitor reaches.")                                                                          \
    BYTES("memory-limit", memory_limit_bytes, "512MiB", 1048576, 1099511627776, RELOAD, "BYTES",             \
          "Memory for the messages of all channels; beyond it idle channels go first, then publishing "      \
          "answers 503.")                                                                                    \
    BYTES("batch-size", batch_size_bytes, "8MiB", 1, 268435456, RELOAD, "BYTES",                             \
          "The largest body of a batch (POST /channels).")                                                   \
    INTEGER("max-connections", max_connections, "0", 0, 10000000, RELOAD, "N",                               \
            "Connections held at once; 0 is as many as descriptors allow.")                                  \
    INTEGER("max-connections-per-ip", max_connections_per_ip, "0", 0, 10000000, RELOAD, "N",                 \
            "Connections from one IPv4 address or IPv6 /64, and as many SockJS sessions; 0 is no limit.")    \
    INTEGER("max-sessions", max_sessions, "100000", 0, 10000000, RELOAD, "N",                                \
            "SockJS sessions over HTTP held at once; 0 is no limit.")                                        \
    INTEGER("max-channels", max_channels, "0", 0, 1000000000, RELOAD, "N",                                   \
            "Channels there may be: all logs in memory, with Redis those in use on this node. Beyond it "    \
            "empty ones that nobody uses go, then new names are refused; 0 is no limit.")                    \
    INTEGER("max-channels-per-connection", max_channels_per_connection, "1024", 1, 1024, RELOAD, "N",        \
            "Channels that one connection may subscribe to; one request names 64 at most.")                  \
    INTEGER("connect-rate", connect_rate, "0", 0, 1000000, RELOAD, "N",                                      \
            "Connections a second from one IPv4 address or IPv6 /64; 0 is no limit.")                        \
    INTEGER("subscribe-rate", subscribe_rate, "0", 0, 1000000, RELOAD, "N",                                  \
            "Subscriptions a second from one address, each channel counted, and each long-poll; 0 is no "    \
            "limit.")                                                                                        \
    INTEGER("subscribe-rate-per-token", subscribe_rate_per_token, "0", 0, 1000000, RELOAD, "N",              \
            "The same with tokens of one subject.")                                                          \
    INTEGER("publish-rate", publish_rate, "0", 0, 1000000, RELOAD, "N",                                      \
            "Messages published a second from one address, but for who has a publisher key or an admin's "   \
            "token; 0 is no limit.")                                                                         \
    INTEGER("publish-rate-per-token", publish_rate_per_token, "0", 0, 1000000, RELOAD, "N",                  \
            "The same with tokens of one subject, or a publisher key.")                                      \
    DURATION("rate-burst", rate_burst_ms, "5s", 0, 3600000, RELOAD, "TIME",                                  \
             "What the rates allow in this time may come at once.")                                          \
    BYTES("connection-memory", connection_memory_bytes, "512MiB", 1048576, 1099511627776, RELOAD, "BYTES",   \
          "Memory for what connections have sent that is not whole yet, for answers that their clients do "  \
          "not take, and for sessions of TLS, which may be half of it; beyond it more is refused. One "      \
          "input of the largest size always fits, and the last quarter is for small ones.")                  \
    BYTES("head-size", head_size_bytes, "32KiB", 1024, 65536, RESTART, "BYTES", "The largest request head.") \
    DURATION("head-timeout", head_timeout_ms, "10s", 10, 3600000, RELOAD, "TIME",                            \
             "How long a client may take to send a request head.")                                           \
    DURATION("body-timeout", body_timeout_ms, "30s", 10, 3600000, RELOAD, "TIME",                            \
             "How long a client may take to send a request body, a WebSocket message or a TCP frame.")       \
    DURATION("keepalive-timeout", keepalive_timeout_ms, "75s", 1000, 3600000, RESTART, "TIME",               \
             "How long an idle connection is kept for the next request.")                                    \
    DURATION("poll-wait", poll_wait_ms, "25s", 0, 3600000, RELOAD, "TIME",                                   \
             "How long a long-poll is held, at most poll-wait-max.")                                         \
    DURATION(                                                                                                \
        "poll-wait-max", poll_wait_max_ms, "55s", 0, 3600000, RELOAD, "TIME",                                \
        "The longest hold that a client may ask for. Most proxies (nginx, Varnish, Apache, AWS) wait 60 s "  \
        "for an answer to begin: raise theirs before this.")                                                 \
    DURATION("heartbeat", heartbeat_ms, "15s", 100, 3600000, RELOAD, "TIME",                                 \
             "A stream that has been silent for this long gets a heartbeat. Most proxies (nginx, Varnish, "  \
             "Apache, AWS) cut what has been silent for 60 s: keep it well below.")                          \
    DURATION(                                                                                                \
        "retry", retry_ms, "2s", 10, 3600000, RELOAD, "TIME",                                                \
        "How long EventSource clients wait before they reconnect; up to as much again is added at random.")  \
    DURATION("stream-life", stream_life_ms, "0", 0, 604800000, RELOAD, "TIME",                               \
             "The longest life of a stream and of a WebSocket, but for those of SockJS: it ends then or up " \
             "to a quarter earlier, and its client comes back with its cursor. For proxies that cut what "   \
             "has been open for so long; 0 is for ever.")                                                    \
    DURATION("websocket-ping", websocket_ping_ms, "25s", 0, 3600000, RELOAD, "TIME",                         \
             "A WebSocket that has been silent for this long is pinged, and closed when nothing has come "   \
             "since two pings; "                                                                             \
             "0 never.")                                                                                     \
    INTEGER("websocket-fragments", websocket_fragments, "65536", 1, 1000000000, RELOAD, "N",                 \
            "The most frames of which a WebSocket message may consist.")                                     \
    DURATION("linger-time", linger_time_ms, "30s", 0, 3600000, RELOAD, "TIME",                               \
             "How long a shard keeps a channel attached after its last subscriber left.")                    \
    INTEGER("linger-channels", linger_channels, "10000", 0, 10000000, RELOAD, "N",                           \
            "The most channels that a shard keeps so; those left longest ago go first.")                     \
    DURATION("slow-client-timeout", slow_client_timeout_ms, "60s", 100, 3600000, RELOAD, "TIME",             \
             "A stream or an answer of which the client has taken nothing for this long is cut.")            \
    DURATION("drain-time", drain_time_ms, "5s", 0, 3600000, RELOAD, "TIME",                                  \
             "Over how long held clients are let go when the server stops; what is left a second later, or " \
             "at a second signal, is cut.")                                                                  \
    STRINGS("alternatives", alternatives, "", 0, 255, RELOAD, "URL",                                         \
            "Where clients are told to come back when the server stops: public URLs of other nodes, or of "  \
            "the balancer before them, as https://host[:port]. Without any they are told to come back here " \
            "once the drain time is over. Repeatable.")                                                      \
    CHOICE("log-level", log_level, "info", 0, 0, RELOAD, "debug|info|warn|error",                            \
           "The least level that is logged.")                                                                \
    CHOICE("log-format", log_format, "logfmt", 0, 0, RESTART, "logfmt|json", "How log lines are written.")   \
    STRING("user", user, "", 0, 128, RESTART, "NAME[:GROUP]",                                                \
           "Become this user, with the user's groups, once all sockets are bound; for a start as root. "     \
           "Files that "                                                                                     \
           "a reload reads again have to be readable for the user.")                                         \
    BOOLEAN("seccomp", seccomp, "no", 0, 1, RESTART, "yes|no",                                               \
            "Allow the process only the system calls that it makes, once it is ready: no program, no file "  \
            "written.")                                                                                      \
    STRING("ready-file", ready_file, "", 0, 4096, RESTART, "FILE",                                           \
           "Write the addresses listened on to this file, one a line, once the server is ready.")

#define CHANNEL_OPTION_TABLE(BOOLEAN, CHOICE, SET, INTEGER, BYTES, DURATION)                                 \
    CHOICE("subscribe", subscribe, "auto", 0, 0, CHANNEL, "auto|anyone|token|nobody",                        \
           "Who may receive: anyone, those with a token that grants it, nobody; auto is token when a key "   \
           "for tokens or a publisher key is configured, else anyone.")                                      \
    SET("publish", publish, "auto", 17, 0, CHANNEL, "auto|key|token|anyone|nobody",                          \
        "Who may publish: those with a publisher key, those with a token that grants it, both (key,token), " \
        "anyone, nobody; auto is key,token when either is configured, else anyone.")                         \
    INTEGER("history-size", history_size, "100", 0, 1000000, CHANNEL, "N",                                   \
            "Messages kept for each channel.")                                                               \
    DURATION("history-ttl", history_ttl_ms, "5m", 0, 31536000000, CHANNEL, "TIME",                           \
             "How long a message is kept.")                                                                  \
    BYTES("history-bytes", history_bytes, "4MiB", 0, 1099511627776, CHANNEL, "BYTES",                        \
          "Bytes of messages kept for each channel, or the newest alone where it is larger.")                \
    DURATION("channel-ttl", channel_ttl_ms, "1h", 1000, 31536000000, CHANNEL, "TIME",                        \
             "How long an empty channel that nobody uses is remembered.")                                    \
    BYTES("message-size", message_size_bytes, "1MiB", 1, 67108864, CHANNEL, "BYTES", "The largest message.") \
    DURATION("idempotency-time", idempotency_time_ms, "2m", 0, 86400000, CHANNEL, "TIME",                    \
             "How long a channel remembers an Idempotency-Key.")                                             \
    INTEGER("publish-rate-per-channel", publish_rate_per_channel, "0", 0, 1000000, CHANNEL, "N",             \
            "Messages published to the channel a second; 0 is no limit.")                                    \
    INTEGER("subscribe-rate-per-channel", subscribe_rate_per_channel, "0", 0, 1000000, CHANNEL, "N",         \
            "Subscriptions to the channel a second, each long-poll counted; 0 is no limit.")                 \
    BOOLEAN("tree", tree, "no", 0, 1, CHANNEL, "yes|no",                                                     \
            "The channel's log has, behind what is published to itself, everything that is published below " \
            "it too.")                                                                                       \
    CHOICE("policy", policy, "all", 0, 0, CHANNEL, "all|newest",                                             \
           "What a slow subscriber is told: all messages, or of each key the newest.")                       \
    BOOLEAN("presence", presence, "no", 0, 1, CHANNEL, "yes|no",                                             \
            "Who is subscribed is known, and told on NAME/$presence; see docs/PRESENCE.md.")                 \
    DURATION("presence-grace", presence_grace_ms, "5s", 0, 3600000, CHANNEL, "TIME",                         \
             "How long somebody stays present, and a channel occupied, after the last connection has gone.") \
    BOOLEAN("events", events, "no", 0, 1, CHANNEL, "yes|no",                                                 \
            "That the channel is created, occupied, vacated, purged or forgotten is told on $channel and "   \
            "$channel/NAME; see docs/PRESENCE.md.")
