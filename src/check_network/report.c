/* SPDX-License-Identifier: MIT */
#include "check_network/report.h"

#include <stdlib.h>
#include <string.h>

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

static void report_write_verdict(FILE *to, const struct check *check, const struct way *way,
                                 const struct passage *passage)
{
    if (!way->opened_ns && way->ended_ns)
        fprintf(to, "does not pass: %s", way->fault);
    else if (!way->opened_ns)
        fprintf(to, "held back: nothing came in %.0f s",
                (double)(check->ended_ns - way->begun_ns) / NS_PER_S);
    else if (way->ended_ns)
        fprintf(to, "cut after %.1f s: %s", (double)(way->ended_ns - way->begun_ns) / NS_PER_S, way->fault);
    else if (report_is_held_back(way, passage))
        fprintf(to, "held back: something collects what comes");
    else if (passage->sent && !passage->is_there)
        fprintf(to, "went silent: it is open, and the last message did not come");
    else if (passage->received < passage->sent || passage->doubled)
        fprintf(to, "%u missing, %u twice", passage->sent - passage->received, passage->doubled);
    else
        fprintf(to, "passes");
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
    if (accepted < sent)
        fprintf(to, "; the others: %s", fault);
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
    if (!report_write_publishing(to, check) || useful == 0)
        return REPORT_NONE_PASSES;
    return passed == count ? REPORT_ALL_PASS : REPORT_SOME_PASS;
}
