/* SPDX-License-Identifier: MIT */
#include "broker/redis/reader.h"

#include <stddef.h>

/* Elements of one array; the largest that we ask for are pages of SCAN and of history. */
#define READER_ELEMENTS_MAX 65536
#define READER_IDLE_BYTES (1u << 20)

static redisReplyObjectFunctions reader_objects;
static void *(*reader_create_array)(const redisReadTask *, int);

/* hiredis would allocate for as many elements as a hostile length says. */
static void *reader_create_checked_array(const redisReadTask *task, int elements)
{
    return elements > READER_ELEMENTS_MAX ? NULL : reader_create_array(task, elements);
}

redisReader *reader_new(void)
{
    redisReader *reader = redisReaderCreate();
    if (!reader)
        return NULL;
    if (!reader_create_array) {
        reader_objects = *reader->fn;
        reader_create_array = reader_objects.createArray;
        reader_objects.createArray = reader_create_checked_array;
    }
    reader->fn = &reader_objects;
    reader->maxbuf = READER_IDLE_BYTES;
    return reader;
}
