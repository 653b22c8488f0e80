/*
 * trace.c -- memory, checking, printing and files of traces.
 *
 * File: the struct trace as it stands in memory (capacity_bytes equals used_bytes), its records, and 8 bytes of xxh3
 * over both.  Byte order is the machine's; the version says when the structs change.
 */
#include "crashtest/trace.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common/commands.h"
#include "common/fail.h"
#include "common/outfile.h"

#define MAGIC   "ASSAYTR\n"
#define VERSION 2u

static void start(struct trace *trace, uint64_t capacity_bytes, int memory_fd)
{
    memset(trace, 0, sizeof *trace);
    memcpy(trace->magic, MAGIC, sizeof trace->magic);
    trace->version = VERSION;
    trace->capacity_bytes = capacity_bytes;
    trace->memory_fd = memory_fd;
}

struct trace *trace_create(uint64_t capacity_bytes)
{
    /* Address space only: pages come as the trace fills.  A file of memory, for programs that the child runs by exec. */
    uint64_t bytes = sizeof(struct trace) + capacity_bytes;
    int      fd = memfd_create("assay-trace", MFD_CLOEXEC);
    void    *memory = MAP_FAILED;

    if (fd >= 0 && ftruncate(fd, (off_t)bytes) == 0)
        memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (memory == MAP_FAILED) {
        fail_set("no memory for a trace of %llu bytes: %s", (unsigned long long)capacity_bytes, strerror(errno));
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    start(memory, capacity_bytes, fd);
    return memory;
}

void trace_destroy(struct trace *trace)
{
    if (!trace)
        return;
    close(trace->memory_fd);
    munmap(trace, sizeof *trace + trace->capacity_bytes);
}

void trace_reset(struct trace *trace)
{
    start(trace, trace->capacity_bytes, trace->memory_fd);
}

/* ---- Checking. ---- */

static const char *const kind_words[TRACE_KINDS] = {
    "create", "mkdir", "symlink", "link",  "unlink",   "rmdir", "rename", "exchange",
    "write",  "truncate", "allocate", "zero", "sync", "sync all", "mark", "note",
};

const char *trace_kind_word(unsigned kind)
{
    return kind < TRACE_KINDS ? kind_words[kind] : "?";
}

static bool has_name(unsigned kind)
{
    return kind <= TRACE_EXCHANGE || kind == TRACE_NOTE;
}

static bool has_name2(unsigned kind)
{
    return kind == TRACE_SYMLINK || kind == TRACE_RENAME || kind == TRACE_EXCHANGE;
}

static bool is_entry_name(const char *name, size_t bytes)
{
    return bytes > 0 && bytes < 256 && !memchr(name, '/', bytes) && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static bool is_text(const unsigned char *text, size_t bytes)
{
    return text[bytes] == '\0' && !memchr(text, '\0', bytes);
}

/* NULL, or what is wrong with record `number`, of which `left` bytes are there. */
static const char *record_fault(const struct trace_record *rec, uint64_t number, uint64_t left)
{
    unsigned kind = rec->kind;

    if (rec->bytes < sizeof *rec || rec->bytes > left || rec->bytes % 8)
        return "its length is wrong";
    if (kind >= TRACE_KINDS)
        return "its kind is unknown";
    if (rec->payload_bytes > rec->bytes - sizeof *rec)
        return "its payload is longer than the record";
    if (kind == TRACE_MARK)
        return NULL;
    if (kind != TRACE_SYNC && kind != TRACE_SYNC_ALL) {
        if (rec->offset > TRACE_FILE_BYTES_MAX)
            return "its offset is out of range";
        if (rec->length > TRACE_FILE_BYTES_MAX)
            return "its size is out of range";
    }
    /* Every object is introduced by a record, so numbers cannot run ahead of records.  Readers index arrays with them. */
    if (rec->file > number + TRACE_ROOT + 1 || rec->dir > number + TRACE_ROOT + 1 || rec->dir2 > number + TRACE_ROOT + 1)
        return "it names a file that cannot be";
    if (rec->covers > number)
        return "it covers what comes later";
    if (kind == TRACE_WRITE && rec->payload_bytes != (rec->flags & TRACE_ZEROS ? 0 : rec->length))
        return "its payload is not what was written";
    if (kind == TRACE_WRITE && rec->length > INT32_MAX)
        return "it is longer than a write can be";
    if (has_name(kind)) {
        uint64_t need = (uint64_t)rec->name_bytes + 1 + (has_name2(kind) ? (uint64_t)rec->name2_bytes + 1 : 0);

        if (rec->payload_bytes != need || !is_text(rec->payload, rec->name_bytes) ||
            (has_name2(kind) && !is_text(rec->payload + rec->name_bytes + 1, rec->name2_bytes)))
            return "its names are cut";
        if (kind != TRACE_NOTE && !is_entry_name(trace_name(rec), rec->name_bytes))
            return "its name cannot be";
        if ((kind == TRACE_RENAME || kind == TRACE_EXCHANGE) && !is_entry_name(trace_name2(rec), rec->name2_bytes))
            return "its new name cannot be";
    }
    return NULL;
}

bool trace_settle(struct trace *trace)
{
    uint64_t position = 0, count = 0;

    if (memcmp(trace->magic, MAGIC, sizeof trace->magic) != 0 || trace->version != VERSION) {
        fail_set("not a trace of version %u", VERSION);
        return false;
    }
    if (trace->used_bytes > trace->capacity_bytes) {
        fail_set("the trace says that it holds more than it has room for");
        return false;
    }
    while (position < trace->used_bytes) {
        const struct trace_record *rec = (const void *)((const char *)(trace + 1) + position);
        uint64_t                   left = trace->used_bytes - position;
        const char                *fault = left < sizeof *rec ? "it is cut" : record_fault(rec, count, left);

        if (fault) {
            fail_set("trace record %llu: %s", (unsigned long long)count, fault);
            return false;
        }
        position += rec->bytes;
        count++;
    }
    trace->unsupported_call[sizeof trace->unsupported_call - 1] = '\0';
    trace->count = count; /* a kill may have come between the two stores of trace_end */
    return true;
}

bool trace_is_call(const struct trace_record *rec)
{
    return rec->kind < TRACE_MARK && !(rec->flags & TRACE_BASE);
}

/* ---- For people. ---- */

/* The name each object had last; enough for reading, state.c is the one that knows. */
struct names {
    struct name { uint32_t dir; const char *text; } *of;
    uint64_t size;
};

static void names_learn(struct names *names, const struct trace_record *rec)
{
    if (rec->kind > TRACE_RENAME || rec->kind == TRACE_UNLINK || rec->kind == TRACE_RMDIR || rec->file >= names->size)
        return;
    if (rec->kind == TRACE_RENAME)
        names->of[rec->file] = (struct name){rec->dir2, trace_name2(rec)};
    else
        names->of[rec->file] = (struct name){rec->dir, trace_name(rec)};
}

static void print_path(FILE *out, const struct names *names, uint32_t file, unsigned depth)
{
    if (file == TRACE_ROOT) {
        fputs(depth ? "" : ".", out);
    } else if (file >= names->size || !names->of[file].text || depth > 64) {
        fprintf(out, "#%u", file);
    } else {
        if (names->of[file].dir != TRACE_ROOT) {
            print_path(out, names, names->of[file].dir, depth + 1);
            fputc('/', out);
        }
        fputs(names->of[file].text, out);
    }
}

static void print_entry(FILE *out, const struct names *names, uint32_t dir, const char *name)
{
    if (dir != TRACE_ROOT) {
        print_path(out, names, dir, 1);
        fputc('/', out);
    }
    fputs(name, out);
}

static void print_record(FILE *out, const struct names *names, const struct trace_record *rec)
{
    fputs(rec->flags & TRACE_MAPPED ? (rec->kind == TRACE_SYNC ? "msync" : "stores")
          : rec->flags & TRACE_DATA ? "datasync" : trace_kind_word(rec->kind), out);
    fputc(' ', out);
    switch (rec->kind) {
    case TRACE_CREATE: case TRACE_MKDIR: case TRACE_LINK: case TRACE_UNLINK: case TRACE_RMDIR:
        print_entry(out, names, rec->dir, trace_name(rec));
        if (rec->kind == TRACE_CREATE && rec->flags & TRACE_BASE)
            fprintf(out, " (%llu bytes)", (unsigned long long)rec->length);
        break;
    case TRACE_SYMLINK:
        print_entry(out, names, rec->dir, trace_name(rec));
        fprintf(out, " -> %s", trace_name2(rec));
        break;
    case TRACE_RENAME: case TRACE_EXCHANGE:
        print_entry(out, names, rec->dir, trace_name(rec));
        fputs(rec->kind == TRACE_RENAME ? " to " : " with ", out);
        print_entry(out, names, rec->dir2, trace_name2(rec));
        break;
    case TRACE_WRITE: case TRACE_ZERO: case TRACE_ALLOCATE:
        print_path(out, names, rec->file, 0);
        fprintf(out, " at %llu, %llu bytes", (unsigned long long)rec->offset, (unsigned long long)rec->length);
        break;
    case TRACE_TRUNCATE:
        print_path(out, names, rec->file, 0);
        fprintf(out, " to %llu bytes", (unsigned long long)rec->length);
        break;
    case TRACE_SYNC:
        print_path(out, names, rec->file, 0);
        if (rec->offset || rec->length != UINT64_MAX)
            fprintf(out, " at %llu, %llu bytes", (unsigned long long)rec->offset, (unsigned long long)rec->length);
        break;
    case TRACE_MARK:
        fprintf(out, "%u: %llu, %llu", rec->file, (unsigned long long)rec->offset, (unsigned long long)rec->length);
        break;
    case TRACE_NOTE:
        fputs(trace_name(rec), out);
        break;
    default:
        break;
    }
    fputs(rec->flags & TRACE_ZEROS ? ", zeros" : "", out);
    fputs(rec->flags & TRACE_DSYNC ? ", synced" : "", out);
    fputs(rec->flags & TRACE_PARTIAL ? ", cut short" : "", out);
    fputs(rec->flags & TRACE_BASE ? ", there at the start" : "", out);
    fputs(rec->flags & TRACE_TRAPPED ? ", trapped" : "", out);
    fputs(rec->flags & TRACE_FAILED ? ", failed" : "", out);
}

void trace_print(FILE *out, const struct trace *trace, uint64_t from, uint64_t to)
{
    struct names               names = {calloc(trace->count + 3, sizeof *names.of), trace->count + 3};
    const struct trace_record *rec = trace_first(trace);
    uint64_t                   start_ns = rec ? rec->time_ns : 0;

    if (!names.of)
        names.size = 0; /* numbers instead of names then */
    for (uint64_t number = 0; rec && number < to; number++, rec = trace_next(trace, rec)) {
        if (rec->kind != TRACE_RENAME) /* printed with the name it had */
            names_learn(&names, rec);
        if (number >= from) {
            fprintf(out, "%6llu %12.6f ms  t%-3u ", (unsigned long long)number,
                    (double)(int64_t)(rec->time_ns - start_ns) / 1e6, rec->thread);
            print_record(out, &names, rec);
            fputc('\n', out);
        }
        names_learn(&names, rec);
    }
    free(names.of);
}

/* ---- Files. ---- */

static uint64_t checksum(const struct trace *trace)
{
    return XXH3_64bits(trace, sizeof *trace + trace->used_bytes);
}

bool trace_save(const struct trace *trace, const char *path)
{
    size_t         bytes = sizeof *trace + trace->used_bytes;
    struct trace  *copy = malloc(bytes);
    struct outfile file;
    uint64_t       sum;
    bool           ok;

    if (!copy) {
        fail_set("no memory to save a trace");
        return false;
    }
    memcpy(copy, trace, bytes);
    copy->capacity_bytes = copy->used_bytes;
    copy->memory_fd = -1;
    sum = checksum(copy);
    ok = outfile_open(&file, path);
    if (ok) {
        fwrite(copy, 1, bytes, file.stream);
        fwrite(&sum, 1, sizeof sum, file.stream);
        ok = outfile_commit(&file); /* also tells of a failed write */
    }
    free(copy);
    return ok;
}

struct trace *trace_load(const char *path)
{
    struct trace  header, *trace = NULL;
    uint64_t      sum;
    FILE         *stream = fopen(path, "rb");
    int           memory_fd;

    if (!stream) {
        fail_set("open %s: %s", path, strerror(errno));
        return NULL;
    }
    if (fread(&header, sizeof header, 1, stream) != 1 || memcmp(header.magic, MAGIC, sizeof header.magic) != 0) {
        fail_set("%s: not a trace", path);
        goto out;
    }
    if (header.version != VERSION) {
        fail_set("%s: a trace of version %u, this program reads version %u", path, header.version, VERSION);
        goto out;
    }
    if (header.capacity_bytes != header.used_bytes || fseek(stream, 0, SEEK_END) != 0 || (uint64_t)ftell(stream) < sizeof header + sizeof sum ||
        header.used_bytes != (uint64_t)ftell(stream) - sizeof header - sizeof sum) {
        fail_set("%s: cut, or with something behind its end", path);
        goto out;
    }
    trace = trace_create(header.used_bytes);
    if (!trace)
        goto out;
    rewind(stream);
    memory_fd = trace->memory_fd;
    if (fread(trace, sizeof header + header.used_bytes, 1, stream) != 1 || fread(&sum, sizeof sum, 1, stream) != 1) {
        fail_set("read %s: %s", path, strerror(errno));
        goto bad;
    }
    trace->capacity_bytes = header.used_bytes; /* the size of the mapping, whatever the file says */
    trace->used_bytes = header.used_bytes;
    if (sum != checksum(trace)) {
        fail_set("%s: its checksum is wrong", path);
        goto bad;
    }
    trace->memory_fd = memory_fd;
    if (trace_settle(trace))
        goto out;
    fail_set("%s: %s", path, fail_text());
bad:
    trace->memory_fd = memory_fd;
    trace_destroy(trace);
    trace = NULL;
out:
    fclose(stream);
    return trace;
}

int dump_trace(const char *path)
{
    char          start[sizeof((struct trace *)0)->magic] = "";
    FILE         *stream = fopen(path, "rb");
    bool          ours = stream && fread(start, sizeof start, 1, stream) == 1 && memcmp(start, MAGIC, sizeof start) == 0;
    struct trace *trace;

    if (stream)
        fclose(stream);
    if (!ours)
        return -1;
    trace = trace_load(path);
    if (!trace)
        return 1;
    trace_print(stdout, trace, 0, trace->count);
    trace_destroy(trace);
    if (fflush(stdout) == 0)
        return 0;
    fail_set("write: %s", strerror(errno));
    return 1;
}
