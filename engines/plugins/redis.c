/*
 * redis.c -- Redis through hiredis: a private redis-server process inside the store, or servers that run already (redis.server),
 * Redis Cluster included.  Written against redis-server 7.0.15 and hiredis 0.14; the server is looked for at run time.
 *
 * Private     Open starts redis-server as a child in our process group: configuration on the command line, no TCP port, a unix
 *             socket, the multi-part AOF of Redis 7.  Close shuts it down.  It dies with the process that opened the store, also by
 *             SIGKILL (PR_SET_PDEATHSIG; the thread that is its parent lives as long as the store), and inherits the descriptor of
 *             LOCK, so that the store stays locked until the last byte that it wrote is written: the next open waits for that.
 * Files       STORE, LOCK, MADE: base/storedir.h.  data/: the server's folder: appendonly.aof.* (AOF), dump.rdb (tier none), redis.sock,
 *             redis.log (of the last open).  appendonly.aof.manifest says that the AOF is what counts, else dump.rdb does; a store
 *             that changes between tier none and the others is written anew in the other form at open, then the old removed.
 *             appenddirname is "." and not appendonlydir: Redis renames each new base from one folder into the other and syncs
 *             only the latter, which POSIX does not promise to keep the rename (crash runs under drop-unsynced lost it).
 *             Redis makes an empty store where it finds neither manifest nor dump, so MADE comes when one of them is durable: a
 *             loss later is corruption, and so is one of a file that the manifest names, or a base cut to 0 bytes.  A log of
 *             commands (.incr.aof) that was cut to 0 bytes is one that nobody has written to: that is not told.
 * Tiers       (redis.io/docs/management/persistence, and aof.c of 7.0, flushAppendOnlyFile, called from beforeSleep before any
 *             reply of that turn of the event loop is sent; checked with strace)
 *   none      appendonly no, save "".  sync = SAVE: dump.rdb is written, fsynced, renamed, its directory synced.  So what is left
 *             is the store as of the last sync, and a clean close (SHUTDOWN SAVE) keeps all.
 *   process   appendonly yes, appendfsync no: write(2) to the AOF before the reply.
 *             A rewrite closes the file before and syncs it later, in another thread; so Redis's own rewrites are off, and we
 *             start them, by the same rule (auto-aof-rewrite-percentage and -min-size), when all is synced and nobody writes.
 *   ordered   refused, and so is interval: the AOF has no checksums, so where pages of the tail that was not synced survive a power
 *             loss in any order there may be no prefix that loads (see Loss: 11 of 98 states in `appendfsync no` under ext4).
 *             Redis's own everysec is not even `process`: while a sync is under way it holds back write(2), for up to 2 s
 *             ("delays writes", redis.conf), behind acknowledged writes.
 *   commit    appendfsync always: fdatasync before the replies of that turn, so concurrent commits share one.
 *   sync      (process) CONFIG SET appendfsync always, a write of one key of database 1, which makes Redis
 *             fdatasync the AOF and so everything before, and back.  A failing fsync ends the server, by its own rule: KV_IO.
 *             What was found at open is synced file by file before it is served.
 *   cut       Redis 7.0 forgets that a command which it cuts off was inside of a transaction: MULTI stays without its EXEC, and what
 *             is written from then on is lost at the start after the next, acknowledged and synced or not (valkey-io/valkey#4342;
 *             our crash runs found it with appendfsync no; not in commit, whose log is the same).  A second load of the file does
 *             see the open MULTI and cuts it off.  So the server is stopped and started anew until loading cut nothing.
 *             redis.reload_cut=false leaves it at one.
 * Loss        The AOF has no checksums.  Where a power loss leaves a tail that was not synced with holes, not merely shorter, Redis
 *             refuses to load it ("Bad file format", mended by redis-check-aof --fix) or, inside of a long value, does not notice;
 *             the persistence page says so ("What should I do if my AOF gets corrupted?").  Crash runs held every tier under kill,
 *             drop-unsynced, drop-unsynced-ext4, data-first and names-first.  Where pages of a tail survive in any order, a store
 *             now and then does not open: under ext4 11 of 98 states with appendfsync no and 3 of 529 in `commit` (values up to 40 KiB,
 *             a write that was under way), under sizes-first 38 of 79 and 11 of 82, under posix-minimal 9 of 125 and 4 of 237.
 *             Full disk: Redis 7.0 does not survive one.  A write that its AOF has no room for is acknowledged, and after a rewrite
 *             (whose new file is opened without O_APPEND) what it cuts off and writes again leaves a hole of zeros, so that the
 *             next start fails (also redis/redis#14372).  So writes are KV_NO_SPACE while the file system has room for the AOF
 *             and a rewrite under way, and 8 MiB more.  Where others fill the disk, MISCONF is KV_NO_SPACE too.
 * Named       redis.server=HOST:PORT or /PATH/OF/SOCKET; for a cluster any of its nodes, or several, with commas.  A password comes
 *             from $REDISCLI_AUTH, as for redis-cli.  What is durable is the server's: an open reads appendonly and appendfsync of
 *             each master, and a tier that they do not keep is refused (or set by redis.configure=true, which also stays).
 *             always keeps every tier that is not refused, "no" keeps process, and none on a single server.
 *             sync is then BGREWRITEAOF or BGSAVE, waited for: others may use the server, and a
 *             switch of appendfsync would be theirs too.  The store's directory holds only its identity; keys that a server holds
 *             when the directory is made are refused, kept or flushed (redis.found).  One database (redis.database) is used, all of it.
 * Cluster     Slots by CRC16 with hash tags, CLUSTER SLOTS, MOVED, ASK, TRYAGAIN, CLUSTERDOWN and LOADING are followed until
 *             redis.timeout.  A read whose node is lost is tried again.  A write whose connection broke after it was sent may have
 *             happened: that is KV_IO, and the store takes no more.  Replication is asynchronous: a failover may lose acknowledged
 *             writes in every tier (cluster specification, "Write safety").
 * Batch       MULTI ... EXEC, which the AOF has in one piece.  In a cluster a batch whose keys share a slot runs as a script; others
 *             are KV_UNSUPPORTED: no command is atomic across slots.
 * Modify      A script that sets the new value only if the old is still there; else once more.
 * Reads       GET; MGET of redis.pipeline keys, in a cluster as many GETs in flight to each node.  Scan: SCAN, whose repetitions are
 *             taken out by a 128-bit hash of each key seen (16 bytes a key); in a cluster passes over all masters until the slots
 *             were at rest during one.
 * More than   Load generators on several hosts against one server, each in a database of its own, so that each can check every value
 * one machine that it reads; their results are added without loss (in a cluster, which has one database: one generator):
 *                 host1$ assay bench --engine redis --set redis.server=db:6379 --set redis.database=1 --seed 1 ... --out 1.json
 *                 host2$ assay bench --engine redis --set redis.server=db:6379 --set redis.database=2 --seed 2 ... --out 2.json
 *                 assay merge --together 1.json 2.json --out all.json && assay report all.json --out report
 * Defaults    Those of redis.conf 7.0 but for what the tiers say: auto-aof-rewrite-percentage 100, -min-size 64mb,
 *             aof-use-rdb-preamble, rdbcompression, one I/O thread.  Redis holds everything in memory and has no cache: the memory
 *             budget is not given to it (redis.maxmemory is a limit past which writes are KV_NO_MEMORY; nothing is evicted).
 * Not done    TLS, ACL users, Sentinel, reads from replicas, snapshots.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <hiredis/hiredis.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common/child.h"
#include "common/clock.h"
#include "engines/base/storedir.h"
#include "engines/engine.h"

#define FORMAT        1u
#define DATA          "data"
#define AOF           "appendonly.aof." /* what the names of its files begin with */
#define MANIFEST      AOF "manifest"
#define RDB           "dump.rdb"
#define SOCKET        "redis.sock"
#define LOG           "redis.log"
#define SLOTS         16384
#define NO_NODE       UINT16_MAX
#define NODES_MAX     1024
#define QUEUE_MAX     1024 /* commands of a transaction in flight: their replies must fit the socket's buffer */
#define BATCH_BYTES   (UINT64_C(512) << 20)
#define BUSY_WAIT_NS  (250 * NS_PER_MS) /* for a lock whose owner lives */
#define GONE_WAIT_NS  (60 * NS_PER_S)   /* for one whose owner died, and whose server is being taken down by the kernel */
#define DISK_RESERVE_BYTES (8 << 20)
#define CREDIT_BYTES_MAX   (INT64_C(64) << 20)
#define RETRY_NS      (10 * NS_PER_MS)
#define PATH_BYTES    4096

enum option_row {
    OPTION_SERVER, OPTION_DATABASE, OPTION_CONFIGURE, OPTION_FOUND, OPTION_TIMEOUT, OPTION_PIPELINE, OPTION_BINARY, OPTION_MAXMEMORY,
    OPTION_IO_THREADS, OPTION_REWRITE_PERCENTAGE, OPTION_REWRITE_MIN, OPTION_RDB_PREAMBLE, OPTION_RDB_COMPRESSION, OPTION_RELOAD_CUT
};
enum { FOUND_REFUSE, FOUND_KEEP, FOUND_FLUSH };

/* The private server. */
struct server {
    pthread_t       keeper;            /* its parent: a parent-death signal comes when the *thread* that forked ends */
    bool            started;
    pthread_mutex_t lock;
    pthread_cond_t  changed;
    pid_t           pid;               /* 0: not yet forked, -1: could not */
    bool            ended;
    int             status;            /* as of waitpid */
    const char     *binary;
    char          **arguments;
    int             data_fd, log_fd, lock_fd;
    sigset_t        signals;           /* what the opener had blocked */
};

/* Only ever added, so that a number stays valid. */
struct node {
    char *host;
    int   port; /* 0: host is the path of a unix socket */
};

struct redis_store {
    struct kv_store       base;
    struct storedir       dir;
    enum kv_tier          tier;
    union kv_value        option[KV_OPTIONS_MAX];
    char                  data[PATH_BYTES];
    char                  socket[64];
    struct server         server;
    bool                  named, cluster;
    bool                  own_rewrites;  /* there is an AOF of ours, whose rewrites we start: see `process` */
    int64_t               credit;        /* atomic: bytes that may be written before the file system is asked for room again */
    uint64_t              rewrite_bytes; /* atomic: what the rewrite under way may still write */
    pthread_rwlock_t      nodes_lock;
    struct node           node[NODES_MAX];
    size_t                nodes;
    uint16_t              owner[SLOTS];  /* atomic; of each slot, in a cluster */
    uint64_t              refreshed_ns;  /* atomic */
    pthread_mutex_t       control_lock;  /* before quiet */
    struct redis_session *control;       /* under control_lock, once the store is open */
    pthread_rwlock_t      quiet;         /* held by writes, and exclusively while a rewrite begins */
    uint64_t              unseen_bytes;  /* atomic; written since the size of the AOF was looked at */
    uint64_t              stalls, stall_ns;
    pthread_mutex_t       failure_lock;
    bool                  failed;        /* atomic */
    char                  sentence[FAIL_BYTES_MAX];
};

struct redis_session {
    struct kv_session base;
    redisContext     *link[NODES_MAX];
    struct buf        new;      /* of modify */
    redisReply      **replies;  /* of get_many in a cluster: redis.pipeline of each */
    kv_status        *statuses;
    uint16_t         *asked;
};

/* Words are lent. */
struct command {
    int          words;
    const char **word;
    size_t      *bytes;
    bool         writes;
};

static struct redis_store *store_of(struct kv_session *session)
{
    return (struct redis_store *)session->store;
}

static struct redis_session *session_of(struct kv_session *session)
{
    return (struct redis_session *)session;
}

/* One of up to COMMAND_WORDS_MAX slices. */
#define COMMAND_WORDS_MAX 8
#define COMMAND(writes, ...)                                                                                          \
    command_of(writes, (slice[]){__VA_ARGS__}, sizeof((slice[]){__VA_ARGS__}) / sizeof(slice),                        \
               (const char *[COMMAND_WORDS_MAX]){0}, (size_t[COMMAND_WORDS_MAX]){0})

static struct command command_of(bool writes, const slice *from, size_t words, const char **word, size_t *bytes)
{
    for (size_t i = 0; i < words; i++) {
        word[i] = from[i].size ? from[i].data : "";
        bytes[i] = from[i].size;
    }
    return (struct command){(int)words, word, bytes, writes};
}
#define WORD(text) slice_of(text, sizeof(text) - 1)

