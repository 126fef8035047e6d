/* SPDX-License-Identifier: MIT */
#include "http/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "http/exchange_state.h"
#include "shard/socket.h"

bool exchange_asks_for(const struct exchange *exchange, const char *protocol)
{
    struct text rest = text_of(exchange_field(exchange, FIELD_UPGRADE));
    while (rest.len > 0)
        if (text_is_word(text_cut(&rest, ','), protocol))
            return true;
    return false;
}

void upgrade_add_headers(struct MHD_Response *response)
{
    exchange_response_header(response, MHD_HTTP_HEADER_UPGRADE, "websocket");
    exchange_response_header(response, MHD_HTTP_HEADER_CONNECTION, "Upgrade");
    exchange_response_header(response, "Sec-WebSocket-Version", "13");
}

static void upgrade_lose(struct upgrade *upgrade)
{
    if (upgrade->fd >= 0)
        socket_close(upgrade->fd);
    upgrade->ops->lost(upgrade);
}

/* The connection has gone before the 101 was out. */
static void upgrade_gone(struct exchange *exchange)
{
    upgrade_lose(exchange->holder);
}

static const struct hold_ops upgrade_hold_ops = {.gone = upgrade_gone};

static void upgrade_open(void *cls, struct MHD_Connection *connection, void *context, const char *extra,
                         size_t extra_len, MHD_socket fd, struct MHD_UpgradeResponseHandle *handle)
{
    struct exchange *exchange = cls;
    struct client *client = exchange->client;
    struct upgrade *upgrade = exchange->holder;
    struct arrival arrival = {.fd = upgrade->fd, .key = client->key, .entrance = client->entrance};
    const struct text early = early_text(&client->early);
    (void)connection;
    (void)context;
    (void)extra; /* libmicrohttpd is given a head and nothing more */
    (void)extra_len;
    (void)fd;
    memcpy(&arrival.address.storage, client->asker, sizeof(client->asker));
    arrival.address.len = sizeof(client->asker);
    exchange->hold = NULL;
    socket_move(exchange->fd, upgrade->fd);
    upgrade->fd = -1;
    cell_release(client, handle);
    upgrade->ops->opened(upgrade, &arrival, early);
}

static struct MHD_Response *upgrade_response(struct exchange *exchange, const char *const *headers)
{
    struct MHD_Response *response = MHD_create_response_for_upgrade(upgrade_open, exchange);
    bool has_failed = !response;
    for (size_t i = 0; !has_failed && headers[i]; i += 2)
        has_failed = MHD_add_response_header(response, headers[i], headers[i + 1]) != MHD_YES;
    if (!has_failed)
        return response;
    if (response)
        MHD_destroy_response(response);
    return NULL;
}

void exchange_upgrade(struct exchange *exchange, const char *const *headers, struct upgrade *upgrade)
{
    struct MHD_Response *response = NULL;
    enum error_code error = exchange_is_draining(exchange) ? ERROR_STOPPING : ERROR_NONE;
    upgrade->fd = error == ERROR_NONE ? fcntl(exchange->fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (upgrade->fd >= 0)
        response = upgrade_response(exchange, headers);
    else if (error == ERROR_NONE)
        error = ERROR_NO_DESCRIPTORS;
    if (!response) {
        error = error == ERROR_NONE ? ERROR_OUT_OF_MEMORY : error;
        exchange_fail(exchange, error, "%s", error_text(error));
        upgrade_lose(upgrade);
        return;
    }
    exchange->response = response;
    exchange->status = MHD_HTTP_SWITCHING_PROTOCOLS;
    exchange->must_close = true;
    exchange_hold(exchange, &upgrade_hold_ops, upgrade);
    exchange_move(exchange, EXCHANGE_UPGRADING);
}
