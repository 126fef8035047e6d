/* SPDX-License-Identifier: MIT */
#include "server/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/number.h"

static void notify_warn(const char *reason)
{
    log_event(LOG_WARN, "notify-failed", LOG_TEXT("reason", reason),
              LOG_TEXT("action", "the service manager does not hear of this server; see NOTIFY_SOCKET in "
                                 "sd_notify(3)"));
}

/* An absolute path, or @ and a name that has no file. */
static int notify_parse_address(struct address *address, const char *text)
{
    struct sockaddr_un *to = (struct sockaddr_un *)&address->storage;
    size_t len = strlen(text);
    if ((text[0] != '/' && text[0] != '@') || len < 2 || len >= sizeof(to->sun_path))
        return -EINVAL;
    *address = (struct address){.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)};
    to->sun_family = AF_UNIX;
    memcpy(to->sun_path, text, len);
    if (text[0] == '@')
        to->sun_path[0] = '\0';
    return 0;
}

static uint64_t notify_read_watchdog(void)
{
    const char *pid_text = getenv("WATCHDOG_PID");
    const char *text = getenv("WATCHDOG_USEC");
    uint64_t pid;
    uint64_t watchdog_us;
    if (!text)
        return 0;
    if (pid_text && (number_parse_u64(&pid, pid_text, strlen(pid_text)) || pid != (uint64_t)getpid()))
        return 0;
    if (number_parse_u64(&watchdog_us, text, strlen(text)) || watchdog_us < 1000) {
        notify_warn("WATCHDOG_USEC is no time in microseconds");
        return 0;
    }
    return watchdog_us / 1000;
}

void notify_open(struct notify *notify)
{
    const char *text = getenv("NOTIFY_SOCKET");
    *notify = (struct notify){.fd = -1};
    if (!text || !text[0])
        return;
    if (notify_parse_address(&notify->address, text)) {
        notify_warn("NOTIFY_SOCKET is neither an absolute path nor @ and a name");
        return;
    }
    notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (notify->fd < 0)
        notify_warn(strerror(errno));
    else
        notify->watchdog_ms = notify_read_watchdog();
}

void notify_close(struct notify *notify)
{
    if (notify->fd >= 0)
        close(notify->fd);
    notify->fd = -1;
}

void notify_say(const struct notify *notify, const char *format, ...)
{
    char text[NOTIFY_TEXT_MAX];
    va_list arguments;
    if (notify->fd < 0)
        return;
    va_start(arguments, format);
    int len = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (len < 0 || (size_t)len >= sizeof(text))
        notify_warn("what is to be told is too long");
    else if (sendto(notify->fd, text, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT,
                    (const struct sockaddr *)&notify->address.storage, notify->address.len) < 0)
        notify_warn(strerror(errno));
}