/* ---- Failures. ---- */

/* Keeps the first sentence for every later write. */
static kv_status fail_store(struct redis_store *store)
{
    pthread_mutex_lock(&store->failure_lock);
    if (!store->failed) {
        snprintf(store->sentence, sizeof store->sentence, "%s", fail_text());
        __atomic_store_n(&store->failed, true, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&store->failure_lock);
    return KV_IO;
}

static kv_status check_store(struct redis_store *store)
{
    return __atomic_load_n(&store->failed, __ATOMIC_ACQUIRE) ? kv_fail(KV_IO, "%s", store->sentence) : KV_OK;
}

/* Of the server's log, "" when there is none. */
static void last_line(struct redis_store *store, char *line, size_t size)
{
    char        path[PATH_BYTES + 16], *newline;
    struct stat about;
    ssize_t     got = 0;
    int         fd;

    *line = '\0';
    snprintf(path, sizeof path, "%s/" LOG, store->data);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &about) == 0)
        got = pread(fd, line, size - 1, about.st_size > (off_t)size - 1 ? about.st_size - (off_t)size + 1 : 0);
    if (fd >= 0)
        close(fd);
    line[got > 0 ? got : 0] = '\0';
    while (got > 0 && (line[got - 1] == '\n' || line[got - 1] == '\r'))
        line[--got] = '\0';
    newline = strrchr(line, '\n');
    if (newline)
        memmove(line, newline + 1, strlen(newline));
}

static bool server_ended(struct server *server)
{
    bool ended;

    pthread_mutex_lock(&server->lock);
    ended = server->ended;
    pthread_mutex_unlock(&server->lock);
    return ended;
}

/* Says how it ended, waiting a moment for that to be known: its connections break first. */
static kv_status server_gone(struct redis_store *store, const char *what)
{
    struct child_result how = {CHILD_EXITED, 0};
    uint64_t            until_ns = clock_now_ns() + NS_PER_S;
    char                line[400];

    while (!server_ended(&store->server) && clock_now_ns() < until_ns)
        clock_sleep_until_ns(clock_now_ns() + NS_PER_MS);
    last_line(store, line, sizeof line);
    if (!*line && server_ended(&store->server))
        snprintf(line, sizeof line, "(with nothing: redis.binary=%.300s may be no redis-server)", store->server.binary);
    if (!server_ended(&store->server))
        return kv_fail(KV_IO, "redis-server does not answer: %s", what);
    if (WIFSIGNALED(store->server.status))
        how = (struct child_result){CHILD_SIGNALLED, WTERMSIG(store->server.status)};
    else
        how.code = WEXITSTATUS(store->server.status);
    return kv_fail(KV_IO, "redis-server (process %d) %s; its log ends: %s", (int)store->server.pid, child_text(how), line);
}

static bool starts_with(const char *text, const char *word)
{
    return strncmp(text, word, strlen(word)) == 0;
}

/* An error reply as a status. */
static kv_status refused(struct redis_store *store, const char *text, bool writes)
{
    kv_status status = KV_IO;

    if (starts_with(text, "OOM "))
        status = KV_NO_MEMORY;
    else if (starts_with(text, "MISCONF ") && (strstr(text, "No space left") || strstr(text, "quota")))
        status = KV_NO_SPACE;
    else if (starts_with(text, "NOAUTH ") || starts_with(text, "WRONGPASS ") || starts_with(text, "NOPERM ") ||
             starts_with(text, "ERR DB index") || starts_with(text, "ERR SELECT"))
        status = KV_INVALID;
    else if (starts_with(text, "WRONGTYPE "))
        status = KV_MISMATCH;
    kv_fail(status, "redis-server says: %.*s", (int)strcspn(text, "\r\n"), text);
    return status == KV_IO && writes ? fail_store(store) : status;
}

/* ---- Nodes and slots. ---- */

/* CRC16 (XMODEM), the hash of the cluster specification; of the part between the first braces, if there is one. */
static unsigned slot_of(slice key)
{
    static uint16_t      table[256]; /* the same whoever fills it */
    static bool          filled;
    const unsigned char *bytes = key.data;
    const unsigned char *open = memchr(bytes, '{', key.size), *shut;
    size_t               size = key.size;
    uint16_t             crc = 0;

    if (!__atomic_load_n(&filled, __ATOMIC_ACQUIRE)) {
        for (unsigned i = 0; i < 256; i++) {
            uint16_t row = (uint16_t)(i << 8);
            for (int bit = 0; bit < 8; bit++)
                row = (uint16_t)(row & 0x8000 ? row << 1 ^ 0x1021 : row << 1);
            __atomic_store_n(&table[i], row, __ATOMIC_RELAXED);
        }
        __atomic_store_n(&filled, true, __ATOMIC_RELEASE);
    }
    if (open && (shut = memchr(open + 1, '}', (size_t)(bytes + size - open - 1))) && shut > open + 1) {
        bytes = open + 1;
        size = (size_t)(shut - bytes);
    }
    for (size_t i = 0; i < size; i++)
        crc = (uint16_t)(crc << 8 ^ __atomic_load_n(&table[(crc >> 8 ^ bytes[i]) & 255], __ATOMIC_RELAXED));
    return crc % SLOTS;
}

/* The number of an address, a new one if need be. */
static unsigned node_at(struct redis_store *store, const char *host, size_t host_bytes, int port)
{
    unsigned number;

    pthread_rwlock_wrlock(&store->nodes_lock);
    for (number = 0; number < store->nodes; number++) {
        const struct node *node = &store->node[number];
        if (node->port == port && strlen(node->host) == host_bytes && memcmp(node->host, host, host_bytes) == 0)
            break;
    }
    if (number == store->nodes) {
        if (number < NODES_MAX && (store->node[number].host = strndup(host, host_bytes))) {
            store->node[number].port = port;
            store->nodes++;
        } else {
            number = NO_NODE;
        }
    }
    pthread_rwlock_unlock(&store->nodes_lock);
    return number;
}

static size_t node_count(struct redis_store *store)
{
    size_t count;

    pthread_rwlock_rdlock(&store->nodes_lock);
    count = store->nodes;
    pthread_rwlock_unlock(&store->nodes_lock);
    return count;
}

static struct node node_of(struct redis_store *store, unsigned number)
{
    struct node node;

    pthread_rwlock_rdlock(&store->nodes_lock);
    node = store->node[number]; /* the host is never freed before the store */
    pthread_rwlock_unlock(&store->nodes_lock);
    return node;
}

static unsigned owner_of(struct redis_store *store, int slot)
{
    unsigned owner = store->cluster && slot >= 0 ? __atomic_load_n(&store->owner[slot], __ATOMIC_RELAXED) : 0;

    return owner == NO_NODE ? 0 : owner; /* which will say MOVED, or CLUSTERDOWN */
}

static char *node_text(struct redis_store *store, unsigned number, char out[300])
{
    struct node node = node_of(store, number);

    if (!store->named)
        snprintf(out, 300, "redis-server");
    else if (node.port)
        snprintf(out, 300, "redis-server %.200s:%d", node.host, node.port);
    else
        snprintf(out, 300, "redis-server at %.200s", node.host);
    return out;
}

/* ---- Links. ---- */

static void link_close(struct redis_session *session, unsigned number)
{
    if (session->link[number])
        redisFree(session->link[number]);
    session->link[number] = NULL;
}

/* All that was appended, without a SIGPIPE when the other side is gone, which hiredis's own write would raise. */
static bool link_flush(redisContext *link)
{
    size_t bytes = sdslen(link->obuf), at = 0;

    while (at < bytes) {
        ssize_t sent = send(link->fd, link->obuf + at, bytes - at, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0) {
            snprintf(link->errstr, sizeof link->errstr, "%s", strerror(errno));
            return false;
        }
        at += (size_t)sent;
    }
    sdsfree(link->obuf);
    link->obuf = sdsempty();
    return link->obuf != NULL;
}

static kv_status link_append(redisContext *link, const struct command *command)
{
    return redisAppendCommandArgv(link, command->words, command->word, command->bytes) == REDIS_OK
               ? KV_OK
               : kv_fail(KV_NO_MEMORY, "no memory for a command");
}

static redisReply *link_read(redisContext *link)
{
    void *reply = NULL;

    return redisGetReply(link, &reply) == REDIS_OK ? reply : NULL;
}

static redisContext *connect_to(struct redis_store *store, struct node node)
{
    uint64_t       timeout_ns = store->option[OPTION_TIMEOUT].u64;
    struct timeval timeout = {(time_t)(timeout_ns / NS_PER_S), (suseconds_t)(timeout_ns % NS_PER_S / 1000)};
    redisContext  *link;

    if (!store->named)
        return redisConnectUnix(node.host);
    link = node.port ? redisConnectWithTimeout(node.host, node.port, timeout)
                     : redisConnectUnixWithTimeout(node.host, timeout);
    if (link && !link->err) {
        redisSetTimeout(link, timeout);
        if (node.port)
            redisEnableKeepAlive(link);
    }
    return link;
}

/* A command that a new link begins with. */
static kv_status link_greet(struct redis_store *store, redisContext *link, unsigned number, const struct command *command)
{
    kv_status   status = link_append(link, command);
    redisReply *reply = status == KV_OK && link_flush(link) ? link_read(link) : NULL;
    char        name[300];

    if (status == KV_OK && !reply)
        status = kv_fail(KV_IO, "%s: %s", node_text(store, number, name), link->errstr);
    else if (reply && reply->type == REDIS_REPLY_ERROR)
        status = refused(store, reply->str, false);
    freeReplyObject(reply);
    return status;
}

/* KV_IO when nobody is there. */
static kv_status link_open(struct redis_session *session, unsigned number, redisContext **out)
{
    struct redis_store *store = store_of(&session->base);
    struct node         node = node_of(store, number);
    const char         *password = store->named ? getenv("REDISCLI_AUTH") : NULL;
    redisContext       *link = session->link[number];
    kv_status           status = KV_OK;
    char                name[300], database[24];

    *out = link;
    if (link)
        return KV_OK;
    link = connect_to(store, node);
    if (!link)
        return kv_fail(KV_NO_MEMORY, "no memory for a connection");
    if (link->err) {
        status = kv_fail(KV_IO, "connect to %s: %s", node_text(store, number, name), link->errstr);
        redisFree(link);
        return status;
    }
    fcntl(link->fd, F_SETFD, FD_CLOEXEC);
    snprintf(database, sizeof database, "%" PRIu64, store->option[OPTION_DATABASE].u64);
    struct command auth = COMMAND(false, WORD("AUTH"), slice_text(password ? password : ""));
    struct command select = COMMAND(false, WORD("SELECT"), slice_text(database));
    if (password && *password)
        status = link_greet(store, link, number, &auth);
    if (status == KV_OK && store->named && *database != '0')
        status = link_greet(store, link, number, &select);
    if (status != KV_OK) {
        redisFree(link);
        return status;
    }
    *out = session->link[number] = link;
    return KV_OK;
}

/* ---- One command. ---- */

/* Reads the map of slots from the first node that answers; keeps the old one when none does. */
static void refresh_slots(struct redis_session *session)
{
    struct redis_store *store = store_of(&session->base);
    struct command      command = COMMAND(false, WORD("CLUSTER"), WORD("SLOTS"));
    redisReply         *reply = NULL;

    __atomic_store_n(&store->refreshed_ns, clock_now_ns(), __ATOMIC_RELAXED);
    for (unsigned number = 0; number < node_count(store); number++) {
        struct node   asked = node_of(store, number);
        redisContext *link;

        if (link_open(session, number, &link) != KV_OK)
            continue;
        if (link_append(link, &command) != KV_OK || !link_flush(link) || !(reply = link_read(link))) {
            link_close(session, number);
            continue;
        }
        for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
            const redisReply *row = reply->element[i], *master;
            unsigned          owner;
            bool              told;

            if (row->type != REDIS_REPLY_ARRAY || row->elements < 3 || row->element[2]->type != REDIS_REPLY_ARRAY ||
                row->element[2]->elements < 2)
                continue;
            master = row->element[2];
            told = master->element[0]->type == REDIS_REPLY_STRING && master->element[0]->len && *master->element[0]->str != '?';
            owner = told ? node_at(store, master->element[0]->str, (size_t)master->element[0]->len, (int)master->element[1]->integer)
                         : node_at(store, asked.host, strlen(asked.host), (int)master->element[1]->integer);
            for (long long slot = row->element[0]->integer; slot >= 0 && slot < SLOTS && slot <= row->element[1]->integer; slot++)
                __atomic_store_n(&store->owner[slot], (uint16_t)owner, __ATOMIC_RELAXED);
        }
        freeReplyObject(reply);
        return;
    }
}

