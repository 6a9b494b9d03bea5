/* SPDX-License-Identifier: MIT */
/*
 * Every maximum of the program, with its reason. A buffer, queue, count or wait that has no line
 * here has no bound, and that is a bug. Sizes in bytes, times in microseconds unless the name says
 * more.
 */
#ifndef BASE_LIMITS_H
#define BASE_LIMITS_H

#define KIB(n) ((size_t)(n)*1024)
#define MIB(n) ((size_t)(n)*1024 * 1024)

/* Client requests. */
#define MAX_REQUEST_LINE KIB(8)  /* RFC 9112 section 3 recommends at least 8000 octets */
#define MAX_HEADER_BYTES KIB(32) /* request head, all lines together */
#define MAX_HEADERS 100          /* fields in one head, ours or a provider's */
#define MAX_CHUNK_LINE 256       /* chunk size with its extension */
#define MAX_CHUNK_DIGITS 15      /* hex digits of a chunk size: below 2^60 */
#define MAX_TRAILER_BYTES KIB(8) /* read and thrown away */
#define DEFAULT_BODY_MAX MIB(32) /* limits.body: an image in base64 fits */
#define MAX_BODY_MAX MIB(512)    /* what limits.body may be set to */
#define MAX_BODY_OF_STRANGERS                                                                      \
    KIB(64) /* read before the key is looked at; more needs a key first                            \
             */

/* All clients together. */
#define DEFAULT_CONNECTIONS 16384    /* limits.connections, where descriptors allow that many */
#define MAX_CONNECTIONS 1000000      /* what it may be set to */
#define CONNECTION_IDLE_BYTES KIB(2) /* a connection that says nothing, its socket apart */
#define DESCRIPTORS_APART                                                                          \
    320 /* not for clients and providers: MAX_ADMIN_CONNECTIONS, listeners, loops, logs, files */
#define MAX_IDLE_UPSTREAM 512 /* connections to providers that a worker keeps for the next ones */
#define EVICTION_LOOK 64      /* connections looked at for an idle one to give way to a new one */
#define DEFAULT_MEMORY                                                                             \
    MIB(512) /* limits.memory: a dozen of the largest bodies, or 500 of the largest answers held   \
              */
#define MIN_MEMORY MIB(1)
#define MAX_MEMORY MIB(1024 * 1024) /* a typing mistake beyond */
#define POOL_GRAIN KIB(16) /* smaller buffers do not count: a connection has a handful of them */

/* Answers of providers. */
#define MAX_ANSWER_HEAD KIB(64)  /* all header lines of an answer */
#define MAX_ERROR_BODY KIB(64)   /* body of an error status shown to the policy */
#define MAX_PLAIN_BODY MIB(1)    /* 2xx that is no stream: larger ones commit and stream on */
#define MAX_HELD_STREAM KIB(256) /* stream bytes held before the first content */
#define MAX_EVENT MIB(1)         /* one event of an event stream */
#define MAX_EVENT_FRAME                                                                            \
    MAX_EVENT /* one frame of AWS's event streams, whose text is an event; AWS would allow 16 MiB  \
               */
#define MAX_MESSAGE 1024 /* provider error message as shown to policies and clients */
#define MAX_CODE 128     /* provider error code */
#define MAX_SIGNED 32    /* fields, and parameters, of a request to AWS: a handful are usual */
#define MAX_ERROR_WORDS                                                                            \
    KIB(4) /* of an error's text are searched for patterns: what matters stands in front */
#define MAX_SPARE_TRANSFERS                                                                        \
    64 /* finished transfers a transport keeps for the next ones, about 25 KB each */
#define TRANSFER_STORAGE_KEPT KIB(4) /* of a buffer of a finished transfer, for the next one */
#define MEMORY_KEPT                                                                                \
    MIB(4) /* of what a worker freed last, for its next large prompts: given back to the system it \
            * would come back page by page, at a third of such a prompt's cost */
