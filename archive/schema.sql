-- SPDX-License-Identifier: Apache-2.0
-- run.db: everything that a run asked, spent, found and kept. This text is the format's specification.
--
-- FILE. A SQLite 3 database in WAL mode with application_id 1263293509 ("KLTE") and user_version 6 (archive/migrations
-- lists how an older version becomes this one; a newer one is refused). One process writes, under a lock on run.lock
-- beside the file; others may read meanwhile. Tables are STRICT and foreign keys are on.
--
-- IDENTITY. An *ordinal* numbers what the search asks for: 1, 2, ... Variations and candidates share the numbering; a
-- candidate has its variation's ordinal unless an agent evaluated it inside a variation. One that an agent left unfinished
-- can be taken up by another variation, to which it then belongs. A *candidate id* is the SHA-256
-- of the candidate's content. A *request id* names one model call or one evaluation; it is unique, so that a reply
-- counts once however often it arrives.
--
-- ORDER OF WRITING, each step one transaction: variation (open) -> model_call (sent) -> model_call (answered or failed)
-- -> candidate (proposed) | rejection -> evaluation (sent) -> evaluation (answered or failed) -> ... -> candidate (done)
-- with elite_history, elite and champion. Whatever is not at the end of its way is what a resumed run continues with.
--
-- VALUES. Columns exist for what is queried or summed; everything else is JSON text. A body is
-- {"version": 1, "<what>": {...}}; a reader refuses a body version that it does not know. States are text; the sets only
-- grow. *_unix_s are seconds since 1970. Candidate and model text is data here and nothing else.

-- What the run is. One row. The seed decides every random choice; the key of evaluation secrets is not in this file, but
-- for what modelled times of the run have in common, which no prompt, feedback or report tells.
CREATE TABLE run (
  id               INTEGER PRIMARY KEY CHECK (id = 1),
  seed             INTEGER NOT NULL,           -- 64 bits, stored as signed
  task             TEXT    NOT NULL,
  task_digest      TEXT    NOT NULL,
  task_document    TEXT    NOT NULL,           -- task.json as read
  reference_source TEXT    NOT NULL,           -- reference.cu
  configuration    TEXT    NOT NULL,           -- JSON, as the run was started; its budget as last told
  started_unix_s   REAL    NOT NULL,
  state            TEXT    NOT NULL CHECK (state IN ('running', 'waiting', 'stopped', 'done')),
  wall_s           REAL    NOT NULL,           -- over all sessions; behind by at most one event after a kill
  model_key        TEXT    NOT NULL DEFAULT '' -- 64 hex digits: inputs and blocks of modelled times; '' before version 6
) STRICT;

-- One ask: parents and operator as chosen, so that an interrupted variation can be asked again unchanged.
CREATE TABLE variation (
  ordinal        INTEGER PRIMARY KEY,
  generation     INTEGER NOT NULL,
  operator_name  TEXT    NOT NULL,
  endpoint       TEXT    NOT NULL,             -- '' where no model takes part
  decision       TEXT    NOT NULL,             -- JSON: whatever else was chosen
  state          TEXT    NOT NULL CHECK (state IN ('open', 'submitted', 'rejected')),
  created_unix_s REAL    NOT NULL,
  prompt_version TEXT    NOT NULL DEFAULT ''   -- of the operator's prompt files; with endpoint and operator: the arm
) STRICT;
CREATE INDEX variation_state ON variation (state);

-- What is evaluated.
CREATE TABLE candidate (
  ordinal        INTEGER PRIMARY KEY,
  id             TEXT    NOT NULL UNIQUE,      -- content digest
  variation      INTEGER NOT NULL REFERENCES variation (ordinal),
  source         TEXT    NOT NULL,             -- the whole .cu text
  tuning         TEXT    NOT NULL,             -- JSON object: tunable -> value
  summary        TEXT    NOT NULL,
  prompt_digest  TEXT    NOT NULL,             -- '' where there was no prompt
  state          TEXT    NOT NULL CHECK (state IN ('proposed', 'examining', 'examined', 'dueling', 'done')),
  outcome        TEXT    NOT NULL,             -- '' until done: insert_status_name or another code
  told           INTEGER UNIQUE,               -- 1, 2, ... in the order of telling; NULL until done
  created_unix_s REAL    NOT NULL,
  told_unix_s    REAL    NOT NULL DEFAULT 0.0, -- 0: not told, or before version 2
  source_digest  TEXT    NOT NULL DEFAULT '',  -- of the text without its tuning; '' before version 4
  CHECK ((state = 'done') = (told IS NOT NULL))
) STRICT;
CREATE INDEX candidate_state ON candidate (state);
-- Whatever is counted over an arm: a row lies behind its source, and reaching it would read the source.
CREATE INDEX candidate_variation ON candidate (variation, told, outcome, told_unix_s);
CREATE INDEX candidate_told ON candidate (told, outcome, variation);
CREATE INDEX candidate_source ON candidate (source_digest, told);

