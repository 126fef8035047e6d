/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_SHARD_GARBAGE_H
#define SLUICE_SHARD_GARBAGE_H

/* Something to be freed once the turn of the loop is over, because callbacks up the stack may still hold it.
 */
struct garbage {
    struct garbage *next;
    void (*release)(struct garbage *garbage);
};

#endif