#define MAX_JOINED_BODY                                                                            \
    KIB(16) /* request bodies up to this size are copied to leave in one write with their head */

/* Dialects: what one file of lua/dialects/ may hold. */
#define MAX_DIALECTS 64           /* files; a person keeps a dozen apart */
#define MAX_DIALECT_ROWS 1000     /* of one list: OpenAI's error patterns are 200 */
#define MAX_DIALECT_RULES 64      /* of a stream or an answer: a bit for each */
#define MAX_DIALECT_STEPS 12      /* of one JSON path: a walk goes as deep */
#define MAX_DIALECT_NUMBERS 64    /* numbers looked for in one event: a bit for each */
#define MAX_DIALECT_TERMS 4       /* of one sum, phrases of one pattern */
#define MAX_DIALECT_TEMPLATE 4096 /* bytes of one template */

/* Connections to providers. */
#define MAX_HOST_NAME 253      /* RFC 1035: 255 octets on the wire */
#define MAX_ADDRESSES 8        /* of one host; more are not tried */
#define DIAL_HEAD_START 250000 /* microseconds before the next address is tried, too: RFC 8305 */
#define MAX_KNOWN_NAMES 512    /* of providers, for one transport: twice MAX_PROVIDERS */
#define MAX_LOOKUP_THREADS 4   /* of one transport: as many names that hang hold up the others */
#define LOOKUP_THREAD_IDLE 10  /* seconds; then it ends */
#define NAME_FRESH (60 * USEC_PER_SEC)  /* addresses are used so long without another look */
#define NAME_STALE (600 * USEC_PER_SEC) /* and so long while another look is under way */
#define NAME_FAILED USEC_PER_SEC        /* a failure is believed so long */

/* Output towards a client: above HIGH the upstream transfer pauses, below LOW it goes on. */
#define CLIENT_BUFFER_HIGH KIB(64)
#define CLIENT_BUFFER_LOW KIB(16)

#define MAX_CONN_OUTPUT                                                                            \
    MIB(16) /* waiting for one client: the largest answer given at once is MAX_METRICS_TEXT */

/* Times of a client connection, beside those that are configured. */
#define CONN_LINGER_TIME                                                                           \
    2000000 /* input is read and dropped for so long after the FIN, lest a RST eats the answer */
#define CONN_DRAIN_GRACE                                                                           \
    USEC_PER_SEC /* of a stop: a client that was told it may send again may have done so already   \
                  */
#define LISTEN_LINGER                                                                              \
    500000 /* from the last SYN taken to the close: a handshake that is half done needs one more   \
              round trip */
#define LISTEN_LINGER_LOCAL                                                                        \
    20000                        /* the same on a loopback address, where it is never half done    \
                                  */
#define CONN_CLOSE_TIME 30000000 /* write stall of a closing connection when none is configured */
#define CONN_BODY_GRACE 10000000 /* a request body may be slow for so long */
#define CONN_BODY_RATE                                                                             \
    1024 /* then it must have come at this many bytes per second, the grace not counted */

/* TLS. */
#define MAX_PEM KIB(512)      /* one text: a bundle of all public authorities takes 220 KiB */
#define MAX_TLS_CHAIN 16      /* certificates behind the first; clients accept ten at most */
#define MAX_TLS_IDENTITIES 64 /* of one listener: each handshake may look at all their names */
#define MAX_TLS_SESSIONS                                                                           \
    16 /* that one client keeps to resume, about 3 KB each; a provider has one or two names */

/* One request. */
#define MAX_ATTEMPTS 32      /* also the cap on max_attempts in policies */
#define MAX_TARGET_NAME 500  /* provider, slash and model */
#define MAX_SET_FIELDS 64    /* set and unset of one attempt */
#define MAX_EXTRA_HEADERS 64 /* headers a policy adds to an attempt or a response */
#define MAX_TRAIL 2048       /* x-moongate-attempts header */
#define MAX_JSON_DEPTH 128
#define MAX_SPLICE_BYTES                                                                           \
    MIB(16) /* new bytes of one attempt's body: MAX_SET_FIELDS strings of LUA_STRING_MAX, escaped  \
             */
