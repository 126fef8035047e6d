/* SPDX-License-Identifier: MIT */
#pragma once

/* Which of the words that there are somebody may have meant by one that there is not. Any thread. */

#include <stddef.h>

/* Set `wanted`, offer every word, and `word` is the one that takes the fewest keystrokes to come to; NULL
 * when none is near. The words are borrowed. */
struct nearest {
    const char *wanted;
    const char *word;
    unsigned distance; /* of `word` */
};

void nearest_offer(struct nearest *nearest, const char *word);
