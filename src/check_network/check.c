/* SPDX-License-Identifier: MIT */
#include "check_network/check.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/container.h"
#include "base/random.h"

#define CHECK_EVERY_MS 200u
/* For what was published to come. */
#define CHECK_PATIENCE_MS 3000u
#define CHECK_WORD_LEN 10u

const struct way *check_way(const struct check *check, unsigned index)
{
    if (index == 0)
        return &check->websocket.way;
    return index <= CHECK_HTTP_WAYS ? &check->http[index - 1].way : NULL;
}

static bool check_is_decided(const struct check *check)
{
    const struct way *way;
    for (unsigned i = 0; (way = check_way(check, i)); i++)
        if (!way->opened_ns && !way->ended_ns)
            return false;
    return true;
}

/* Whether whoever is still there has got all messages that were sent, and all of them are answered. */
static bool check_has_all(const struct check *check)
{
    const struct way *way;
    for (unsigned number = 0; number <= CHECK_LAST; number++)
        if (check->published[number].request.easy)
            return false;
    for (unsigned i = 0; (way = check_way(check, i)); i++)
        for (unsigned number = 0; number <= CHECK_LAST; number++)
            if (!way->ended_ns && check->published[number].begun_ns && !way->received_ns[number])
                return false;
    return true;
}

static bool check_is_never_over(const struct check *check)
{
    (void)check; /* the signature of what is waited for */
    return false;
}

/* Lets things happen until that is so, or for that long. */
static void check_await(struct check *check, uint64_t patience_ms, bool (*is_so)(const struct check *check))
{
    uint64_t deadline_ms = clock_monotonic_ms() + patience_ms;
    for (uint64_t now_ms; (now_ms = clock_monotonic_ms()) < deadline_ms;) {
        int running;
        curl_multi_perform(check->multi, &running);
        request_finish(check->multi);
        websocket_way_turn(&check->websocket);
        if (is_so(check))
            return;
        struct curl_waitfd wait = websocket_way_wait(&check->websocket);
        curl_multi_poll(check->multi, &wait, wait.fd >= 0 ? 1 : 0,
                        check->websocket.has_more ? 0 : (int)(deadline_ms - now_ms), NULL);
    }
}

static size_t check_take_body(char *bytes, size_t size, size_t count, void *context)
{
    struct check_publish *publish = context;
    request_take_refusal(&publish->request, (struct text){bytes, size * count});
    return size * count;
}

static void check_published(struct request *request, CURLcode code)
{
    struct check_publish *publish = container_of(request, struct check_publish, request);
    if (code == CURLE_OK && request->status == 201)
        publish->answered_ns = clock_monotonic_ns();
    else
        request_explain(request, code, publish->fault);
    request_deinit(request);
}

static int check_publish(struct check *check, unsigned number)
{
    struct check_publish *publish = &check->published[number];
    char path[512], mark[WAY_MARK_MAX];
    publish->begun_ns = clock_monotonic_ns();
    publish->is_by_websocket = number % 2 && websocket_way_publish(&check->websocket, number);
    if (publish->is_by_websocket)
        return 0;
    way_make_mark(mark, check->mark, number);
    snprintf(path, sizeof(path), "/channels/%s", check->order->channel);
    if (request_init(&publish->request, check->order, path, mark) ||
        request_add_field(&publish->request, "Content-Type: text/plain"))
        return -ENOMEM;
    curl_easy_setopt(publish->request.easy, CURLOPT_WRITEFUNCTION, check_take_body);
    curl_easy_setopt(publish->request.easy, CURLOPT_WRITEDATA, publish);
    return request_begin(&publish->request, check->multi, check_published);
}

static int check_begin(struct check *check)
{
    char word[CHECK_WORD_LEN + 1];
    random_word(word, CHECK_WORD_LEN);
    snprintf(check->mark, sizeof(check->mark), "check-%s-", word);
    check->multi = curl_multi_init();
    if (!check->multi)
        return -ENOMEM;
    /* It connects at once; the others do as soon as things are let happen. */
    int error = websocket_way_begin(&check->websocket, check->order, check->mark);
    for (unsigned i = 0; !error && i < CHECK_HTTP_WAYS; i++)
        error = http_way_begin(&check->http[i], (enum http_kind)i, check->order, check->mark, check->multi);
    return error;
}

int check_run(struct check *check, const struct check_order *order)
{
    *check = (struct check){.order = order};
    int error = check_begin(check);
    if (error)
        return error;
    check_await(check, CHECK_OPENING_MS, check_is_decided);
    for (unsigned number = 0; !error && number < CHECK_MESSAGES; number++) {
        error = check_publish(check, number);
        check_await(check, CHECK_EVERY_MS, check_is_never_over);
    }
    check_await(check, CHECK_PATIENCE_MS, check_has_all);
    check_await(check, order->hold_ms, check_is_never_over);
    if (!error)
        error = check_publish(check, CHECK_LAST);
    check_await(check, CHECK_PATIENCE_MS, check_has_all);
    check->ended_ns = clock_monotonic_ns();
    return error;
}

void check_deinit(struct check *check)
{
    for (unsigned i = 0; i <= CHECK_LAST; i++)
        request_deinit(&check->published[i].request);
    for (unsigned i = 0; i < CHECK_HTTP_WAYS; i++)
        http_way_end(&check->http[i]);
    websocket_way_end(&check->websocket);
    curl_multi_cleanup(check->multi);
}