-- Where a variation started from. Parent 0 is the one that is varied; inspirations come from other cells.
CREATE TABLE variation_parent (
  ordinal   INTEGER NOT NULL REFERENCES variation (ordinal),
  role      TEXT    NOT NULL CHECK (role IN ('parent', 'inspiration')),
  position  INTEGER NOT NULL,
  parent_id TEXT    NOT NULL REFERENCES candidate (id),
  PRIMARY KEY (ordinal, role, position)
) STRICT;
CREATE INDEX variation_parent_child ON variation_parent (parent_id, role, position, ordinal);

-- One request to a worker and its reply. Verdict, provenance and body are NULL until answered; failed: no reply came.
CREATE TABLE evaluation (
  id              INTEGER PRIMARY KEY,         -- in the order sent
  request_id      TEXT    NOT NULL UNIQUE,
  ordinal         INTEGER NOT NULL REFERENCES candidate (ordinal),
  verb            TEXT    NOT NULL CHECK (verb IN ('examine', 'duel')),
  request         TEXT    NOT NULL,            -- JSON: arms, workloads, rounds
  sent_unix_s     REAL    NOT NULL,
  state           TEXT    NOT NULL CHECK (state IN ('sent', 'answered', 'failed')),
  error           TEXT    NOT NULL,            -- failed: why
  is_passed       INTEGER,                     -- verdict
  stage           TEXT,
  reason          TEXT,
  descriptors     TEXT,                        -- JSON object: axis -> label (examine)
  code_digest     TEXT,                        -- of the compiled code (examine)
  task_digest     TEXT,                        -- provenance
  harness_version TEXT,
  toolkit         TEXT,
  device          TEXT,                        -- DeviceFacts.kind
  is_modelled     INTEGER,                     -- times come from the virtual GPU
  provenance      TEXT,                        -- body {"version", "provenance"}
  body            TEXT,                        -- body {"version", "examination" | "duel"}
  worker_s        REAL    NOT NULL,
  device_s        REAL    NOT NULL,            -- seconds the device was held: the GPU budget
  CHECK ((state = 'answered') = (body IS NOT NULL))
) STRICT;
CREATE INDEX evaluation_ordinal ON evaluation (ordinal, verb);
CREATE INDEX evaluation_state ON evaluation (state);
CREATE INDEX evaluation_code ON evaluation (code_digest);
-- Sums of costs without the long bodies that stand before them in a row.
CREATE INDEX evaluation_cost ON evaluation (ordinal, state, verb, is_passed, worker_s, device_s);

-- Who holds a cell now. A cache of elite_history's last step per cell, written in the same transaction.
CREATE TABLE elite (
  cell            TEXT    PRIMARY KEY,         -- labels of engine/core/axes.h joined by '/'
  ordinal         INTEGER NOT NULL REFERENCES candidate (ordinal),
  candidate_id    TEXT    NOT NULL REFERENCES candidate (id),
  fitness         REAL    NOT NULL,            -- founder's speed-up times the accepted paired gains since
  speedup         REAL    NOT NULL,            -- against the baseline, measured in the deciding duel
  duel_id         TEXT    NOT NULL REFERENCES evaluation (request_id),
  task_digest     TEXT    NOT NULL,
  harness_version TEXT    NOT NULL,
  device          TEXT    NOT NULL,
  is_modelled     INTEGER NOT NULL
) STRICT;

-- Every change of a cell. Append-only: nothing updates or deletes a row.
CREATE TABLE elite_history (
  sequence        INTEGER PRIMARY KEY,
  status          TEXT    NOT NULL CHECK (status IN ('added', 'improved', 'renewed', 'withdrawn')),
  reason          TEXT    NOT NULL,            -- withdrawn: why
  cell            TEXT    NOT NULL,
  ordinal         INTEGER NOT NULL REFERENCES candidate (ordinal),
  candidate_id    TEXT    NOT NULL REFERENCES candidate (id),
  fitness         REAL    NOT NULL,
  speedup         REAL    NOT NULL,
  duel_id         TEXT    NOT NULL REFERENCES evaluation (request_id),
  task_digest     TEXT    NOT NULL,
  harness_version TEXT    NOT NULL,
  device          TEXT    NOT NULL,
  is_modelled     INTEGER NOT NULL
) STRICT;
CREATE TRIGGER elite_history_keeps_rows BEFORE DELETE ON elite_history
BEGIN SELECT raise(ABORT, 'elite_history is append-only'); END;
CREATE TRIGGER elite_history_keeps_values BEFORE UPDATE ON elite_history
BEGIN SELECT raise(ABORT, 'elite_history is append-only'); END;

-- The fastest proven candidate of each bench workload: what exports dispatch among.
CREATE TABLE champion (
  workload     TEXT    PRIMARY KEY,
  ordinal      INTEGER NOT NULL REFERENCES candidate (ordinal),
  candidate_id TEXT    NOT NULL REFERENCES candidate (id),
  speedup      REAL    NOT NULL,               -- against the baseline at this workload
  timing       TEXT    NOT NULL,               -- JSON: ArmTiming
  duel_id      TEXT    NOT NULL REFERENCES evaluation (request_id)
) STRICT;

