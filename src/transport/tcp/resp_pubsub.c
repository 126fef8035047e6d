/* SPDX-License-Identifier: MIT */
/* PUBSUB: what the shards of this process know of who is subscribed. */

#include <stdlib.h>

#include "render/render.h"
#include "transport/tcp/glob.h"
#include "transport/tcp/reply.h"
#include "transport/tcp/resp_call.h"

/* Bytes of the names that are found, beyond which there is no answer: it is gathered whole. */
#define PUBSUB_BYTES_MAX (4u << 20)

enum pubsub_question { PUBSUB_CHANNELS, PUBSUB_NUMSUB, PUBSUB_NUMPAT };

/* A channel whose subscribers are counted. */
struct pubsub_count {
    size_t at; /* its name, in the words */
    size_t len;
    uint64_t counts[TRANSPORT_COUNT];
};

/* Goes round the shards, and outlives its connection. */
struct pubsub {
    struct survey survey;
    struct connection *connection; /* NULL when it has gone */
    enum pubsub_question question;
    struct glob glob;
    struct buf words; /* of the command: the names */
    struct buf found; /* names, each ended by a NUL */
    size_t found_count;
    unsigned count;
    struct pubsub_count counted[];
};

void pubsub_forget(struct pubsub *pubsub)
{
    if (pubsub)
        pubsub->connection = NULL;
}

static void pubsub_free(struct pubsub *pubsub)
{
    buf_deinit(&pubsub->words);
    buf_deinit(&pubsub->found);
    free(pubsub);
}

/* On each shard. */

static void pubsub_find(void *context, const char *name, size_t len)
{
    struct pubsub *pubsub = context;
    bool is_full = pubsub->found.len > PUBSUB_BYTES_MAX;
    if (is_full || (pubsub->question == PUBSUB_CHANNELS && !glob_matches(&pubsub->glob, name, len)))
        return;
    buf_append(&pubsub->found, name, len);
    buf_append_char(&pubsub->found, '\0');
    pubsub->found_count++;
}

static void pubsub_visit(struct survey *survey, struct shard *shard)
{
    struct pubsub *pubsub = container_of(survey, struct pubsub, survey);
    if (pubsub->question == PUBSUB_CHANNELS)
        hub_visit_channels(&shard->hub, pubsub_find, pubsub);
    else if (pubsub->question == PUBSUB_NUMPAT)
        hub_visit_watched(&shard->hub, pubsub_find, pubsub);
    for (unsigned i = 0; i < pubsub->count; i++) {
        struct pubsub_count *counted = &pubsub->counted[i];
        hub_count_subscriptions(&shard->hub, pubsub->words.bytes + counted->at, counted->len,
                                counted->counts);
    }
}

/* The answer. */

static int pubsub_compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names are told to those only who may subscribe to them. */
static bool pubsub_may_tell(const struct pubsub *pubsub, struct text name)
{
    char fault[AUTH_FAULT_MAX];
    return conversation_check(&pubsub->connection->conversation, ACCESS_SUBSCRIBE, name, fault) == ERROR_NONE;
}

/* Several shards may have found the same. Returns the names in order, each once, and their number; NULL when
 * memory is out. */
static const char **pubsub_sort(const struct pubsub *pubsub, size_t *count)
{
    const char **names = malloc((pubsub->found_count + 1) * sizeof(*names));
    const char *name = pubsub->found.bytes;
    size_t found_count = 0;
    *count = 0;
    if (!names || pubsub->found.has_failed) {
        free(names);
        return NULL;
    }
    for (size_t i = 0; i < pubsub->found_count; i++, name += strlen(name) + 1)
        if (pubsub->question == PUBSUB_NUMPAT || pubsub_may_tell(pubsub, text_of(name)))
            names[found_count++] = name;
    qsort(names, found_count, sizeof(*names), pubsub_compare);
    for (size_t i = 0; i < found_count; i++)
        if (i == 0 || strcmp(names[*count - 1], names[i]) != 0)
            names[(*count)++] = names[i];
    return names;
}

static void pubsub_append_found(const struct pubsub *pubsub, struct buf *to)
{
    size_t count;
    if (pubsub->found.len > PUBSUB_BYTES_MAX) {
        connection_append_error(pubsub->connection, to, ERROR_TOO_LARGE,
                                "the names have over 4 MiB; ask for less with a pattern");
        return;
    }
    const char **names = pubsub_sort(pubsub, &count);
    if (!names)
        connection_append_error(pubsub->connection, to, ERROR_OUT_OF_MEMORY, error_text(ERROR_OUT_OF_MEMORY));
    else
        reply_append_header(to, pubsub->question == PUBSUB_NUMPAT ? ':' : '*', count);
    for (size_t i = 0; i < count && pubsub->question == PUBSUB_CHANNELS; i++)
        reply_append_text(to, names[i]);
    free(names);
}

