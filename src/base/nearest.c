/* SPDX-License-Identifier: MIT */
#include "base/nearest.h"

#include <string.h>

#define WORD_MAX 63u
#define DISTANCE_MAX 3u

/* Levenshtein's distance from `wanted` to the word, or with one more to its first parts: --histry is nearer
 * to history-size than the number of letters says. */
static unsigned nearest_distance(const char *wanted, const char *word)
{
    unsigned row[WORD_MAX + 1];
    size_t len = strlen(word);
    for (unsigned j = 0; j <= len; j++)
        row[j] = j;
    for (unsigned i = 1; *wanted; i++, wanted++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= len; j++) {
            unsigned above = row[j];
            unsigned best = diagonal + (*wanted != word[j - 1]);
            if (above + 1 < best)
                best = above + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
            diagonal = above;
        }
    }
    unsigned least = row[len];
    for (size_t j = 1; j < len; j++)
        if (word[j] == '-' && row[j] + 1 < least)
            least = row[j] + 1;
    return least;
}

void nearest_offer(struct nearest *nearest, const char *word)
{
    size_t len = strlen(nearest->wanted);
    if (len > WORD_MAX || strlen(word) > WORD_MAX)
        return;
    unsigned distance = nearest_distance(nearest->wanted, word);
    /* With half of it changed a short word is any other. */
    if (distance > DISTANCE_MAX || 2 * distance > len || (nearest->word && distance >= nearest->distance))
        return;
    nearest->word = word;
    nearest->distance = distance;
}
