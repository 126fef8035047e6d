/* SPDX-License-Identifier: MIT */
#pragma once

/* Something to be freed once the turn of the loop is over, because callbacks up the stack may still hold it.
 */
struct garbage {
    struct garbage *next;
    void (*release)(struct garbage *garbage);
};