/* Asked for by every command that was sent away, done a few times a second. */
static void refresh_slots_now_and_then(struct redis_session *session)
{
    struct redis_store *store = store_of(&session->base);

    if (store->cluster && clock_now_ns() - __atomic_load_n(&store->refreshed_ns, __ATOMIC_RELAXED) > 100 * NS_PER_MS)
        refresh_slots(session);
}

/* "MOVED 3999 10.0.0.1:6381", "ASK 3999 :6381" (the host that was asked).  NO_NODE when it is not that. */
static unsigned redirected(struct redis_store *store, const char *text, unsigned asked, unsigned *slot)
{
    const char *address = strchr(text, ' '), *colon;
    struct node node = node_of(store, asked);
    size_t      host_bytes;

    if (!address || sscanf(address, " %u", slot) != 1 || *slot >= SLOTS || !(address = strchr(address + 1, ' ')) ||
        !(colon = strrchr(++address, ':')))
        return NO_NODE;
    host_bytes = (size_t)(colon - address);
    if (host_bytes == 0)
        return node_at(store, node.host, strlen(node.host), atoi(colon + 1));
    return node_at(store, address, host_bytes, atoi(colon + 1));
}

/* Whether an error reply means "elsewhere" or "later"; *number and *asking then say where, and *wait whether it is worth a pause. */
static bool follow(struct redis_session *session, const redisReply *reply, unsigned *number, bool *asking, bool *wait)
{
    struct redis_store *store = store_of(&session->base);
    unsigned            slot, other;

    *asking = *wait = false;
    if (reply->type != REDIS_REPLY_ERROR)
        return false;
    if (starts_with(reply->str, "MOVED ") || starts_with(reply->str, "ASK ")) {
        if ((other = redirected(store, reply->str, *number, &slot)) == NO_NODE)
            return false;
        *number = other;
        *asking = reply->str[0] == 'A';
        if (!*asking) {
            __atomic_store_n(&store->owner[slot], (uint16_t)other, __ATOMIC_RELAXED);
            refresh_slots_now_and_then(session);
        }
        return true;
    }
    *wait = true;
    return starts_with(reply->str, "TRYAGAIN ") || starts_with(reply->str, "CLUSTERDOWN ") || starts_with(reply->str, "LOADING ") ||
           (store->cluster && starts_with(reply->str, "READONLY "));
}

/* The connection broke.  KV_OK: try once more. */
static kv_status lost(struct redis_session *session, unsigned number, const struct command *command, bool sent, uint64_t until_ns)
{
    struct redis_store *store = store_of(&session->base);
    char                name[300], why[200];
    kv_status           status;

    snprintf(why, sizeof why, "%s", session->link[number] ? session->link[number]->errstr : fail_text());
    link_close(session, number);
    if (!store->named) {
        status = server_gone(store, why);
        return command->writes ? fail_store(store) : status;
    }
    node_text(store, number, name);
    if (command->writes && sent) {
        kv_fail(KV_IO, "%s: %s, after a write was sent: nobody knows whether it happened", name, why);
        return fail_store(store);
    }
    if (clock_now_ns() > until_ns) {
        status = kv_fail(KV_IO, "%s is lost: %s", name, why);
        return command->writes ? fail_store(store) : status;
    }
    clock_sleep_until_ns(clock_now_ns() + RETRY_NS);
    if (store->cluster)
        refresh_slots(session);
    return KV_OK;
}

/* The reply is the caller's, and no error. */
static kv_status call_from(struct redis_session *session, int slot, unsigned number, bool asking, const struct command *command,
                           redisReply **out)
{
    struct redis_store *store = store_of(&session->base);
    struct command      ask = COMMAND(false, WORD("ASKING"));
    uint64_t            until_ns = 0;
    redisReply         *reply, *leave;
    redisContext       *link;
    bool                sent, wait;
    char                why[200];

    for (;;) {
        kv_status status = link_open(session, number, &link);

        if (status != KV_OK && status != KV_IO)
            return status;
        if (status == KV_OK && ((asking && link_append(link, &ask) != KV_OK) || link_append(link, command) != KV_OK))
            return KV_NO_MEMORY;
        sent = status == KV_OK;
        reply = leave = NULL;
        if (sent && link_flush(link) && (!asking || (leave = link_read(link))))
            reply = link_read(link);
        freeReplyObject(leave);
        if (reply && reply->type != REDIS_REPLY_ERROR) {
            *out = reply;
            return KV_OK;
        }
        if (!until_ns)
            until_ns = clock_now_ns() + store->option[OPTION_TIMEOUT].u64;
        if (!reply) {
            TRY(lost(session, number, command, sent, until_ns));
            number = owner_of(store, slot);
            asking = false;
            continue;
        }
        snprintf(why, sizeof why, "%s", reply->str);
        if (!follow(session, reply, &number, &asking, &wait) || clock_now_ns() > until_ns) {
            freeReplyObject(reply);
            return refused(store, why, command->writes);
        }
        freeReplyObject(reply);
        if (wait) {
            clock_sleep_until_ns(clock_now_ns() + NS_PER_MS);
            refresh_slots_now_and_then(session);
            number = owner_of(store, slot);
        }
    }
}

static kv_status call(struct redis_session *session, int slot, const struct command *command, redisReply **out)
{
    return call_from(session, slot, owner_of(store_of(&session->base), slot), false, command, out);
}

static int slot_for(struct redis_store *store, slice key)
{
    return store->cluster ? (int)slot_of(key) : -1;
}

/* To one node, not by slot. */
static kv_status call_node(struct redis_session *session, unsigned number, const struct command *command, redisReply **out)
{
    return call_from(session, -1, number, false, command, out);
}

/* "name:value" of INFO; KV_UNKNOWN when it is not there or no number. */
static uint64_t info_figure(const redisReply *info, const char *name)
{
    size_t bytes = strlen(name);

    for (const char *line = info->type == REDIS_REPLY_STRING ? info->str : NULL; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, bytes) == 0 && line[bytes] == ':')
            return isdigit((unsigned char)line[bytes + 1]) ? strtoull(line + bytes + 1, NULL, 10) : KV_UNKNOWN;
    }
    return KV_UNKNOWN;
}

/* The value of a setting, as the server has it. */
static kv_status config_get(struct redis_session *session, unsigned number, const char *name, char out[256])
{
    struct command command = COMMAND(false, WORD("CONFIG"), WORD("GET"), slice_text(name));
    redisReply    *reply;

    TRY(call_node(session, number, &command, &reply));
    *out = '\0';
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements >= 2 && reply->element[1]->type == REDIS_REPLY_STRING)
        snprintf(out, 256, "%s", reply->element[1]->str);
    freeReplyObject(reply);
    return KV_OK;
}

static kv_status config_set(struct redis_session *session, unsigned number, const char *name, const char *value)
{
    struct command command = COMMAND(true, WORD("CONFIG"), WORD("SET"), slice_text(name), slice_text(value));
    redisReply    *reply;

    TRY(call_node(session, number, &command, &reply));
    freeReplyObject(reply);
    return KV_OK;
}

static kv_status info(struct redis_session *session, unsigned number, const char *section, redisReply **out)
{
    struct command command = COMMAND(false, WORD("INFO"), slice_text(section));

    return call_node(session, number, &command, out);
}

/* The masters of a cluster; the one server else. */
static size_t masters(struct redis_store *store, unsigned number[NODES_MAX])
{
    bool   seen[NODES_MAX] = {false};
    size_t count = 0;

    if (!store->cluster) {
        number[0] = 0;
        return 1;
    }
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        unsigned owner = __atomic_load_n(&store->owner[slot], __ATOMIC_RELAXED);
        if (owner < NODES_MAX && !seen[owner]) {
            seen[owner] = true;
            number[count++] = owner;
        }
    }
    return count;
}

/* ---- Rewrites and syncs.  All under control_lock. ---- */

/* Waits for a rewrite or a save in the background, without a limit, as long as the server answers. */
static kv_status wait_for_child(struct redis_session *session, unsigned number, const char *status_name)
{
    char wanted[64];

    snprintf(wanted, sizeof wanted, "\n%s:ok", status_name);
    for (;;) {
        redisReply *reply;
        bool        busy, good;

        TRY(info(session, number, "persistence", &reply));
        busy = info_figure(reply, "aof_rewrite_in_progress") == 1 || info_figure(reply, "aof_rewrite_scheduled") == 1 ||
               info_figure(reply, "rdb_bgsave_in_progress") == 1;
        good = strstr(reply->str, wanted) != NULL;
        freeReplyObject(reply);
        if (!busy && good)
            return KV_OK;
        if (!busy)
            return kv_fail(KV_IO, "redis-server failed to write its data anew (%s is not ok); its log says why", status_name);
        clock_sleep_until_ns(clock_now_ns() + 2 * NS_PER_MS);
    }
}

/* Makes the server fdatasync its AOF: see `sync` in the banner. */
static kv_status sync_aof(struct redis_session *session)
{
    const struct command steps[] = {
        COMMAND(true, WORD("CONFIG"), WORD("SET"), WORD("appendfsync"), WORD("always")),
        COMMAND(true, WORD("SELECT"), WORD("1")),
        COMMAND(true, WORD("SET"), WORD("sync"), WORD("1")),
        COMMAND(true, WORD("SELECT"), WORD("0")),
    };
    struct redis_store *store = store_of(&session->base);
    redisContext       *link;
    kv_status           status = link_open(session, 0, &link);
    redisReply         *reply = NULL;

    for (size_t i = 0; i < sizeof steps / sizeof *steps && status == KV_OK; i++)
        status = link_append(link, &steps[i]);
    if (status == KV_NO_MEMORY)
        return status;
    if (status != KV_OK || !link_flush(link))
        return lost(session, 0, &(struct command){.writes = true}, true, 0);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        if (!(reply = link_read(link)))
            return lost(session, 0, &(struct command){.writes = true}, true, 0);
        if (reply->type == REDIS_REPLY_ERROR && status == KV_OK)
            status = refused(store, reply->str, true);
        freeReplyObject(reply);
    }
    if (status == KV_OK)
        status = config_set(session, 0, "appendfsync", "no");
    return status;
}

/* Bytes that may be written, beside a reserve and what a rewrite under way needs; negative when there are none. */
static int64_t room(const struct redis_store *store)
{
    struct statvfs about;

    if (statvfs(store->data, &about) != 0)
        return CREDIT_BYTES_MAX; /* the write itself will say what is wrong */
    return (int64_t)((uint64_t)about.f_bavail * about.f_frsize) - DISK_RESERVE_BYTES -
           (int64_t)__atomic_load_n(&store->rewrite_bytes, __ATOMIC_RELAXED);
}

/* Before a write. */
static kv_status admit(struct redis_store *store, uint64_t bytes)
{
    int64_t wanted = (int64_t)bytes + 64, left;

    TRY(check_store(store));
    if (!store->own_rewrites || __atomic_sub_fetch(&store->credit, wanted, __ATOMIC_RELAXED) >= 0)
        return KV_OK;
    left = room(store) - wanted;
    if (left < 0)
        return kv_fail(KV_NO_SPACE, "%s: no space left for %" PRIu64 " bytes, beside the %d MiB that are kept free for the AOF",
                       store->data, bytes, DISK_RESERVE_BYTES >> 20);
    __atomic_store_n(&store->credit, left / 2 < CREDIT_BYTES_MAX ? left / 2 : CREDIT_BYTES_MAX, __ATOMIC_RELAXED);
    return KV_OK;
}

