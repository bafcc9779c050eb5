-- SPDX-License-Identifier: Apache-2.0
-- A knowledge file: what changes of kernels did to their times, over many runs. This text is the format's specification.
--
-- FILE. A SQLite 3 database with application_id 1263291214 ("KLKN") and user_version 1; a newer version is refused.
-- Tables are STRICT and foreign keys are on. It is one file while nobody writes it: copy it, send it, merge it.
--
-- VALUES. An *effect* (engine/core/effect.h) is numbers, digests and codes; no text of a model, a prompt or a source is
-- in it. The columns repeat what people ask for in SQL; only `body` is read back. Its codes are words of closed tables
-- in the program: what they mean is said there, never here, so that a file from elsewhere puts no words into a prompt.
--
-- MERGING is the union of rows: of two rows of one id the narrower interval stays. What was forgotten stays forgotten.

CREATE TABLE effect (
  id              TEXT    PRIMARY KEY,         -- digest of change, task, shape class, harness, toolkit and device
  task            TEXT    NOT NULL,
  family          TEXT    NOT NULL,
  architecture    TEXT    NOT NULL,
  state           TEXT    NOT NULL,            -- what limited the parent
  shape_class     TEXT    NOT NULL,
  outcome         TEXT    NOT NULL CHECK (outcome IN ('faster', 'alike', 'slower', 'failed')),
  log_gain        REAL    NOT NULL,            -- log(time before / time after)
  is_modelled     INTEGER NOT NULL,
  measured_unix_s REAL    NOT NULL,
  body            TEXT    NOT NULL             -- body {"version", "effect"}
) STRICT;

-- Codes of techniques that were ever seen: a closed list of the program's, which grows with its versions.
CREATE TABLE technique (
  code TEXT PRIMARY KEY
) STRICT;

-- Which techniques a change is made of.
CREATE TABLE effect_technique (
  effect    TEXT NOT NULL REFERENCES effect (id) ON DELETE CASCADE,
  technique TEXT NOT NULL REFERENCES technique (code),
  PRIMARY KEY (effect, technique)
) STRICT;
CREATE INDEX effect_technique_technique ON effect_technique (technique);

-- Effects that a person wants to hear no more of, so that a merge does not bring them back.
CREATE TABLE forgotten (
  id TEXT PRIMARY KEY
) STRICT;