#define MAX_SPLICE_PIECES                                                                          \
    4096 /* pieces of one attempt's body; only hostile duplicates come near                        \
          */

#define MAX_NOTES 64 /* notes that a policy makes on one request, when somebody listens */
#define MAX_NOTE 200 /* bytes of one */

/* Shared state. */
#define MAX_TARGETS 4096     /* provider/model pairs with facts; idle ones are evicted */
#define MAX_STORE_KEYS 65536 /* all namespaces of the store together */
#define MAX_STORE_KEY 256
#define MAX_STORE_VALUE KIB(4)
#define MAX_WINDOWS 8192
#define MAX_BUCKETS 8192
#define MAX_SLOTS 1024 /* providers with admission slots, those of past configurations included */
#define MAX_SUSPENSIONS 8192 /* of targets and groups; when full the one that ends soonest goes */
#define MAX_STATE_FILE                                                                             \
    MIB(16) /* suspensions.json: MAX_SUSPENSIONS of the longest names, escaped                     \
             */

/* Configuration. */
#define MAX_CONFIG_FILE MIB(1)
#define MAX_POLICY_FILE KIB(512)
#define MAX_SNAPSHOT_FILES 512
#define MAX_SNAPSHOT_DEPTH                                                                         \
    8 /* folders below policies/ and lua/; symbolic links may make circles                         \
       */
#define MAX_SNAPSHOT_INPUTS                                                                        \
    1024                    /* env() and file() of one load that count in its hash one by one */
#define MAX_MODULE_NAME 200 /* require "a.b.c" */
#define MAX_LOCATE_TOKENS 4000000 /* Lua tokens looked at to find the line of one value */
#define MAX_PROVIDERS 256
#define MAX_KEYS 4096
#define MAX_API_KEYS 32 /* of one provider: a request has MAX_ATTEMPTS to try them */
#define MAX_ROUTES 256
#define MAX_ALIASES 512 /* of all routes together: each has settings of its own in every lane */
#define MAX_WORKERS 64
#define MAX_LISTENERS 16
#define MAX_DIAGS 100          /* diagnostics kept of one load */
#define MAX_VALUE_NODES 100000 /* nodes of a settings tree */
#define MAX_VALUE_DEPTH 32
#define MAX_VALUE_FIELDS 10000 /* named fields of one table: they are kept sorted by insertion */

/* Reloads. */
#define MAX_KEPT_GENERATIONS 5 /* to go back to: as many as a person tells apart */
#define MAX_LOAD_WAIT                                                                              \
    (10 * USEC_PER_SEC) /* for workers to let go of the generation before the last; they need one  \
                           turn of their loop */
#define MAX_DRAINING                                                                               \
    128 /* generations with requests left: each keeps its files and configuration, about a MiB */
#define MAX_OVERLAY MIB(1)       /* settings.json, as large as gateway.lua may be */
#define MAX_OVERLAY_ROUTES 1024  /* routes with overlaid settings, those that are gone included */
#define MAX_AUDIT_FILE MIB(8)    /* audit.log; then it is audit.log.1 and a new one begins */
#define MAX_AUDIT_LINE KIB(64)   /* one change of settings, before and after */
#define MAX_WATCHED_FOLDERS 1024 /* inotify allows a user 8192 or more */
#define MAX_WATCH_DELAY 5000000  /* a change is loaded by then, however many follow it */