/* Begins a rewrite of the AOF.  Ours: nobody writes while everything before is synced and the new file becomes the one. */
static kv_status rewrite_aof(struct redis_session *session, unsigned number)
{
    struct redis_store *store = store_of(&session->base);
    struct command      command = COMMAND(false, WORD("BGREWRITEAOF"));
    redisReply         *reply;
    uint64_t            since_ns = clock_now_ns(), memory;
    kv_status           status = KV_OK;

    if (store->own_rewrites) {
        TRY(info(session, number, "memory", &reply));
        memory = info_figure(reply, "used_memory");
        freeReplyObject(reply);
        if (room(store) < (int64_t)memory)
            return kv_fail(KV_NO_SPACE, "%s: no space left to write the AOF anew, which may take %" PRIu64 " bytes", store->data, memory);
        __atomic_store_n(&store->rewrite_bytes, memory, __ATOMIC_RELAXED);
        __atomic_store_n(&store->credit, 0, __ATOMIC_RELAXED);
        pthread_rwlock_wrlock(&store->quiet);
        status = store->tier == KV_TIER_COMMIT ? KV_OK : sync_aof(session);
    }
    if (status == KV_OK && (status = call_node(session, number, &command, &reply)) == KV_OK)
        freeReplyObject(reply);
    if (store->own_rewrites) {
        pthread_rwlock_unlock(&store->quiet);
        __atomic_add_fetch(&store->stalls, 1, __ATOMIC_RELAXED);
        __atomic_add_fetch(&store->stall_ns, clock_now_ns() - since_ns, __ATOMIC_RELAXED);
    }
    return status;
}

/* Redis's own rule, where we start the rewrites. */
static kv_status rewrite_if_due(struct redis_session *session)
{
    struct redis_store *store = store_of(&session->base);
    uint64_t            size, base, min = store->option[OPTION_REWRITE_MIN].u64;
    redisReply         *reply;
    bool                busy, due;
    kv_status           status = KV_OK;

    TRY(info(session, 0, "persistence", &reply));
    size = info_figure(reply, "aof_current_size");
    base = info_figure(reply, "aof_base_size");
    busy = info_figure(reply, "aof_rewrite_in_progress") != 0;
    due = size != KV_UNKNOWN && size >= min &&
          (double)(size - base) >= (double)(base ? base : 1) / 100 * (double)store->option[OPTION_REWRITE_PERCENTAGE].u64;
    freeReplyObject(reply);
    if (!busy)
        __atomic_store_n(&store->rewrite_bytes, 0, __ATOMIC_RELAXED);
    if (due && !busy)
        status = rewrite_aof(session, 0);
    return status == KV_NO_SPACE ? KV_OK : status; /* the log goes on growing, until writes are refused */
}

/* After a write, outside of `quiet`. */
static kv_status written(struct redis_store *store, uint64_t bytes)
{
    uint64_t  look_bytes = store->option[OPTION_REWRITE_MIN].u64 / 4;
    kv_status status = KV_OK;

    if (!store->own_rewrites || !store->option[OPTION_REWRITE_PERCENTAGE].u64)
        return KV_OK;
    if (__atomic_add_fetch(&store->unseen_bytes, bytes + 32, __ATOMIC_RELAXED) < look_bytes ||
        pthread_mutex_trylock(&store->control_lock) != 0)
        return KV_OK;
    __atomic_store_n(&store->unseen_bytes, 0, __ATOMIC_RELAXED);
    status = rewrite_if_due(store->control);
    pthread_mutex_unlock(&store->control_lock);
    return status;
}

static kv_status simple(struct redis_session *session, unsigned number, const char *word)
{
    struct command command = COMMAND(true, slice_text(word));
    redisReply    *reply;

    TRY(call_node(session, number, &command, &reply));
    freeReplyObject(reply);
    return KV_OK;
}

/* A dump for tier none; one that fails leaves the old one, and is no failure of the store when it was for want of room. */
static kv_status save(struct redis_session *session)
{
    struct redis_store *store = store_of(&session->base);
    struct command      command = COMMAND(false, WORD("SAVE"));
    redisReply         *reply;
    kv_status           status = call_node(session, 0, &command, &reply);
    char                line[400];

    if (status == KV_OK) {
        freeReplyObject(reply);
        return KV_OK;
    }
    last_line(store, line, sizeof line);
    if (room(store) < 0)
        return kv_fail(KV_NO_SPACE, "no space left for a dump of the store; redis-server's log ends: %s", line);
    kv_fail(KV_IO, "redis-server cannot write a dump of the store; its log ends: %s", line);
    return fail_store(store);
}

/* What a named server does: it cannot be told to sync its log, but a rewrite is synced whole. */
static kv_status sync_named(struct redis_session *session, unsigned number)
{
    struct redis_store *store = store_of(&session->base);
    char                aof[256], fsync[256];
    kv_status           status;

    TRY(config_get(session, number, "appendonly", aof));
    TRY(config_get(session, number, "appendfsync", fsync));
    if (strcmp(aof, "yes") == 0 && strcmp(fsync, "always") == 0)
        return KV_OK;
    /* One that is under way may have begun before the last write. */
    TRY(wait_for_child(session, number, strcmp(aof, "yes") == 0 ? "aof_last_bgrewrite_status" : "rdb_last_bgsave_status"));
    status = simple(session, number, strcmp(aof, "yes") == 0 ? "BGREWRITEAOF" : "BGSAVE");
    if (status == KV_OK)
        status = wait_for_child(session, number, strcmp(aof, "yes") == 0 ? "aof_last_bgrewrite_status" : "rdb_last_bgsave_status");
    return status == KV_IO ? (fail_store(store), status) : status;
}

static kv_status sync_locked(struct redis_session *session)
{
    struct redis_store *store = store_of(&session->base);
    unsigned            number[NODES_MAX];
    size_t              count;

    TRY(check_store(store));
    if (!store->named)
        return store->tier == KV_TIER_NONE ? save(session) : store->tier == KV_TIER_COMMIT ? KV_OK : sync_aof(session);
    count = masters(store, number);
    for (size_t i = 0; i < count; i++)
        TRY(sync_named(session, number[i]));
    return KV_OK;
}

static kv_status sync_store(struct redis_store *store)
{
    kv_status status;

    pthread_mutex_lock(&store->control_lock);
    status = sync_locked(store->control);
    pthread_mutex_unlock(&store->control_lock);
    return status;
}

static kv_status redis_sync(struct kv_session *base)
{
    return sync_store(store_of(base));
}

static kv_status redis_compact(struct kv_session *base)
{
    struct redis_store *store = store_of(base);
    unsigned            number[NODES_MAX];
    size_t              count = masters(store, number);
    kv_status           status = check_store(store);
    char                aof[256];

    pthread_mutex_lock(&store->control_lock);
    for (size_t i = 0; i < count && status == KV_OK; i++) {
        status = config_get(store->control, number[i], "appendonly", aof);
        if (status == KV_OK && strcmp(aof, "yes") != 0) {
            status = store->named ? KV_OK : save(store->control);
            continue;
        }
        if (status == KV_OK)
            status = wait_for_child(store->control, number[i], "aof_last_bgrewrite_status");
        if (status == KV_OK)
            status = rewrite_aof(store->control, number[i]);
        if (status == KV_OK)
            status = wait_for_child(store->control, number[i], "aof_last_bgrewrite_status");
    }
    pthread_mutex_unlock(&store->control_lock);
    return status;
}

/* ---- Reads and writes. ---- */

static kv_status write_one(struct redis_session *session, slice key, uint64_t bytes, const struct command *command, redisReply **out)
{
    struct redis_store *store = store_of(&session->base);
    kv_status           status;

    TRY(admit(store, bytes));
    if (store->own_rewrites)
        pthread_rwlock_rdlock(&store->quiet);
    status = call(session, slot_for(store, key), command, out);
    if (store->own_rewrites)
        pthread_rwlock_unlock(&store->quiet);
    return status;
}

static kv_status redis_put(struct kv_session *base, slice key, slice value)
{
    struct command command = COMMAND(true, WORD("SET"), key, value);
    redisReply    *reply;

    TRY(write_one(session_of(base), key, key.size + value.size, &command, &reply));
    freeReplyObject(reply);
    return written(store_of(base), key.size + value.size);
}

static kv_status redis_del(struct kv_session *base, slice key)
{
    struct command command = COMMAND(true, WORD("DEL"), key);
    redisReply    *reply;

    TRY(write_one(session_of(base), key, key.size, &command, &reply));
    freeReplyObject(reply);
    return written(store_of(base), key.size);
}

static slice reply_slice(const redisReply *reply)
{
    return slice_of(reply->str, (size_t)reply->len);
}

static kv_status redis_get(struct kv_session *base, slice key, kv_visit *visit, void *arg)
{
    struct command command = COMMAND(false, WORD("GET"), key);
    redisReply    *reply;
    bool           found;

    TRY(call(session_of(base), slot_for(store_of(base), key), &command, &reply));
    found = reply->type == REDIS_REPLY_STRING;
    if (found)
        visit(arg, key, reply_slice(reply));
    freeReplyObject(reply);
    return found ? KV_OK : KV_NOT_FOUND;
}

/* MGET: one answer for all, in their order. */
static kv_status get_together(struct redis_session *session, const slice *keys, size_t count, redisReply **out)
{
    const char  **word = malloc((count + 1) * sizeof *word);
    size_t       *bytes = malloc((count + 1) * sizeof *bytes);
    redisContext *link;
    redisReply   *reply = NULL;
    kv_status     status = word && bytes ? KV_OK : kv_fail(KV_NO_MEMORY, "no memory for %zu keys", count);
    uint64_t      until_ns = clock_now_ns() + store_of(&session->base)->option[OPTION_TIMEOUT].u64;

    if (status == KV_OK) {
        word[0] = "MGET";
        bytes[0] = 4;
        for (size_t i = 0; i < count; i++) {
            word[i + 1] = keys[i].data;
            bytes[i + 1] = keys[i].size;
        }
    }
    while (status == KV_OK && !reply) {
        status = link_open(session, 0, &link);
        if (status == KV_OK && redisAppendCommandArgv(link, (int)count + 1, word, bytes) != REDIS_OK)
            status = kv_fail(KV_NO_MEMORY, "no memory for a command");
        else if (status == KV_OK && link_flush(link))
            reply = link_read(link);
        if (!reply && (status == KV_OK || status == KV_IO))
            status = lost(session, 0, &(struct command){0}, true, until_ns);
    }
    free(word);
    free(bytes);
    if (status == KV_OK && reply->type == REDIS_REPLY_ERROR)
        status = refused(store_of(&session->base), reply->str, false);
    else if (status == KV_OK && (reply->type != REDIS_REPLY_ARRAY || reply->elements != count))
        status = kv_fail(KV_IO, "redis-server answered MGET with something else");
    if (status != KV_OK)
        freeReplyObject(reply);
    *out = status == KV_OK ? reply : NULL;
    return status;
}

/* GETs to the owners of their slots, all in flight; those that were sent elsewhere are asked for again, alone.  Replies are the
 * caller's, NULL where the status is not KV_OK. */
static void get_scattered(struct redis_session *session, const slice *keys, size_t count, redisReply **replies, kv_status *statuses)
{
    struct redis_store *store = store_of(&session->base);
    redisContext       *link;

    for (size_t i = 0; i < count; i++) {
        struct command command = COMMAND(false, WORD("GET"), keys[i]);
        unsigned       owner = owner_of(store, slot_for(store, keys[i]));

        replies[i] = NULL;
        statuses[i] = link_open(session, owner, &link) == KV_OK ? link_append(link, &command) : KV_IO;
        if (statuses[i] == KV_OK)
            session->asked[i] = (uint16_t)owner;
        else
            session->asked[i] = NO_NODE;
    }
    for (size_t i = 0; i < count; i++) {
        link = session->asked[i] == NO_NODE ? NULL : session->link[session->asked[i]];
        if (link && sdslen(link->obuf) && !link_flush(link))
            link_close(session, session->asked[i]);
    }
    for (size_t i = 0; i < count; i++) {
        link = session->asked[i] == NO_NODE ? NULL : session->link[session->asked[i]];
        if (link && !(replies[i] = link_read(link)))
            link_close(session, session->asked[i]); /* which leaves the later ones without an answer too */
    }
    for (size_t i = 0; i < count; i++) {
        struct command command = COMMAND(false, WORD("GET"), keys[i]);
        unsigned       number = session->asked[i];
        bool           asking = false, wait;
        int            slot = slot_for(store, keys[i]);

        if (replies[i] && replies[i]->type != REDIS_REPLY_ERROR)
            continue;
        if (!replies[i] || !follow(session, replies[i], &number, &asking, &wait))
            number = owner_of(store, slot);
        freeReplyObject(replies[i]);
        replies[i] = NULL;
        statuses[i] = call_from(session, slot, number, asking, &command, &replies[i]);
    }
}

