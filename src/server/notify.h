/* SPDX-License-Identifier: MIT */
#pragma once

/* What the service manager is told: sd_notify(3)'s protocol, a datagram of NAME=VALUE lines to the socket
 * that NOTIFY_SOCKET names. Without that variable nothing is said. libsystemd is not used: it would bring
 * liblzma and three more libraries into a process that holds keys (CVE-2024-3094 came that way), for a
 * protocol of one sendto() that its own manual offers for reimplementation. Main thread.
 */

#include <stdint.h>

#include "base/address.h"

#define NOTIFY_TEXT_MAX 512u

struct notify {
    int fd; /* -1 when nobody listens */
    struct address address;
    uint64_t watchdog_ms; /* a WATCHDOG=1 is wanted at least so often; 0 never */
};

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID. A value that cannot be used is logged and counts as
 * none. */
void notify_open(struct notify *notify);
void notify_close(struct notify *notify);

/* Sends lines as "READY=1\nSTATUS=ready", made as by printf. What cannot be sent is logged. */
void notify_say(const struct notify *notify, const char *format, ...) __attribute__((format(printf, 2, 3)));
