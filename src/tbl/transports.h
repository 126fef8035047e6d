/* SPDX-License-Identifier: MIT */
/* The ways to receive that are counted apart; one row each: name, word in numbers and labels. */
#ifndef SLUICE_TBL_TRANSPORTS_H
#define SLUICE_TBL_TRANSPORTS_H

#define TRANSPORT_TABLE(ROW)                                                                                 \
    ROW(POLL, "poll")                                                                                        \
    ROW(SSE, "sse")                                                                                          \
    ROW(STREAM, "stream")                                                                                    \
    ROW(TCP, "tcp")

enum transport_kind {
#define TRANSPORT_ENUM(name, word) TRANSPORT_##name,
    TRANSPORT_TABLE(TRANSPORT_ENUM)
#undef TRANSPORT_ENUM
        TRANSPORT_COUNT
};

/* Static word of a transport. Any thread. */
const char *transport_word(enum transport_kind kind);

#endif