static kv_status redis_get_many(struct kv_session *base, const slice *keys, size_t count, kv_visit_many *visit, void *arg)
{
    struct redis_session *session = session_of(base);
    struct redis_store   *store = store_of(base);
    size_t                depth = store->option[OPTION_PIPELINE].u64;
    redisReply           *together = NULL;

    for (size_t at = 0; at < count; at += depth) {
        size_t part = count - at < depth ? count - at : depth;

        if (store->cluster)
            get_scattered(session, keys + at, part, session->replies, session->statuses);
        else
            TRY(get_together(session, keys + at, part, &together));
        for (size_t i = 0; i < part; i++) {
            redisReply *reply = store->cluster ? session->replies[i] : together->element[i];
            kv_status   status = store->cluster ? session->statuses[i] : KV_OK;

            if (status == KV_OK && reply->type != REDIS_REPLY_STRING)
                status = KV_NOT_FOUND;
            visit(arg, at + i, status, status == KV_OK ? reply_slice(reply) : (slice){0});
            if (store->cluster)
                freeReplyObject(reply);
        }
        if (!store->cluster)
            freeReplyObject(together);
    }
    return KV_OK;
}

/* MULTI, the writes, EXEC.  EXEC goes alone: while answers of a long queue are still being sent, its own could overtake the
 * write to the AOF. */
static kv_status transaction(struct redis_session *session, const struct kv_write *writes, size_t count)
{
    const struct command multi = COMMAND(true, WORD("MULTI")), exec = COMMAND(true, WORD("EXEC")), writing = {.writes = true};
    struct redis_store *store = store_of(&session->base);
    redisContext       *link;
    redisReply         *reply;
    kv_status           status = link_open(session, 0, &link);
    char                why[200] = "";

    if (status != KV_OK)
        return status == KV_IO ? lost(session, 0, &writing, true, 0) : status;
    for (size_t at = 0, end; at < count + 2; at = end) { /* MULTI is 0, EXEC is count + 1 */
        end = at == count + 1 ? count + 2 : at + QUEUE_MAX < count + 1 ? at + QUEUE_MAX : count + 1;
        for (size_t i = at; i < end; i++) {
            const struct kv_write *one = i && i <= count ? &writes[i - 1] : NULL;
            struct command         put = COMMAND(true, WORD("SET"), one ? one->key : (slice){0}, one ? one->value : (slice){0});
            struct command         del = COMMAND(true, WORD("DEL"), one ? one->key : (slice){0});

            status = link_append(link, i == 0 ? &multi : !one ? &exec : one->kind == KV_PUT ? &put : &del);
            if (status != KV_OK) {
                link_close(session, 0); /* which forgets what was queued */
                return status;
            }
        }
        if (!link_flush(link))
            return lost(session, 0, &writing, true, 0);
        for (size_t i = at; i < end; i++) {
            if (!(reply = link_read(link)))
                return lost(session, 0, &writing, true, 0);
            if (reply->type == REDIS_REPLY_ERROR && !*why)
                snprintf(why, sizeof why, "%s", reply->str); /* EXEC will do nothing then */
            freeReplyObject(reply);
        }
    }
    return *why ? refused(store, why, true) : KV_OK;
}

/* A script's writes are one piece in the AOF, as a transaction's are, and one command for MOVED and ASK. */
static kv_status scripted(struct redis_session *session, const struct kv_write *writes, size_t count)
{
    static const char script[] = "for i=1,#KEYS do local v=ARGV[i] if v:byte(1)==80 then redis.call('SET',KEYS[i],v:sub(2)) "
                                 "else redis.call('DEL',KEYS[i]) end end return 1";
    struct redis_store *store = store_of(&session->base);
    int                 slot = slot_for(store, writes[0].key);
    char               *values, *next, number[24];
    const char        **word = malloc((2 * count + 3) * sizeof *word);
    size_t             *bytes = malloc((2 * count + 3) * sizeof *bytes), total = 0;
    kv_status           status;

    for (size_t i = 0; i < count; i++)
        total += writes[i].kind == KV_PUT ? writes[i].value.size + 1 : 1;
    values = next = malloc(total);
    snprintf(number, sizeof number, "%zu", count);
    if (word && bytes && values) {
        word[0] = "EVAL", bytes[0] = 4;
        word[1] = script, bytes[1] = sizeof script - 1;
        word[2] = number, bytes[2] = strlen(number);
        for (size_t i = 0; i < count; i++) {
            word[3 + i] = writes[i].key.data;
            bytes[3 + i] = writes[i].key.size;
            word[3 + count + i] = next;
            *next++ = writes[i].kind == KV_PUT ? 'P' : 'D';
            if (writes[i].kind == KV_PUT && writes[i].value.size)
                next = (char *)memcpy(next, writes[i].value.data, writes[i].value.size) + writes[i].value.size;
            bytes[3 + count + i] = (size_t)(next - word[3 + count + i]);
        }
        struct command command = {.words = (int)(2 * count + 3), .word = word, .bytes = bytes, .writes = true};
        redisReply    *reply;
        if ((status = call(session, slot, &command, &reply)) == KV_OK)
            freeReplyObject(reply);
    } else {
        status = kv_fail(KV_NO_MEMORY, "no memory for a batch");
    }
    free(word);
    free(bytes);
    free(values);
    return status;
}

static kv_status redis_write(struct kv_session *base, const struct kv_write *writes, size_t count)
{
    struct redis_session *session = session_of(base);
    struct redis_store   *store = store_of(base);
    uint64_t              bytes = 0;
    kv_status             status;

    if (count == 1)
        return writes->kind == KV_PUT ? redis_put(base, writes->key, writes->value) : redis_del(base, writes->key);
    for (size_t i = 0; i < count; i++) {
        bytes += writes[i].key.size + (writes[i].kind == KV_PUT ? writes[i].value.size : 0);
        if (store->cluster && slot_of(writes[i].key) != slot_of(writes[0].key))
            return kv_fail(KV_UNSUPPORTED, "a batch over the slots %u and %u of a cluster: Redis has no transaction over nodes; "
                           "give its keys one {hash tag}, or use a single server", slot_of(writes[0].key), slot_of(writes[i].key));
    }
    if (bytes > BATCH_BYTES)
        return kv_fail(KV_TOO_LARGE, "a batch of more than 512 MiB");
    TRY(admit(store, bytes + 64 * count));
    if (store->own_rewrites)
        pthread_rwlock_rdlock(&store->quiet);
    status = store->cluster ? scripted(session, writes, count) : transaction(session, writes, count);
    if (store->own_rewrites)
        pthread_rwlock_unlock(&store->quiet);
    return status == KV_OK ? written(store, bytes + 32 * count) : status;
}

static kv_status redis_modify(struct kv_session *base, slice key, kv_change *change, void *arg)
{
    static const char script[] = "local v=redis.call('GET',KEYS[1]) if v then if ARGV[1]~='1' or v~=ARGV[2] then return 0 end "
                                 "elseif ARGV[1]~='0' then return 0 end redis.call('SET',KEYS[1],ARGV[3]) return 1";
    struct redis_session *session = session_of(base);
    struct redis_store   *store = store_of(base);
    bool                  done = false;
    kv_status             status = check_store(store);

    while (status == KV_OK && !done) {
        struct command get = COMMAND(false, WORD("GET"), key), set;
        redisReply    *old, *reply;
        slice          before = {0};
        bool           found;

        TRY(call(session, slot_for(store, key), &get, &old));
        found = old->type == REDIS_REPLY_STRING;
        if (found)
            before = reply_slice(old);
        session->new.size = 0;
        status = change(arg, found ? &before : NULL, &session->new);
        if (status == KV_OK) {
            set = COMMAND(true, WORD("EVAL"), WORD(script), WORD("1"), key, found ? WORD("1") : WORD("0"), before,
                          buf_slice(&session->new));
            status = write_one(session, key, key.size + session->new.size, &set, &reply);
        }
        if (status == KV_OK) {
            done = reply->type == REDIS_REPLY_INTEGER && reply->integer == 1;
            freeReplyObject(reply);
        }
        freeReplyObject(old);
    }
    if (status == KV_OK)
        status = written(store, key.size + session->new.size);
    if (session->new.capacity > (1u << 20))
        buf_free(&session->new);
    return status;
}

/* ---- Scans. ---- */

/* The keys that were visited, by 128 bits of hash: SCAN may give a key twice when its table changes size. */
struct seen {
    XXH128_hash_t *slot;
    size_t         slots, count; /* slots: a power of two */
};

static kv_status seen_grow(struct seen *seen)
{
    struct seen wider = {calloc(seen->slots ? seen->slots * 2 : 1024, sizeof *seen->slot), seen->slots ? seen->slots * 2 : 1024, 0};

    if (!wider.slot)
        return kv_fail(KV_NO_MEMORY, "no memory to tell which keys a scan has visited");
    for (size_t i = 0; i < seen->slots; i++) {
        size_t at = seen->slot[i].low64 & (wider.slots - 1);
        if (!(seen->slot[i].low64 | seen->slot[i].high64))
            continue;
        while (wider.slot[at].low64 | wider.slot[at].high64)
            at = (at + 1) & (wider.slots - 1);
        wider.slot[at] = seen->slot[i];
        wider.count++;
    }
    free(seen->slot);
    *seen = wider;
    return KV_OK;
}

/* *is_new: for the first time. */
static kv_status seen_add(struct seen *seen, slice key, bool *is_new)
{
    XXH128_hash_t hash = XXH3_128bits(key.data, key.size);
    size_t        at;

    hash.high64 |= 1; /* none is all zero */
    if (seen->count >= seen->slots / 2)
        TRY(seen_grow(seen));
    for (at = hash.low64 & (seen->slots - 1); seen->slot[at].low64 | seen->slot[at].high64; at = (at + 1) & (seen->slots - 1)) {
        if (XXH128_isEqual(seen->slot[at], hash)) {
            *is_new = false;
            return KV_OK;
        }
    }
    seen->slot[at] = hash;
    seen->count++;
    *is_new = true;
    return KV_OK;
}

struct scan {
    struct redis_session *session;
    struct seen           seen;
    kv_visit             *visit;
    void                 *arg;
    bool                  more;
    slice                 keys[KV_BATCH_MAX]; /* some, new, whose values are asked for together */
    size_t                count;
};

struct scan_values {
    struct scan *scan;
    kv_status    status;
};

static void scan_value(void *arg, size_t position, kv_status status, slice value)
{
    struct scan_values *values = arg;
    struct scan        *scan = values->scan;

    if (status == KV_OK && scan->more)
        scan->more = scan->visit(scan->arg, scan->keys[position], value);
    else if (status != KV_OK && status != KV_NOT_FOUND && status != KV_MISMATCH && values->status == KV_OK)
        values->status = status; /* not found: deleted meanwhile; mismatch: no string, so nothing of ours */
}

/* Everything on one node. */
static kv_status scan_node(struct scan *scan, unsigned number)
{
    struct redis_store *store = store_of(&scan->session->base);
    char                cursor[32] = "0", count[24];
    struct scan_values  values = {scan, KV_OK};

    snprintf(count, sizeof count, "%" PRIu64, store->option[OPTION_PIPELINE].u64);
    do {
        struct command    command = COMMAND(false, WORD("SCAN"), slice_text(cursor), WORD("COUNT"), slice_text(count));
        redisReply       *reply;
        const redisReply *keys;
        kv_status         status = KV_OK;

        TRY(call_node(scan->session, number, &command, &reply));
        if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 || reply->element[0]->type != REDIS_REPLY_STRING) {
            freeReplyObject(reply);
            return kv_fail(KV_IO, "redis-server answered SCAN with something else");
        }
        snprintf(cursor, sizeof cursor, "%s", reply->element[0]->str);
        keys = reply->element[1];
        for (size_t i = 0; i < keys->elements && status == KV_OK && scan->more;) {
            bool is_new;

            for (scan->count = 0; i < keys->elements && scan->count < KV_BATCH_MAX && status == KV_OK; i++) {
                slice key = reply_slice(keys->element[i]);
                if ((status = seen_add(&scan->seen, key, &is_new)) == KV_OK && is_new)
                    scan->keys[scan->count++] = key;
            }
            if (status == KV_OK && scan->count)
                status = redis_get_many(&scan->session->base, scan->keys, scan->count, scan_value, &values);
        }
        freeReplyObject(reply);
        if (status == KV_OK)
            status = values.status;
        if (status != KV_OK)
            return status;
    } while (scan->more && strcmp(cursor, "0") != 0);
    return KV_OK;
}

