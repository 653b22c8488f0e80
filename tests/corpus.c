/* corpus.c -- gives every file of a folder to a fuzz target once, so that what fuzzing found stays found.  TAP. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void feed(const char *name, int number)
{
    char     path[4096];
    FILE    *file;
    uint8_t *data = NULL;
    long     size = 0;

    snprintf(path, sizeof path, "%s/%s", CORPUS, name);
    file = fopen(path, "rb");
    if (file && fseek(file, 0, SEEK_END) == 0 && (size = ftell(file)) >= 0 && (data = malloc((size_t)size + !size))) {
        rewind(file);
        if (fread(data, 1, (size_t)size, file) == (size_t)size) {
            LLVMFuzzerTestOneInput(data, (size_t)size); /* a bad input ends the program */
            printf("ok %d - %s\n", number, name);
        } else {
            printf("not ok %d - %s cannot be read\n", number, name);
        }
    } else {
        printf("not ok %d - %s cannot be read\n", number, name);
    }
    fflush(stdout);
    free(data);
    if (file)
        fclose(file);
}

int main(void)
{
    struct dirent **names;
    int             count = scandir(CORPUS, &names, NULL, alphasort), fed = 0;

    if (count < 0) {
        printf("1..1\nnot ok 1 - there is no folder %s\n", CORPUS);
        return 1;
    }
    printf("1..%d\n", count - 2 > 0 ? count - 2 : 1);
    for (int i = 0; i < count; i++) {
        if (names[i]->d_name[0] != '.')
            feed(names[i]->d_name, ++fed);
        free(names[i]);
    }
    free(names);
    if (!fed)
        printf("not ok 1 - %s is empty\n", CORPUS);
    return fed == 0;
}
