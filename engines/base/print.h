/* print.h -- keys and values of a dump, for people. */
#ifndef ASSAY_ENGINES_BASE_PRINT_H
#define ASSAY_ENGINES_BASE_PRINT_H

#include <stdio.h>

#include "engines/base/slice.h"

/* In quotes; what is not printable as \xHH; of long ones the beginning and the length. */
void print_bytes(FILE *out, slice bytes);

#endif