-- One call of a model: what was asked, what came back, what it cost. Failed calls cost too.
CREATE TABLE model_call (
  id                  INTEGER PRIMARY KEY,     -- in the order sent
  request_id          TEXT    NOT NULL UNIQUE,
  ordinal             INTEGER NOT NULL REFERENCES variation (ordinal),
  attempt             INTEGER NOT NULL,
  endpoint            TEXT    NOT NULL,
  prompt_digest       TEXT    NOT NULL,
  prompt              TEXT    NOT NULL,        -- JSON: digests of the messages (table message); once, the messages
  sent_unix_s         REAL    NOT NULL,
  state               TEXT    NOT NULL CHECK (state IN ('sent', 'answered', 'failed')),
  model               TEXT    NOT NULL,
  reply               TEXT    NOT NULL,
  input_tokens        INTEGER NOT NULL,
  cached_input_tokens INTEGER NOT NULL,
  output_tokens       INTEGER NOT NULL,
  usd                 REAL    NOT NULL,
  is_estimated        INTEGER NOT NULL,        -- tokens were counted from bytes
  latency_s           REAL    NOT NULL,
  failure             TEXT    NOT NULL,        -- code; '' if answered
  message             TEXT    NOT NULL,
  extras              TEXT    NOT NULL DEFAULT '{}', -- JSON: tools, schema, effort of the request
  cuts                TEXT    NOT NULL DEFAULT '[]', -- JSON: what was left out of the prompt
  tokens_estimated    INTEGER NOT NULL DEFAULT 0,    -- of the prompt, before it was sent
  usd_reserved        REAL    NOT NULL DEFAULT 0.0,  -- what the call could cost at most
  tool_calls          TEXT    NOT NULL DEFAULT '[]', -- JSON: of the reply
  finish              TEXT    NOT NULL DEFAULT '',
  reasoning_tokens    INTEGER NOT NULL DEFAULT 0,    -- part of output_tokens
  cache_write_tokens  INTEGER NOT NULL DEFAULT 0,    -- part of input_tokens
  tokens_most         INTEGER NOT NULL DEFAULT 0,    -- what it can have cost at most, while it is under way too:
  usd_most            REAL    NOT NULL DEFAULT 0.0   -- what budgets are kept by
) STRICT;
CREATE INDEX model_call_ordinal ON model_call (ordinal);
CREATE INDEX model_call_state ON model_call (state);
CREATE INDEX model_call_cost ON model_call (ordinal, state, input_tokens, cached_input_tokens, output_tokens, usd,
  reasoning_tokens, cache_write_tokens, tokens_most, usd_most, latency_s);

-- The messages of prompts, each once: conversations share their beginnings.
CREATE TABLE message (
  digest TEXT PRIMARY KEY,                     -- SHA-256 of the body
  body   TEXT NOT NULL                         -- JSON: {"role", "text", "tool_calls", "tool_call_id"}
) STRICT;

-- What an agent was told of an evaluation that it asked for, so that a resumed episode is told the same.
CREATE TABLE inside_result (
  variation    INTEGER NOT NULL REFERENCES variation (ordinal),
  position     INTEGER NOT NULL,               -- 0, 1, ... in the order asked
  candidate_id TEXT    NOT NULL,               -- of what was asked for; refused ones are no candidates
  step         TEXT    NOT NULL,               -- compile, check, profile, time
  body         TEXT    NOT NULL,               -- body {"version", "result"}
  PRIMARY KEY (variation, position)
) STRICT;

-- Why a variation gave no candidate.
CREATE TABLE rejection (
  ordinal INTEGER PRIMARY KEY REFERENCES variation (ordinal),
  reason  TEXT    NOT NULL,
  message TEXT    NOT NULL
) STRICT;
CREATE INDEX rejection_reason ON rejection (reason);

-- Prompts that a model wrote: an operator's file with other texts in its marked regions 
-- (`<!-- evolve:NAME -->`). What stands in the files is no row. Versions are those of `variation`.
CREATE TABLE prompt_version (
  version        TEXT    PRIMARY KEY,
  operator_name  TEXT    NOT NULL,
  parent         TEXT    NOT NULL,             -- the version that was edited
  ordinal        INTEGER NOT NULL REFERENCES variation (ordinal), -- in which it was written
  regions        TEXT    NOT NULL,             -- JSON object: region -> text; all of the operator's
  state          TEXT    NOT NULL CHECK (state IN ('live', 'retired')),
  created_unix_s REAL    NOT NULL
) STRICT;

-- Evidence of earlier runs that this one began with (archive/knowledge.h); empty where none was given.
CREATE TABLE lesson_evidence (
  id   TEXT PRIMARY KEY,                       -- of an effect (engine/core/effect.h)
  body TEXT NOT NULL                           -- body {"version", "effect"}
) STRICT;

-- The run's story, for people: the same objects as in events.jsonl.
CREATE TABLE event (
  sequence INTEGER PRIMARY KEY,
  ordinal  INTEGER,                            -- of the variation or candidate it concerns
  event    TEXT    NOT NULL,                   -- its name
  body     TEXT    NOT NULL                    -- JSON
) STRICT;
