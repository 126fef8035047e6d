/* SPDX-License-Identifier: MIT */
#include "broker/memory/shelf.h"

#include <Judy.h>
#include <errno.h>
#include <stdlib.h>

_Static_assert(sizeof(Word_t) == sizeof(uint64_t), "an index by offset takes 64 bits");

struct shelf_block {
    uint64_t from;  /* the first offset that it has room for */
    uint64_t taken; /* bit N: the message of offset from + N is here */
    unsigned room;
    struct message *messages[];
};

static unsigned shelf_room(uint64_t count)
{
    return count < 1 ? 1 : count > SHELF_BLOCK ? SHELF_BLOCK : (unsigned)count;
}

static struct shelf_block *shelf_of(PPvoid_t slot)
{
    return slot ? *slot : NULL;
}

int shelf_reserve(struct shelf *shelf, uint64_t offset, uint64_t count)
{
    const struct shelf_block *last = shelf->last;
    if (last && offset - last->from < last->room)
        return 0;
    unsigned room = shelf_room(count);
    struct shelf_block *block = malloc(sizeof(*block) + room * sizeof(block->messages[0]));
    if (!block)
        return -ENOMEM;
    PPvoid_t slot = JudyLIns(&shelf->blocks, offset, PJE0);
    if (!slot || slot == PPJERR) {
        free(block);
        return -ENOMEM;
    }
    *slot = block;
    block->from = offset;
    block->taken = 0;
    block->room = room;
    shelf->last = block;
    if (!shelf->first)
        shelf->first = block;
    return 0;
}

static void shelf_free_block(struct shelf *shelf, struct shelf_block *block)
{
    Word_t from = 0;
    (void)JudyLDel(&shelf->blocks, block->from, PJE0); /* it is there */
    if (block == shelf->first)
        shelf->first = shelf_of(JudyLFirst(shelf->blocks, &from, PJE0));
    from = UINT64_MAX;
    if (block == shelf->last)
        shelf->last = shelf_of(JudyLLast(shelf->blocks, &from, PJE0));
    free(block);
}

void shelf_release(struct shelf *shelf)
{
    if (shelf->last->taken == 0)
        shelf_free_block(shelf, shelf->last);
}

void shelf_put(struct shelf *shelf, struct message *message)
{
    struct shelf_block *block = shelf->last;
    uint64_t index = message->offset - block->from;
    block->messages[index] = message;
    block->taken |= 1ull << index;
}

/* The last block that begins at that offset or before. */
static struct shelf_block *shelf_block_at(const struct shelf *shelf, uint64_t offset)
{
    Word_t from = offset;
    if (!shelf->last || shelf->last->from <= offset)
        return shelf->last;
    return shelf_of(JudyLLast(shelf->blocks, &from, PJE0));
}

void shelf_remove(struct shelf *shelf, const struct message *message)
{
    struct shelf_block *block = shelf->first;
    if (message->offset - block->from >= block->room)
        block = shelf_block_at(shelf, message->offset);
    block->taken &= ~(1ull << (message->offset - block->from));
    if (block->taken == 0)
        shelf_free_block(shelf, block);
}

static struct message *shelf_lowest(const struct shelf_block *block, uint64_t taken)
{
    return taken ? block->messages[__builtin_ctzll(taken)] : NULL;
}

struct message *shelf_find(const struct shelf *shelf, uint64_t offset)
{
    const struct shelf_block *block = shelf_block_at(shelf, offset);
    Word_t from = offset;
    struct message *found = NULL;
    if (block && offset - block->from < block->room)
        found = shelf_lowest(block, block->taken >> (offset - block->from) << (offset - block->from));
    if (found || block == shelf->last)
        return found;
    block = shelf_of(JudyLNext(shelf->blocks, &from, PJE0));
    return block ? shelf_lowest(block, block->taken) : NULL;
}

struct message *shelf_get(const struct shelf *shelf, uint64_t offset)
{
    struct message *found = shelf_find(shelf, offset);
    return found && found->offset == offset ? found : NULL;
}

struct message *shelf_first(const struct shelf *shelf)
{
    return shelf->first ? shelf_lowest(shelf->first, shelf->first->taken) : NULL;
}
