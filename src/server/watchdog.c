/* SPDX-License-Identifier: MIT */
#include "server/watchdog.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/container.h"
#include "base/log.h"

struct watchdog_question {
    struct letter letter;
    struct watchdog *watchdog;
    bool is_answered; /* main thread */
};

static void watchdog_come_back(struct letter *letter)
{
    struct watchdog_question *question = container_of(letter, struct watchdog_question, letter);
    struct watchdog *watchdog = question->watchdog;
    question->is_answered = true;
    watchdog->unanswered--;
    if (watchdog->unanswered == 0)
        watchdog->all_well(watchdog);
}

/* On the shard's thread. */
static void watchdog_answer(struct letter *letter)
{
    struct watchdog_question *question = container_of(letter, struct watchdog_question, letter);
    letter->deliver = watchdog_come_back;
    mailbox_post(question->watchdog->group->home, letter);
}

static void watchdog_begin_round(struct watchdog *watchdog, uint64_t now_ms)
{
    watchdog->begun_ms = now_ms;
    watchdog->unanswered = watchdog->group->count;
    for (unsigned i = 0; i < watchdog->group->count; i++) {
        struct watchdog_question *question = &watchdog->questions[i];
        question->is_answered = false;
        question->letter.deliver = watchdog_answer;
        mailbox_post(&watchdog->group->shards[i].mailbox, &question->letter);
    }
}

static void watchdog_tell_stuck(const struct watchdog *watchdog, uint64_t now_ms)
{
    for (unsigned i = 0; i < watchdog->group->count; i++)
        if (!watchdog->questions[i].is_answered)
            log_event(LOG_ERROR, "shard-stuck", LOG_NUMBER("shard", i),
                      LOG_NUMBER("silent_ms", now_ms - watchdog->begun_ms),
                      LOG_TEXT("action",
                               "its clients get nothing; the service manager restarts Sluice unless "
                               "it turns again in time"));
}

int watchdog_start(struct watchdog *watchdog, const struct shard_group *group, uint64_t interval_ms,
                   void (*all_well)(struct watchdog *watchdog))
{
    *watchdog = (struct watchdog){.group = group, .all_well = all_well};
    watchdog->questions = calloc(group->count, sizeof(*watchdog->questions));
    if (!watchdog->questions)
        return -ENOMEM;
    for (unsigned i = 0; i < group->count; i++)
        watchdog->questions[i].watchdog = watchdog;
    watchdog->interval_ms = interval_ms;
    watchdog->due_ms = clock_monotonic_ms();
    return 0;
}

void watchdog_run(struct watchdog *watchdog, uint64_t now_ms)
{
    if (watchdog->interval_ms == 0 || now_ms < watchdog->due_ms)
        return;
    watchdog->due_ms = now_ms + watchdog->interval_ms;
    if (watchdog->unanswered > 0)
        watchdog_tell_stuck(watchdog, now_ms);
    else
        watchdog_begin_round(watchdog, now_ms);
}

uint64_t watchdog_wait_ms(const struct watchdog *watchdog, uint64_t now_ms)
{
    if (watchdog->interval_ms == 0)
        return UINT64_MAX;
    return watchdog->due_ms > now_ms ? watchdog->due_ms - now_ms : 0;
}

void watchdog_stop(struct watchdog *watchdog)
{
    free(watchdog->questions);
    *watchdog = (struct watchdog){0};
}