/* Lua. */
#define LUA_STATE_BYTES MIB(16)   /* one state: a worker's share of a generation */
#define LUA_RESERVE KIB(64)       /* beyond the cap, for handling the error itself */
#define LUA_RESUME_CPU 5000       /* CPU microseconds of one resume */
#define LUA_REQUEST_CPU 50000     /* CPU microseconds of all resumes of one request */
#define LUA_LOAD_CPU 500000       /* CPU microseconds to load and check one generation */
#define LUA_HOOK_COUNT 200        /* steps between two looks at the clock */
#define LUA_STEP_COUNT 100        /* VM instructions counted at a time */
#define LUA_STRING_MAX KIB(64)    /* a string that a policy hands to the core, body= apart */
#define LUA_BODY_MAX MIB(1)       /* respond{ body= } and one out:write */
#define LUA_REP_MAX MIB(1)        /* result of string.rep, table.concat, gsub … */
#define LUA_RANGE_MAX 100000      /* table.move, insert, remove, concat, unpack */
#define LUA_PATTERN_STEPS 1000000 /* matcher steps of one pattern call */
#define LUA_STRING_BLOCK                                                                           \
    (MIB(2) + KIB(1))      /* one Lua string: two bodies joined; bounds what one comparison costs */
#define LUA_CHURN KIB(512) /* bytes allocated between two looks at the clock */
#define LUA_FIRST_LOOK                                                                             \
    100 /* microseconds that a stretch takes before its CPU time is asked for: most end before */
#define LUA_REFILL_SECONDS                                                                         \
    1 /* a request's CPU account fills up again in this time, so that long local streams go on */
#define POLICY_FAILURES_MAX                                                                        \
    10 /* in a row: by then every request pays for a mistake that only a new generation repairs */
#define LUA_FREE_RUNS 256 /* finished coroutines that a lane keeps for the next requests */

/* Translation between dialects. */
#define BODY_LONG KIB(4) /* strings at least as long as written never enter Lua */
#define BODY_LARGE                                                                                 \
    MIB(1) /* in bodies above it BODY_LONG_IN_LARGE counts: a conversation of a                    \
              thousand pages is many strings below 4 KiB */
#define BODY_LONG_IN_LARGE 512
#define BODY_NODES 100000         /* values of one body: each takes Lua about 100 bytes */
#define BODY_ROPE_DEPTH 16        /* texts joined of joined ones; deeper ones are made flat */
#define BODY_ROPE_PARTS 100000    /* pieces of one text */
#define BODY_NAME_MAX KIB(4)      /* a field's name */
#define TRANSLATE_CPU 20000       /* CPU microseconds of one translation, whatever its size */
#define TRANSLATE_CPU_PER_KIB 100 /* and for each KiB that is read: five times what it takes */
#define TRANSLATE_CPU_MAX                                                                          \
    500000 /* of the largest body: for so long the worker's other requests wait */
#define TRANSLATE_EVENT_CPU                                                                        \
    20000 /* of one event of a stream, which may pay for the collector's turn; the stream so far   \
             counts as read */
#define MAX_TRANSLATED_ANSWER                                                                      \
    MIB(16) /* a whole answer that is to be translated: images in base64 */
#define MAX_TRANSLATED_STREAM                                                                      \
    MIB(4) /* what a translated stream may say: some dialects repeat all of it at the end */
#define MAX_TRANSLATED_EVENT                                                                       \
    MIB(25) /* what one event may become: the end of a response says all of MAX_TRANSLATED_STREAM  \
               three times at once, and escaping makes it twice as long */
#define MAX_DROPPED KIB(1) /* names of what a translation left out */
#define TRANSLATE_LOG_PERIOD                                                                       \
    (10 *                                                                                          \
     USEC_PER_SEC) /* failures of one dialect's file are logged so often, and counted between */

/* Log and metrics. */
#define MAX_LOG_WAITING MIB(4) /* lines not yet written; more are dropped and counted */
#define LOG_TROUBLE_PERIOD                                                                         \
    (10 * USEC_PER_SEC) /* a disk at its brink fails and works many times a second */