/* A number that changes whenever a slot changes hands, and *open: a slot is on its way from one master to another. */
static kv_status slots_state(struct redis_session *session, uint64_t *epoch, bool *open)
{
    struct redis_store *store = store_of(&session->base);
    struct command      nodes = COMMAND(false, WORD("CLUSTER"), WORD("NODES"));
    struct command      about = COMMAND(false, WORD("CLUSTER"), WORD("INFO"));
    unsigned            number[NODES_MAX];
    size_t              count;
    redisReply         *reply;

    refresh_slots(session);
    count = masters(store, number);
    *epoch = XXH3_64bits(store->owner, sizeof store->owner);
    *open = false;
    for (size_t i = 0; i < count; i++) {
        TRY(call_node(session, number[i], &nodes, &reply));
        for (const char *at = reply->str; at && (at = strchr(at, '[')) && !*open; at++)
            *open = true; /* "[93-<-id]", in its own line */
        freeReplyObject(reply);
        TRY(call_node(session, number[i], &about, &reply));
        *epoch = *epoch * 31 + info_figure(reply, "cluster_my_epoch");
        freeReplyObject(reply);
    }
    return KV_OK;
}

static kv_status redis_scan(struct kv_session *base, slice first, kv_visit *visit, void *arg)
{
    struct redis_store *store = store_of(base);
    struct scan        *scan = malloc(sizeof *scan);
    unsigned            number[NODES_MAX];
    uint64_t            before = 0, after = 0;
    bool                open_before = false, open_after = false;
    kv_status           status = KV_OK;

    (void)first;
    if (!scan)
        return kv_fail(KV_NO_MEMORY, "no memory for a scan");
    *scan = (struct scan){.session = session_of(base), .visit = visit, .arg = arg, .more = true};
    do { /* a key that moved from a master not yet seen to one already seen is found by the next pass */
        size_t count;

        if (store->cluster)
            status = slots_state(scan->session, &before, &open_before);
        count = masters(store, number);
        for (size_t i = 0; i < count && status == KV_OK && scan->more; i++)
            status = scan_node(scan, number[i]);
        if (store->cluster && status == KV_OK)
            status = slots_state(scan->session, &after, &open_after);
    } while (status == KV_OK && scan->more && (before != after || open_before || open_after));
    free(scan->seen.slot);
    free(scan);
    return status;
}

/* ---- Figures and settings. ---- */

/* Of the files whose names begin so: allocated, or else their sizes. */
static uint64_t files_bytes(const struct redis_store *store, const char *begin, bool allocated)
{
    DIR           *folder = opendir(store->data);
    struct dirent *entry;
    struct stat    about;
    uint64_t       bytes = 0;

    while (folder && (entry = readdir(folder)))
        if (starts_with(entry->d_name, begin) && fstatat(dirfd(folder), entry->d_name, &about, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(about.st_mode))
            bytes += allocated ? (uint64_t)about.st_blocks * 512 : (uint64_t)about.st_size;
    if (folder)
        closedir(folder);
    return bytes;
}

static void redis_stats(struct kv_store *base, kv_figure *figure, void *arg)
{
    struct redis_store *store = (struct redis_store *)base;
    struct command      size = COMMAND(false, WORD("DBSIZE"));
    unsigned            number[NODES_MAX];
    size_t              count = masters(store, number);
    uint64_t            keys = 0, memory = 0, rewrites = 0, debt = 0, log_bytes = 0;
    redisReply         *reply;
    bool                known = true;

    pthread_mutex_lock(&store->control_lock);
    for (size_t i = 0; i < count && known; i++) {
        known = call_node(store->control, number[i], &size, &reply) == KV_OK;
        if (known) {
            keys += (uint64_t)reply->integer;
            freeReplyObject(reply);
        }
        known = known && info(store->control, number[i], "memory", &reply) == KV_OK;
        if (known) {
            memory += info_figure(reply, "used_memory");
            freeReplyObject(reply);
        }
        known = known && info(store->control, number[i], "persistence", &reply) == KV_OK;
        if (known) {
            uint64_t aof = info_figure(reply, "aof_current_size"), done = info_figure(reply, "aof_rewrites");
            rewrites += done == KV_UNKNOWN ? 0 : done;
            log_bytes += aof == KV_UNKNOWN ? 0 : aof;
            debt += info_figure(reply, "aof_rewrite_in_progress") == 1 && aof != KV_UNKNOWN ? aof : 0;
            freeReplyObject(reply);
        }
    }
    pthread_mutex_unlock(&store->control_lock);
    if (!known)
        return;
    figure(arg, "live_keys", keys);
    figure(arg, "memory_bytes", memory);
    if (!store->named)
        figure(arg, "disk_bytes", files_bytes(store, "", true));
    figure(arg, "debt_bytes", debt);
    figure(arg, "aof_bytes", log_bytes);
    figure(arg, "merges", rewrites); /* rewrites of the AOF */
    figure(arg, "stalls", __atomic_load_n(&store->stalls, __ATOMIC_RELAXED));
    figure(arg, "stall_ns", __atomic_load_n(&store->stall_ns, __ATOMIC_RELAXED));
}

static void redis_settings(struct kv_store *base, kv_setting *setting, void *arg)
{
    static const char *const names[] = {
        "appendonly", "appendfsync", "save", "auto-aof-rewrite-percentage", "auto-aof-rewrite-min-size", "aof-use-rdb-preamble",
        "rdbcompression", "no-appendfsync-on-rewrite", "aof-load-truncated", "maxmemory", "maxmemory-policy", "io-threads",
    };
    struct redis_store *store = (struct redis_store *)base;
    redisReply         *reply;
    char                value[256];

    pthread_mutex_lock(&store->control_lock);
    if (info(store->control, 0, "server", &reply) == KV_OK) {
        const char *version = strstr(reply->str, "redis_version:");
        if (version) {
            snprintf(value, sizeof value, "%.*s", (int)strcspn(version + 14, "\r\n"), version + 14);
            setting(arg, "redis_version", value);
        }
        freeReplyObject(reply);
    }
    setting(arg, "mode", !store->named ? "private server, unix socket" : store->cluster ? "named, cluster" : "named, one server");
    setting(arg, "rewrites started by", store->own_rewrites ? "the plug-in" : "redis-server");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (config_get(store->control, 0, names[i], value) == KV_OK)
            setting(arg, names[i], value);
    pthread_mutex_unlock(&store->control_lock);
}

/* ---- The private server. ---- */

/* In the child, after fork: nothing but system calls. */
static void become_server(const struct server *server, pid_t parent)
{
    int null = open("/dev/null", O_RDONLY);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) /* it died before the line above */
        _exit(127);
    fcntl(server->lock_fd, F_SETFD, 0); /* the lock of the store lives as long as the server */
    if (null >= 0)
        dup2(null, STDIN_FILENO);
    dup2(server->log_fd, STDOUT_FILENO);
    dup2(server->log_fd, STDERR_FILENO);
    if (fchdir(server->data_fd) == 0) {
        sigprocmask(SIG_SETMASK, &server->signals, NULL);
        execv(server->binary, server->arguments);
    }
    dprintf(STDERR_FILENO, "%s: %s\n", server->binary, strerror(errno));
    _exit(127);
}

static void *keep_server(void *arg)
{
    struct server *server = arg;
    pid_t          parent = getpid(), pid = fork();
    int            status = 0;

    if (pid == 0)
        become_server(server, parent);
    pthread_mutex_lock(&server->lock);
    server->pid = pid;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    pthread_mutex_lock(&server->lock);
    server->status = status;
    server->ended = true;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
    return NULL;
}

/* Starts it and waits until it has loaded its data, however long that takes, as long as it lives. */
static kv_status server_start(struct redis_store *store, char **arguments)
{
    struct server *server = &store->server;
    struct command ping = COMMAND(false, WORD("PING"));
    sigset_t       all;
    int            failed;

    server->arguments = arguments;
    server->pid = 0;
    server->ended = false;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &server->signals);
    failed = pthread_create(&server->keeper, NULL, keep_server, server);
    pthread_sigmask(SIG_SETMASK, &server->signals, NULL);
    if (failed)
        return kv_fail(KV_NO_MEMORY, "no thread for redis-server: %s", strerror(failed));
    server->started = true;
    pthread_mutex_lock(&server->lock);
    while (server->pid == 0)
        pthread_cond_wait(&server->changed, &server->lock);
    pthread_mutex_unlock(&server->lock);
    if (server->pid < 0)
        return kv_fail(KV_NO_MEMORY, "cannot fork for redis-server");
    for (;;) {
        redisContext *link;
        redisReply   *reply = NULL;
        bool          ready = false;

        if (server_ended(server)) {
            kv_status status = server_gone(store, "it ended");
            return WIFEXITED(server->status) ? status : KV_IO;
        }
        if (link_open(store->control, 0, &link) == KV_OK && link_append(link, &ping) == KV_OK && link_flush(link))
            reply = link_read(link);
        if (!reply)
            link_close(store->control, 0);
        else
            ready = reply->type == REDIS_REPLY_STATUS;
        if (reply && reply->type == REDIS_REPLY_ERROR && !starts_with(reply->str, "LOADING ")) {
            kv_status status = refused(store, reply->str, false);
            freeReplyObject(reply);
            return status;
        }
        freeReplyObject(reply);
        if (ready)
            return KV_OK;
        clock_sleep_until_ns(clock_now_ns() + NS_PER_MS);
    }
}

/* Cleanly, or by force when it does not want to; waits until it is gone. */
static kv_status server_stop(struct redis_store *store, bool clean)
{
    struct server *server = &store->server;
    struct command shutdown = COMMAND(true, WORD("SHUTDOWN"), store->tier == KV_TIER_NONE ? WORD("SAVE") : WORD("NOSAVE"));
    kv_status      status = KV_OK;
    redisContext  *link;
    redisReply    *reply = NULL;

    if (!server->started)
        return KV_OK;
    if (clean && !server_ended(server) && link_open(store->control, 0, &link) == KV_OK && link_append(link, &shutdown) == KV_OK &&
        link_flush(link) && (reply = link_read(link))) {
        status = kv_fail(KV_IO, "redis-server does not shut down: %s", reply->type == REDIS_REPLY_ERROR ? reply->str : "no reason given");
        clean = false;
    }
    freeReplyObject(reply);
    pthread_mutex_lock(&server->lock);
    if (!clean && server->pid > 0 && !server->ended)
        kill(server->pid, SIGKILL);
    while (!server->ended)
        pthread_cond_wait(&server->changed, &server->lock);
    pthread_mutex_unlock(&server->lock);
    pthread_join(server->keeper, NULL);
    if (clean && (!WIFEXITED(server->status) || WEXITSTATUS(server->status) != 0))
        status = server_gone(store, "it ended");
    link_close(store->control, 0);
    server->started = false;
    return status;
}

/* In the PATH, or as it is when it has a slash. */
static kv_status find_binary(const char *name, char out[PATH_BYTES])
{
    const char *path = getenv("PATH");

    if (!*name)
        return kv_fail(KV_UNSUPPORTED, "redis.binary is empty: write the name or the path of a redis-server");
    if (strchr(name, '/')) {
        snprintf(out, PATH_BYTES, "%s", name);
        if (access(out, X_OK) == 0)
            return KV_OK;
        return kv_fail(KV_UNSUPPORTED, "redis.binary=%s: %s", name, strerror(errno));
    }
    for (path = path ? path : "/usr/bin:/bin"; *path; path += strspn(path, ":")) {
        size_t bytes = strcspn(path, ":");
        snprintf(out, PATH_BYTES, "%.*s/%s", (int)bytes, path, name);
        if (access(out, X_OK) == 0)
            return KV_OK;
        path += bytes;
    }
    return kv_fail(KV_UNSUPPORTED, "%s is not installed here: install the package redis-server, or name one that runs with "
                   "redis.server=HOST:PORT", name);
}

