/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "broker/redis/url.h"
#include "server/activation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What an operator and a service manager write: the URL of a broker; before and after line ends the names and
 * the count of passed sockets. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char fault[URL_FAULT_MAX];
    struct url url;
    struct activation activation;
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    if (url_parse(&url, text, fault) == 0)
        url_deinit(&url);
    else if (strlen(fault) == 0)
        abort();
    char *count = strchr(text, '\n');
    if (count)
        *count++ = '\0';
    if (activation_parse(&activation, 1, "1", count, text, fault) == 0 &&
        activation.count > ACTIVATION_SOCKETS_MAX)
        abort();
    free(text);
    return 0;
}