static void pubsub_append_counts(const struct pubsub *pubsub, struct buf *to)
{
    reply_append_header(to, '*', 2 * (uint64_t)pubsub->count);
    for (unsigned i = 0; i < pubsub->count; i++) {
        const struct pubsub_count *counted = &pubsub->counted[i];
        uint64_t total = 0;
        const struct text name = {pubsub->words.bytes + counted->at, counted->len};
        bool is_told = channel_name_is_valid(name.bytes, name.len) && pubsub_may_tell(pubsub, name);
        for (unsigned j = 0; is_told && j < TRANSPORT_COUNT; j++)
            total += counted->counts[j];
        render_resp_bulk(to, pubsub->words.bytes + counted->at, counted->len);
        reply_append_header(to, ':', total);
    }
}

static void pubsub_surveyed(struct survey *survey)
{
    struct pubsub *pubsub = container_of(survey, struct pubsub, survey);
    struct connection *connection = pubsub->connection;
    if (connection) {
        struct connection_wait *wait = connection->wait;
        wait->pubsub = NULL;
        if (pubsub->question == PUBSUB_NUMSUB)
            pubsub_append_counts(pubsub, &wait->text);
        else
            pubsub_append_found(pubsub, &wait->text);
    }
    pubsub_free(pubsub);
    if (connection)
        connection_wait_end(connection);
}

/* The question. */

static struct pubsub *pubsub_new(const struct resp_call *call, enum pubsub_question question)
{
    const unsigned count = question == PUBSUB_NUMSUB ? call->count - 2 : 0;
    struct pubsub *pubsub = calloc(1, sizeof(*pubsub) + count * sizeof(pubsub->counted[0]));
    if (!pubsub)
        return NULL;
    pubsub->connection = call->connection;
    pubsub->question = question;
    pubsub->count = count;
    if (question == PUBSUB_CHANNELS && call->count == 2)
        glob_compile(&pubsub->glob, "*", 1);
    else if (question == PUBSUB_CHANNELS)
        glob_compile(&pubsub->glob, call->arguments[2].bytes, call->arguments[2].len);
    for (unsigned i = 0; i < count; i++) {
        const struct text *word = &call->arguments[2 + i];
        pubsub->counted[i] = (struct pubsub_count){.at = pubsub->words.len, .len = word->len};
        buf_append(&pubsub->words, word->bytes, word->len);
    }
    if (!pubsub->words.has_failed)
        return pubsub;
    pubsub_free(pubsub);
    return NULL;
}

static void pubsub_ask(const struct resp_call *call, enum pubsub_question question)
{
    struct connection *connection = call->connection;
    struct shard *shard = connection_shard(connection);
    if (memory_refuses(shard)) {
        connection_answer_error(connection, ERROR_CONNECTION_MEMORY, error_text(ERROR_CONNECTION_MEMORY));
        return;
    }
    struct connection_wait *wait = connection_wait_begin(connection);
    if (!wait)
        return;
    wait->pubsub = pubsub_new(call, question);
    if (!wait->pubsub) {
        connection_append_error(connection, &wait->text, ERROR_OUT_OF_MEMORY,
                                error_text(ERROR_OUT_OF_MEMORY));
        connection_wait_end(connection);
        return;
    }
    shard_ask_all(connection_shard(connection), &wait->pubsub->survey, pubsub_visit, pubsub_surveyed);
}

void resp_run_pubsub(const struct resp_call *call)
{
    if (resp_refuses_nobody(call))
        return;
    if (resp_argument_is(call, 1, "CHANNELS") && call->count <= 3) {
        /* A longer pattern costs each shard more than it can be worth. */
        if (call->count == 3 && call->arguments[2].len > GLOB_MAX)
            reply_error(call->connection, "ERR a pattern of channel names has at most 255 bytes");
        else
            pubsub_ask(call, PUBSUB_CHANNELS);
    } else if (resp_argument_is(call, 1, "NUMSUB")) {
        pubsub_ask(call, PUBSUB_NUMSUB);
    } else if (resp_argument_is(call, 1, "NUMPAT") && call->count == 2) {
        pubsub_ask(call, PUBSUB_NUMPAT);
    } else {
        reply_error(call->connection,
                    "ERR unknown subcommand or wrong number of arguments. Try PUBSUB CHANNELS [pattern], "
                    "NUMSUB [channel ...] or NUMPAT.");
    }
}
