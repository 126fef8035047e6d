/* SPDX-License-Identifier: MIT */
#include "check_network/report.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "config.h"

/* Behind this much delay something on the way holds messages back. */
#define REPORT_HELD_BACK_NS 1000000000u
#define REPORT_CELL_MAX 32u
#define NS_PER_MS 1000000u
#define NS_PER_S 1000000000.0

/* A way in figures. */
struct passage {
    unsigned sent, received, doubled;
    uint64_t median_ns, worst_ns; /* from the publish, of those that came */
    bool is_there;                /* at the end, and the last message has come */
};

static int report_compare(const void *a, const void *b)
{
    const uint64_t *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

static struct passage report_measure(const struct check *check, const struct way *way)
{
    struct passage passage = {.doubled = way->doubled};
    uint64_t delays[CHECK_MESSAGES + 1];
    for (unsigned number = 0; number <= CHECK_LAST; number++) {
        const struct check_publish *publish = &check->published[number];
        bool is_sent = publish->is_by_websocket || publish->answered_ns;
        passage.sent += is_sent;
        if (is_sent && way->received_ns[number])
            delays[passage.received++] = way->received_ns[number] - publish->begun_ns;
    }
    qsort(delays, passage.received, sizeof(*delays), report_compare);
    if (passage.received) {
        passage.median_ns = delays[passage.received / 2];
        passage.worst_ns = delays[passage.received - 1];
    }
    passage.is_there = way_is_open(way) && way->received_ns[CHECK_LAST];
    return passage;
}

static bool report_is_held_back(const struct way *way, const struct passage *passage)
{
    return way->opened_ns - way->begun_ns > CHECK_OPENING_MS * (uint64_t)NS_PER_MS ||
           passage->median_ns > REPORT_HELD_BACK_NS;
}

static bool report_passes(const struct way *way, const struct passage *passage)
{
    return passage->sent && passage->received == passage->sent && !passage->doubled && passage->is_there &&
           !report_is_held_back(way, passage);
}

/* What others have said is written to a terminal. */
static void report_say(FILE *to, const char *text)
{
    for (; *text; text++)
        fputc(*text >= ' ' && *text <= '~' ? *text : '?', to);
}

static void report_write_verdict(FILE *to, const struct check *check, const struct way *way,
                                 const struct passage *passage)
{
    if (!way->opened_ns && way->ended_ns)
        fprintf(to, "does not pass: ");
    else if (!way->opened_ns)
        fprintf(to, "held back: nothing came in %.0f s",
                (double)(check->ended_ns - way->begun_ns) / NS_PER_S);
    else if (way->ended_ns)
        fprintf(to, "cut after %.1f s: ", (double)(way->ended_ns - way->begun_ns) / NS_PER_S);
    else if (report_is_held_back(way, passage))
        fprintf(to, "held back: something collects what comes");
    else if (!passage->sent)
        fprintf(to, "opens; nothing could be published to see more");
    else if (!passage->is_there)
        fprintf(to, "went silent: it is open, and the last message did not come");
    else if (passage->received < passage->sent || passage->doubled)
        fprintf(to, "%u missing, %u twice", passage->sent - passage->received, passage->doubled);
    else
        fprintf(to, "passes");
    if (way->ended_ns)
        report_say(to, way->fault);
}

static void report_write_way(FILE *to, const struct check *check, const struct way *way,
                             const struct passage *passage)
{
    char opening[REPORT_CELL_MAX] = "-", messages[REPORT_CELL_MAX] = "-", delay[REPORT_CELL_MAX] = "-";
    if (way->opened_ns)
        snprintf(opening, sizeof(opening), "%u ms", (unsigned)((way->opened_ns - way->begun_ns) / NS_PER_MS));
    if (way->opened_ns)
        snprintf(messages, sizeof(messages), "%u of %u", passage->received, passage->sent);
    if (passage->received)
        snprintf(delay, sizeof(delay), "%u ms, %u ms", (unsigned)(passage->median_ns / NS_PER_MS),
                 (unsigned)(passage->worst_ns / NS_PER_MS));
    fprintf(to, "%-11s%-11s%-10s%-18s", way->name, opening, messages, delay);
    report_write_verdict(to, check, way, passage);
    fputc('\n', to);
}

/* The requests of a check, one after another; NULL behind the last. */
static const struct request *report_request(const struct check *check, unsigned index)
{
    if (index == 0)
        return &check->websocket.request;
    index--;
    if (index < CHECK_HTTP_WAYS)
        return &check->http[index].request;
    index -= CHECK_HTTP_WAYS;
    return index <= CHECK_LAST ? &check->published[index].request : NULL;
}

/* Those who say that they stand between; Sluice sends neither Via nor Server. */
static void report_write_between(FILE *to, const struct check *check)
{
    const struct request *request;
    const char *last = "";
    for (unsigned i = 0; (request = report_request(check, i)); i++) {
        if (!request->via[0] || !strcmp(request->via, last))
            continue;
        fputs(last[0] ? "; " : "between, as it says: ", to);
        report_say(to, request->via);
        last = request->via;
    }
    if (last[0])
        fputc('\n', to);
}

static void report_write_advice(FILE *to, const struct check *check)
{
    const struct request *request;
    const char *code = "";
    /* A WebSocket is refused when a proxy has changed its handshake. */
    for (unsigned i = 1; !code[0] && (request = report_request(check, i)); i++)
        code = request->code;
    if (!code[0])
        fprintf(to, "\nWhat stands between, and what helps: docs/PROXIES.md\n");
    else if (strstr(code, "token") || !strncmp(code, "forbidden-", strlen("forbidden-")))
        fprintf(to,
                "\nThe server itself refuses (%s): it wants a --token that may subscribe to the --channel "
                "and publish to it, see docs/AUTH.md\n",
                code);
    else
        fprintf(to, "\nThe server itself refuses (%s): see docs/ERRORS.md\n", code);
}

/* Nobody's password is for a report. */
static void report_write_proxy(FILE *to, const char *proxy)
{
    const char *user = strstr(proxy, "://") ? strstr(proxy, "://") + 3 : proxy;
    const char *host = strrchr(user, '@') ? strrchr(user, '@') + 1 : user;
    fprintf(to, ", through %.*s%s%s", (int)(user - proxy), proxy, host == user ? "" : "…@", host);
}

/* Those variables that libcurl looks at. */
static void report_write_environment(FILE *to, const char *url)
{
    static const char *const variables[2][4] = {{"http_proxy", "all_proxy", "ALL_PROXY"},
                                                {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"}};
    const char *const *names = variables[strncmp(url, "https:", strlen("https:")) == 0];
    const char *excluded = getenv("no_proxy") ? getenv("no_proxy") : getenv("NO_PROXY");
    for (unsigned i = 0; i < 4 && names[i]; i++) {
        const char *proxy = getenv(names[i]);
        if (!proxy || !proxy[0])
            continue;
        report_write_proxy(to, proxy);
        fprintf(to, " (%s", names[i]);
        if (excluded && excluded[0])
            fprintf(to, "; but not to those that no_proxy names: %s", excluded);
        fputc(')', to);
        return;
    }
}

void report_write_order(FILE *to, const struct check_order *order)
{
    char now[sizeof("2026-11-22T08:40:00Z")];
    time_t seconds = time(NULL);
    struct tm utc;
    fprintf(to, "%s, channel %s", order->url, order->channel);
    if (order->proxy)
        report_write_proxy(to, order->proxy);
    else
        report_write_environment(to, order->url);
    strftime(now, sizeof(now), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &utc));
    fprintf(to, "\n%s, held for %g s, sluice %s\n\n", now, (double)order->hold_ms / 1000, PACKAGE_VERSION);
}

/* Returns whether anything was accepted. */
static bool report_write_publishing(FILE *to, const struct check *check)
{
    unsigned sent = 0, accepted = 0;
    uint64_t times[CHECK_MESSAGES + 1];
    const char *fault = "no answer";
    for (unsigned number = 0; number <= CHECK_LAST; number++) {
        const struct check_publish *publish = &check->published[number];
        if (publish->is_by_websocket || !publish->begun_ns)
            continue;
        sent++;
        if (publish->answered_ns)
            times[accepted++] = publish->answered_ns - publish->begun_ns;
        else if (publish->fault[0])
            fault = publish->fault;
    }
    qsort(times, accepted, sizeof(*times), report_compare);
    fprintf(to, "publishing by POST: %u of %u", accepted, sent);
    if (accepted)
        fprintf(to, ", %u ms", (unsigned)(times[accepted / 2] / NS_PER_MS));
    if (accepted < sent) {
        fprintf(to, "; the others: ");
        report_say(to, fault);
    }
    fprintf(to, "\npublishing by WebSocket: ");
    if (check->websocket.way.opened_ns)
        fprintf(to, "%u of %u\n", check->websocket.published, CHECK_MESSAGES + 1 - sent);
    else
        fprintf(to, "not without one\n");
    return accepted > 0;
}

enum report_verdict report_write(FILE *to, const struct check *check)
{
    unsigned passed = 0, useful = 0, count = 0;
    const struct way *way;
    fprintf(to, "%-11s%-11s%-10s%-18s\n", "way", "opening", "messages", "median, worst");
    for (; (way = check_way(check, count)); count++) {
        struct passage passage = report_measure(check, way);
        report_write_way(to, check, way, &passage);
        passed += report_passes(way, &passage);
        useful += passage.received > 0;
    }
    bool is_accepted = report_write_publishing(to, check);
    report_write_between(to, check);
    if (!is_accepted || passed < count)
        report_write_advice(to, check);
    if (!is_accepted || useful == 0)
        return REPORT_NONE_PASSES;
    return passed == count ? REPORT_ALL_PASS : REPORT_SOME_PASS;
}