static bool exists(struct redis_store *store, const char *name)
{
    return faccessat(store->server.data_fd, name, F_OK, 0) == 0;
}

/* One row of the manifest: "file appendonly.aof.1.base.rdb seq 1 type b", where b is the base, i a log and h one that is not read. */
static kv_status refuse_lost_part(const struct storedir *dir, const char *row)
{
    char name[256], path[300], type;

    if (sscanf(row, "file %255s seq %*s type %c", name, &type) != 2 || type == 'h' || strchr(name, '/'))
        return KV_OK; /* what it means is said by Redis, if anything is wrong */
    snprintf(path, sizeof path, DATA "/%s", name);
    return storedir_refuse_lost(dir, path, !strstr(name, ".base.rdb")); /* where nothing was written a log of commands is empty */
}

/* What Redis would make anew without a word, or name in its log only. */
static kv_status refuse_lost(const struct storedir *dir)
{
    char      path[PATH_BYTES], row[512];
    FILE     *manifest;
    kv_status status = storedir_refuse_lost(dir, DATA "/" MANIFEST, false);

    snprintf(path, sizeof path, "%s/" DATA "/" MANIFEST, dir->path);
    manifest = fopen(path, "re");
    if (!manifest && storedir_refuse_lost(dir, DATA "/" RDB, false) == KV_OK)
        return KV_OK;
    if (!manifest)
        return kv_fail(KV_CORRUPT, "%s is lost, or " RDB " beside it: one of them has the data of the store, and neither is there", path);
    while (status == KV_OK && fgets(row, sizeof row, manifest))
        status = refuse_lost_part(dir, row);
    fclose(manifest);
    return status;
}

/* What was found is durable before it is served: a life that was killed may not have synced it. */
static kv_status sync_found(struct redis_store *store)
{
    DIR           *folder = opendir(store->data);
    struct dirent *entry;
    kv_status      status = KV_OK;

    while (folder && status == KV_OK && (entry = readdir(folder))) {
        struct file file;
        if (!starts_with(entry->d_name, AOF))
            continue;
        if ((status = file_open(&file, store->data, entry->d_name, O_RDONLY)) == KV_OK)
            status = file_sync(&file);
        file_close(&file);
    }
    if (folder)
        closedir(folder);
    return status == KV_OK ? file_sync_dir(store->data) : status;
}

/* A new store holds something that the next open finds. */
static kv_status set_made(struct redis_store *store)
{
    if (store->tier == KV_TIER_NONE && !exists(store, RDB))
        TRY(save(store->control));
    TRY(sync_found(store));
    TRY(file_sync_dir(store->dir.path));
    return storedir_set_made(&store->dir);
}

/* Of the data folder, those whose names begin so. */
static kv_status remove_files(struct redis_store *store, const char *begin)
{
    DIR           *folder = opendir(store->data);
    struct dirent *entry;
    kv_status      status = KV_OK;

    while (folder && status == KV_OK && (entry = readdir(folder)))
        if (starts_with(entry->d_name, begin))
            status = file_unlink(store->data, entry->d_name);
    if (folder)
        closedir(folder);
    return status;
}

/* Starts it, and once more as long as loading cut the AOF: see `cut` in the banner. */
static kv_status server_load(struct redis_store *store, char **arguments)
{
    for (;;) {
        uint64_t before = files_bytes(store, AOF, false);

        TRY(server_start(store, arguments));
        if (files_bytes(store, AOF, false) >= before || !store->option[OPTION_RELOAD_CUT].u64)
            return KV_OK;
        TRY(server_stop(store, true));
    }
}

/* The store was of tier none: the server, which has loaded dump.rdb, writes an AOF, whose manifest makes it the one that counts. */
static kv_status begin_aof(struct redis_store *store)
{
    TRY(config_set(store->control, 0, "appendonly", "yes"));
    TRY(wait_for_child(store->control, 0, "aof_last_bgrewrite_status"));
    TRY(file_unlink(store->data, RDB));
    return file_sync_dir(store->data);
}

/* The other way round: dump.rdb is whole before the manifest goes. */
static kv_status end_aof(struct redis_store *store)
{
    TRY(save(store->control));
    TRY(config_set(store->control, 0, "appendonly", "no"));
    TRY(file_unlink(store->data, MANIFEST));
    TRY(file_sync_dir(store->data));
    return remove_files(store, AOF);
}

static char *number_text(uint64_t number, char out[24])
{
    snprintf(out, 24, "%" PRIu64, number);
    return out;
}

