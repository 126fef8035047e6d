/* SPDX-License-Identifier: MIT */
/* Runs a fuzz target over files, whole and cut short, for compilers without libFuzzer. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPLAY_CUTS 4096 /* lengths tried of one file */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In a block of exactly its size, so that AddressSanitizer sees a read beyond it. */
static int replay_bytes(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    if (!copy)
        return -1;
    if (size > 0)
        memcpy(copy, bytes, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    return 0;
}

static int replay_file(const char *path)
{
    int result = -1;
    uint8_t *bytes = NULL;
    long size = 0;
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) || (size = ftell(file)) < 0 || fseek(file, 0, SEEK_SET))
        goto out;
    bytes = malloc(size > 0 ? (size_t)size : 1);
    if (!bytes || fread(bytes, 1, (size_t)size, file) != (size_t)size)
        goto out;
    result = replay_bytes(bytes, (size_t)size);
    for (size_t cut = 0; result == 0 && cut < (size_t)size && cut < REPLAY_CUTS; cut++)
        result = replay_bytes(bytes, cut);
out:
    if (result)
        fprintf(stderr, "%s: cannot be replayed\n", path);
    free(bytes);
    if (file)
        fclose(file);
    return result;
}

int main(int argc, char **argv)
{
    int failed = 0;
    for (int i = 1; i < argc; i++)
        failed |= replay_file(argv[i]);
    printf("%d inputs replayed\n", argc - 1);
    return failed ? 1 : 0;
}