#define MAX_SERIES 4096 /* series of one family and worker; more are counted as dropped */
#define MAX_LABELS 512  /* label text of one series */
#define MODEL_NAMES 64  /* models that clients chose and metrics name, of a provider */

/* Waits that nothing else bounds. */
#define PLAN_TOTAL                                                                                 \
    (60 * USEC_PER_SEC) /* one attempt of the default plan, when the settings do not say */
#define PLAN_IDLE (30 * USEC_PER_SEC)
#define LONG_SUSPENSION                                                                            \
    (86400 * USEC_PER_SEC) /* `check` warns beyond it: a provider's hint is never believed longer  \
                            */
#define MAX_REQUEST_TIME                                                                           \
    (600 * USEC_PER_SEC) /* to commit, whatever the policy says: SDKs give up at 10 minutes */
#define MAX_DRAIN_TIME                                                                             \
    USEC_PER_SEC /* an answer that goes on after its end marker, for the connection's sake */
#define MAX_DRAIN_BYTES KIB(64)

/* Simulated gateways (core/sim): a test's own mistakes are to end with a message, not with the
 * machine's memory. */
#define SIM_STATE_BYTES MIB(256)         /* the Lua state that tests run in */
#define SIM_CPU (600 * USEC_PER_SEC)     /* one run of tests, its worlds included */
#define SIM_CASE_CPU (60 * USEC_PER_SEC) /* one case of them: a loop must not hide the others */
#define SIM_GATE_CPU (5 * USEC_PER_SEC)  /* all policies' tests of one load, reload.tests */
#define SIM_PROGRAM_CPU (3600 * USEC_PER_SEC) /* a command's run: a person can end it sooner */
#define SIM_PATIENCE                                                                               \
    10 /* times the CPU budgets of production: results must not depend on the machine */
#define MAX_SIM_WORLDS 64                  /* alive at once, about 1 MiB each */
#define MAX_SIM_CLIENTS 4096               /* requests under way in one world */
#define MAX_SIM_SCRIPT MIB(64)             /* what providers have still to say in one world */
#define MAX_SIM_STEPS 100000               /* steps given at once */
#define MAX_SIM_ANSWER MIB(64)             /* one answer as its client got it */
#define MAX_SIM_LOG MIB(4)                 /* log lines of one world; later ones are dropped */
#define MAX_SIM_REQUEST (MIB(4) + KIB(64)) /* bytes of one request */
#define MAX_SIM_TURNS 10000                /* between two looks at the CPU budget of the tests */

/* One request that a command waits for (upstream/fetch.h). */
#define FETCH_TIME (30 * USEC_PER_SEC) /* a load with its tests may take a part of it */
#define MAX_FETCH_BODY MIB(16)         /* twice MAX_METRICS_TEXT, the largest page there is */

/* Commands that speak to a running gateway. */
#define MAX_ADMIN_TOKEN KIB(4) /* file or variable: a header line must hold it */
#define MAX_ADMIN_URL KIB(2)   /* base address, before the path of a call */
#define MAX_TABLE_CELLS 131072 /* MAX_TARGETS and as many that wait, in nine columns */

/* Admin. */
#define MAX_ADMIN_BODY KIB(256)
#define MAX_ADMIN_CONNECTIONS 256 /* at once: some dashboards, scrapers and people */
#define MAX_METRICS_TEXT MIB(8)
#define SERIES_TEXT                                                                                \
    (MAX_METRICS_TEXT / 8 * 5) /* of it for counted series; the rest is for gauges */
#define MAX_ADMIN_ANSWER                                                                           \
    MIB(8) /* JSON: MAX_TARGETS with their facts, or MAX_ROUTES with schemas of 16 KiB */

#define ERR_TEXT_MAX 512
#define MAX_LOG_LINE 2048 /* longer lines are cut and end in " ..." */

#endif