static kv_status open_private(struct redis_store *store, const char *binary)
{
    char      maxmemory[24], io_threads[24], percentage[24], min[24];
    bool      made = storedir_is_made(&store->dir), had_aof, had_rdb, none = store->tier == KV_TIER_NONE;
    char      path[PATH_BYTES + 32];
    kv_status status;

    if ((size_t)snprintf(store->data, sizeof store->data, "%s/" DATA, store->dir.path) >= sizeof store->data)
        return kv_fail(KV_INVALID, "%s is too long a path", store->dir.path);
    if (made)
        TRY(refuse_lost(&store->dir));
    if (mkdir(store->data, 0755) == 0)
        TRY(file_sync_dir(store->dir.path));
    else if (errno != EEXIST)
        return kv_fail_errno("make directory %s", store->data);
    store->server.data_fd = open(store->data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (store->server.data_fd < 0)
        return kv_fail_errno("open %s", store->data);
    snprintf(store->socket, sizeof store->socket, "/proc/self/fd/%d/" SOCKET, store->server.data_fd); /* any path is short enough */
    node_at(store, store->socket, strlen(store->socket), 0);
    snprintf(path, sizeof path, "%s/" LOG, store->data);
    store->server.log_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
    if (store->server.log_fd < 0)
        return kv_fail_errno("open %s", path);
    TRY(remove_files(store, "temp-"));
    had_aof = exists(store, MANIFEST);
    had_rdb = exists(store, RDB);
    if (had_aof && store->tier == KV_TIER_COMMIT)
        TRY(sync_found(store));
    store->server.binary = binary;
    store->server.lock_fd = store->dir.lock.fd;
    char *arguments[] = {
        (char *)"redis-server", (char *)"--port", (char *)"0", (char *)"--unixsocket", (char *)SOCKET, (char *)"--unixsocketperm",
        (char *)"700", (char *)"--dir", (char *)".", (char *)"--appenddirname", (char *)".", (char *)"--daemonize", (char *)"no", (char *)"--supervised", (char *)"no",
        (char *)"--protected-mode", (char *)"yes", (char *)"--databases", (char *)"2", (char *)"--save", (char *)"",
        (char *)"--dbfilename", (char *)RDB, (char *)"--logfile", (char *)"", (char *)"--maxmemory-policy", (char *)"noeviction",
        (char *)"--maxmemory", number_text(store->option[OPTION_MAXMEMORY].u64, maxmemory),
        (char *)"--io-threads", number_text(store->option[OPTION_IO_THREADS].u64, io_threads),
        (char *)"--auto-aof-rewrite-percentage",
        number_text(store->own_rewrites ? 0 : store->option[OPTION_REWRITE_PERCENTAGE].u64, percentage),
        (char *)"--auto-aof-rewrite-min-size", number_text(store->option[OPTION_REWRITE_MIN].u64, min),
        (char *)"--aof-load-truncated", (char *)"yes", (char *)"--no-appendfsync-on-rewrite", (char *)"no",
        (char *)"--aof-use-rdb-preamble", (char *)(store->option[OPTION_RDB_PREAMBLE].u64 ? "yes" : "no"),
        (char *)"--rdbcompression", (char *)(store->option[OPTION_RDB_COMPRESSION].u64 ? "yes" : "no"),
        (char *)"--appendfsync", (char *)(store->tier == KV_TIER_COMMIT ? "always" : "no"),
        (char *)"--appendonly", (char *)(had_aof || (!none && !had_rdb) ? "yes" : "no"), NULL,
    };
    status = server_load(store, arguments);
    store->server.arguments = NULL;
    TRY(status);
    if (none && had_aof)
        TRY(end_aof(store));
    else if (!none && !had_aof && had_rdb)
        TRY(begin_aof(store));
    else if (!none && had_rdb)
        TRY(file_unlink(store->data, RDB));
    return made ? KV_OK : set_made(store);
}

/* ---- Named servers. ---- */

/* "HOST:PORT", "/PATH" or "[IPV6]:PORT", with commas. */
static kv_status parse_servers(struct redis_store *store, const char *text)
{
    while (*text) {
        size_t      bytes = strcspn(text, ",");
        const char *colon = memrchr(text, ':', bytes);
        char       *end = NULL;
        long        port = colon && *text != '/' ? strtol(colon + 1, &end, 10) : 0;
        size_t      host_bytes = *text == '/' ? bytes : colon ? (size_t)(colon - text) : 0;
        const char *host = text;

        if (*text != '/' && (!host_bytes || port < 1 || port > 65535 || end != text + bytes))
            return kv_fail(KV_INVALID, "redis.server=%.*s: write HOST:PORT, or the path of a unix socket", (int)bytes, text);
        if (*host == '[' && host[host_bytes - 1] == ']')
            host++, host_bytes -= 2;
        if (node_at(store, host, host_bytes, (int)port) == NO_NODE)
            return kv_fail(KV_INVALID, "redis.server names too many servers");
        text += bytes;
        text += *text == ',';
    }
    return KV_OK;
}

/* A name that nobody knows is told now, not when redis.timeout is over. */
static kv_status look_up_servers(struct redis_store *store)
{
    for (unsigned i = 0; i < node_count(store); i++) {
        struct node      node = node_of(store, i);
        struct addrinfo *found = NULL, hints = {.ai_socktype = SOCK_STREAM};
        int              code = node.port ? getaddrinfo(node.host, NULL, &hints, &found) : 0;

        if (found)
            freeaddrinfo(found);
        if (code != 0)
            return kv_fail(KV_INVALID, "redis.server: the host %s cannot be looked up: %s", node.host, gai_strerror(code));
    }
    return KV_OK;
}

/* What can be found wrong before a directory is made. */
static kv_status check_options(struct redis_store *store)
{
    if (*store->option[OPTION_SERVER].text) {
        TRY(parse_servers(store, store->option[OPTION_SERVER].text));
        return look_up_servers(store);
    }
    if (store->option[OPTION_DATABASE].u64)
        return kv_fail(KV_INVALID, "redis.database=%" PRIu64 " is of a named server: write redis.server=HOST:PORT too",
                       store->option[OPTION_DATABASE].u64);
    return KV_OK;
}

/* Whether a server with this persistence keeps the tier. */
static bool keeps(const struct redis_store *store, const char *aof, const char *fsync)
{
    bool logs = strcmp(aof, "yes") == 0;

    if (logs && strcmp(fsync, "always") == 0)
        return true;
    switch (store->tier) {
    case KV_TIER_NONE:    return !store->cluster; /* nodes are not of one moment, so no prefix */
    case KV_TIER_PROCESS: return logs && strcmp(fsync, "no") == 0;
    default:              return false;
    }
}

/* kv_tier_word is the program's, not ours. */
static const char *tier_word(enum kv_tier tier)
{
    static const char *const words[] = {"none", "process", "ordered", "interval", "commit"};

    return words[tier];
}

static kv_status check_tier(struct redis_store *store, unsigned number)
{
    bool        weak = store->tier == KV_TIER_PROCESS || (store->tier == KV_TIER_NONE && !store->cluster);
    const char *fsync_wanted = weak ? "no" : "always";
    char        aof[256], fsync[256], name[300];

    TRY(config_get(store->control, number, "appendonly", aof));
    TRY(config_get(store->control, number, "appendfsync", fsync));
    if (!*aof)
        return kv_fail(KV_UNSUPPORTED, "%s does not tell its persistence (CONFIG GET)", node_text(store, number, name));
    if (keeps(store, aof, fsync))
        return KV_OK;
    if (!store->option[OPTION_CONFIGURE].u64)
        return kv_fail(KV_UNSUPPORTED, "%s has appendonly %s and appendfsync %s, which does not keep durability %s; "
                       "set appendonly yes and appendfsync %s there, or write redis.configure=true",
                       node_text(store, number, name), aof, fsync, tier_word(store->tier), fsync_wanted);
    TRY(config_set(store->control, number, "appendfsync", fsync_wanted));
    TRY(config_set(store->control, number, "appendonly", "yes"));
    return wait_for_child(store->control, number, "aof_last_bgrewrite_status");
}

/* Keys that are there although the store is new. */
static kv_status check_found(struct redis_store *store, unsigned number)
{
    struct command size = COMMAND(false, WORD("DBSIZE"));
    redisReply    *reply;
    long long      keys;
    char           name[300];

    TRY(call_node(store->control, number, &size, &reply));
    keys = reply->integer;
    freeReplyObject(reply);
    if (keys == 0 || store->option[OPTION_FOUND].u64 == FOUND_KEEP)
        return KV_OK;
    if (store->option[OPTION_FOUND].u64 == FOUND_FLUSH)
        return simple(store->control, number, "FLUSHDB");
    return kv_fail(KV_MISMATCH, "%s holds %lld keys, and this store is new; empty it, or write redis.found=keep or redis.found=flush",
                   node_text(store, number, name), keys);
}

static kv_status open_named(struct redis_store *store)
{
    unsigned    number[NODES_MAX];
    size_t      count;
    redisReply *reply;
    kv_status   status = KV_OK;

    store->named = true;
    for (size_t i = 0; i < SLOTS; i++)
        store->owner[i] = NO_NODE;
    for (unsigned i = 0; i < node_count(store); i++)
        if ((status = info(store->control, i, "cluster", &reply)) == KV_OK)
            break;
    TRY(status);
    store->cluster = info_figure(reply, "cluster_enabled") == 1;
    freeReplyObject(reply);
    if (!store->cluster && node_count(store) > 1)
        return kv_fail(KV_INVALID, "redis.server=%s names several servers, and they are no cluster", store->option[OPTION_SERVER].text);
    if (store->cluster)
        refresh_slots(store->control);
    count = masters(store, number);
    if (count == 0)
        return kv_fail(KV_INVALID, "the cluster of redis.server=%s has no slots yet", store->option[OPTION_SERVER].text);
    for (size_t i = 0; i < count; i++)
        TRY(check_tier(store, number[i]));
    for (size_t i = 0; i < count && store->dir.created; i++)
        TRY(check_found(store, number[i]));
    return KV_OK;
}

/* ---- Stores and sessions. ---- */

static struct redis_session *session_new(struct redis_store *store)
{
    struct redis_session *session = calloc(1, sizeof *session);
    size_t                depth = store->option[OPTION_PIPELINE].u64;

    if (!session)
        return NULL;
    session->base.store = &store->base;
    session->replies = malloc(depth * sizeof *session->replies);
    session->statuses = malloc(depth * sizeof *session->statuses);
    session->asked = malloc(depth * sizeof *session->asked);
    if (session->replies && session->statuses && session->asked)
        return session;
    free(session->replies);
    free(session->statuses);
    free(session->asked);
    free(session);
    return NULL;
}

static void redis_session_close(struct kv_session *base)
{
    struct redis_session *session = session_of(base);

    for (unsigned i = 0; i < NODES_MAX; i++)
        link_close(session, i);
    buf_free(&session->new);
    free(session->replies);
    free(session->statuses);
    free(session->asked);
    free(session);
}

static kv_status redis_session_open(struct kv_store *base, struct kv_session **out)
{
    struct redis_session *session = session_new((struct redis_store *)base);
    redisContext         *link;
    kv_status             status;

    if (!session)
        return kv_fail(KV_NO_MEMORY, "no memory for a session");
    status = link_open(session, 0, &link);
    if (status != KV_OK && !(status == KV_IO && ((struct redis_store *)base)->cluster)) {
        redis_session_close(&session->base);
        return status;
    }
    *out = &session->base;
    return KV_OK;
}

/* Whether the process that took the lock (of the file of this path) still runs; its server outlives it by a moment. */
static bool locker_lives(const char *dir)
{
    char        path[PATH_BYTES + 16], line[256], state = 'Z';
    struct stat about;
    FILE       *locks, *stat_file;
    bool        lives = true;

    snprintf(path, sizeof path, "%s/LOCK", dir);
    if (stat(path, &about) != 0 || !(locks = fopen("/proc/locks", "re")))
        return true;
    while (fgets(line, sizeof line, locks)) {
        unsigned           high, low;
        unsigned long long inode;
        int                pid;

        if (sscanf(line, "%*d: FLOCK %*s %*s %d %x:%x:%llu", &pid, &high, &low, &inode) != 4 || inode != about.st_ino ||
            high != major(about.st_dev) || low != minor(about.st_dev))
            continue;
        snprintf(path, sizeof path, "/proc/%d/stat", pid);
        stat_file = fopen(path, "re");
        if (stat_file && fscanf(stat_file, "%*d (%*[^)]) %c", &state) != 1)
            state = '?';
        if (stat_file)
            fclose(stat_file);
        lives = pid > 0 && state != 'Z';
    }
    fclose(locks);
    return lives;
}

static kv_status open_dir(struct redis_store *store, const char *path)
{
    struct storedir_kind kind = {.engine = "redis", .format = FORMAT};
    uint64_t             since_ns = clock_now_ns();
    kv_status            status;

    while ((status = storedir_open(&store->dir, path, &kind)) == KV_BUSY &&
           clock_now_ns() - since_ns < (locker_lives(path) ? BUSY_WAIT_NS : GONE_WAIT_NS))
        clock_sleep_until_ns(clock_now_ns() + 2 * NS_PER_MS);
    return status;
}

static kv_status close_store(struct redis_store *store, bool clean)
{
    kv_status status;

    status = server_stop(store, clean);
    if (store->control)
        redis_session_close(&store->control->base);
    for (size_t i = 0; i < store->nodes; i++)
        free(store->node[i].host);
    if (store->server.log_fd >= 0)
        close(store->server.log_fd);
    if (store->server.data_fd >= 0)
        close(store->server.data_fd);
    storedir_close(&store->dir);
    pthread_rwlock_destroy(&store->nodes_lock);
    pthread_rwlock_destroy(&store->quiet);
    pthread_mutex_destroy(&store->control_lock);
    pthread_mutex_destroy(&store->failure_lock);
    pthread_mutex_destroy(&store->server.lock);
    pthread_cond_destroy(&store->server.changed);
    free(store);
    return status;
}

static kv_status redis_close(struct kv_store *base)
{
    return close_store((struct redis_store *)base, true);
}

static kv_status redis_open(const struct kv_config *config, struct kv_store **out)
{
    struct redis_store *store = calloc(1, sizeof *store);
    pthread_rwlockattr_t writers_first;
    char                 binary[PATH_BYTES] = "", sentence[FAIL_BYTES_MAX];
    kv_status            status = KV_OK;
    bool                 named = *config->option[OPTION_SERVER].text;

    if (!named)
        status = find_binary(config->option[OPTION_BINARY].text, binary);
    if (!store || status != KV_OK) {
        free(store);
        return status != KV_OK ? status : kv_fail(KV_NO_MEMORY, "no memory for a store");
    }
    store->tier = config->durability.tier;
    store->own_rewrites = !named && store->tier != KV_TIER_NONE;
    memcpy(store->option, config->option, sizeof store->option);
    store->dir.lock = FILE_CLOSED;
    store->server.data_fd = store->server.log_fd = -1;
    pthread_rwlockattr_init(&writers_first); /* or a rewrite would wait for a moment without writes */
    pthread_rwlockattr_setkind_np(&writers_first, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&store->quiet, &writers_first);
    pthread_rwlockattr_destroy(&writers_first);
    pthread_rwlock_init(&store->nodes_lock, NULL);
    pthread_mutex_init(&store->control_lock, NULL);
    pthread_mutex_init(&store->failure_lock, NULL);
    pthread_mutex_init(&store->server.lock, NULL);
    pthread_cond_init(&store->server.changed, NULL);
    if (!(store->control = session_new(store)))
        status = kv_fail(KV_NO_MEMORY, "no memory for a session");
    else if ((status = check_options(store)) == KV_OK && (status = open_dir(store, config->dir)) == KV_OK)
        status = named ? open_named(store) : open_private(store, binary);
    if (status == KV_OK) {
        *out = &store->base;
        return KV_OK;
    }
    snprintf(sentence, sizeof sentence, "%s", fail_text());
    if (close_store(store, false) != KV_OK || *sentence)
        fail_set("%s", sentence);
    return status;
}

static const char *const found_words[] = {"refuse", "keep", "flush", NULL};

static const struct kv_option redis_options[] = {
    [OPTION_SERVER] = {"server", KV_TEXT, "", 0, 0, "HOST:PORT or socket path of a server or cluster nodes that run; empty: a private one"},
    [OPTION_DATABASE] = {"database", KV_COUNT, "0", 0, 1e6, "named server, no cluster: the number of the database that is used, all of it"},
    [OPTION_CONFIGURE] = {"configure", KV_BOOL, "false", 0, 0, "named servers: set appendonly and appendfsync as the tier wants"},
    [OPTION_FOUND] = {"found", KV_WORD, "refuse", 0, 0, "named servers: what becomes of keys that they hold when the store is new",
                      found_words},
    [OPTION_TIMEOUT] = {"timeout", KV_TIME, "10s", 1e6, 3.6e12, "named servers: of connections and answers, and how long nodes may be lost"},
    [OPTION_PIPELINE] = {"pipeline", KV_COUNT, "128", 1, KV_BATCH_MAX, "keys of one MGET, GETs in flight in a cluster, COUNT of SCAN"},
    [OPTION_BINARY] = {"binary", KV_TEXT, "redis-server", 0, 0, "the private server's program: in the PATH, or a path"},
    [OPTION_MAXMEMORY] = {"maxmemory", KV_BYTES, "0", 0, 1ull << 50, "private: bytes past which writes are refused; 0: no limit"},
    [OPTION_IO_THREADS] = {"io_threads", KV_COUNT, "1", 1, 128, "private: threads that write to sockets"},
    [OPTION_REWRITE_PERCENTAGE] = {"rewrite_percentage", KV_COUNT, "100", 0, 1e6,
                                   "private: growth of the AOF since its last rewrite that begins one; 0: none"},
    [OPTION_REWRITE_MIN] = {"rewrite_min", KV_BYTES, "64M", 1, 1ull << 50, "private: size of the AOF below which it is not rewritten", NULL,
                            "64K"},
    [OPTION_RDB_PREAMBLE] = {"rdb_preamble", KV_BOOL, "true", 0, 0, "private: a rewritten AOF begins with a dump, not with commands"},
    [OPTION_RDB_COMPRESSION] = {"rdb_compression", KV_BOOL, "true", 0, 0, "private: LZF for the strings of a dump"},
    [OPTION_RELOAD_CUT] = {"reload_cut", KV_BOOL, "true", 0, 0, "private: load once more when loading cut the AOF; false: as Redis does, "
                           "which may lose later writes"},
    {0},
};

static const struct kv_engine redis_engine = {
    .abi             = KV_ABI,
    .name            = "redis",
    .version         = "7.0 (hiredis 0.14)",
    .summary         = "Redis: a private server process with an append-only file, or servers and clusters that run",
    .licence         = "BSD-3-Clause",
    .can             = KV_DURABLE | KV_SCAN | KV_BATCH | KV_MODIFY | KV_SESSIONS | KV_COMPACT | KV_RETAINS,
    .tiers           = KV_TIER_BIT(KV_TIER_NONE) | KV_TIER_BIT(KV_TIER_PROCESS) | KV_TIER_BIT(KV_TIER_COMMIT),
    .key_bytes_max   = KV_KEY_BYTES_MAX,
    .value_bytes_max = KV_VALUE_BYTES_MAX,
    .options         = redis_options,
    .open            = redis_open,
    .close           = redis_close,
    .session_open    = redis_session_open,
    .session_close   = redis_session_close,
    .put             = redis_put,
    .get             = redis_get,
    .del             = redis_del,
    .get_many        = redis_get_many,
    .modify          = redis_modify,
    .write           = redis_write,
    .scan            = redis_scan,
    .sync            = redis_sync,
    .compact         = redis_compact,
    .stats           = redis_stats,
    .settings        = redis_settings,
};

__attribute__((visibility("default"))) const struct kv_engine *kv_plugin(void);

const struct kv_engine *kv_plugin(void)
{
    return &redis_engine;
}
