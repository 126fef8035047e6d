/* Stands in for libFuzzer in an ordinary build: gives every file of the corpus to the target, whole and cut at each length. */

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In a block of its own size, so that AddressSanitizer sees a read behind it. */
static void replay_bytes(const char *bytes, size_t size)
{
    uint8_t *copy = malloc(size + (size == 0));
    if (!copy)
        abort();
    memcpy(copy, bytes, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static int replay_file(const char *folder, const char *name)
{
    static char bytes[1u << 20];
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (!file)
        return 1;
    size_t size = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    for (size_t cut = 0; cut <= size && cut < 4096; cut++)
        replay_bytes(bytes, cut);
    replay_bytes(bytes, size);
    return 0;
}

int main(int argc, char **argv)
{
    unsigned count = 0;
    DIR *folder = argc > 1 ? opendir(argv[1]) : NULL;
    if (!folder)
        return 1;
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (entry->d_name[0] == '.')
            continue;
        if (replay_file(argv[1], entry->d_name))
            return 1;
        count++;
    }
    closedir(folder);
    printf("replayed %u inputs of %s\n", count, argv[1]);
    return count > 0 ? 0 : 1;
}
