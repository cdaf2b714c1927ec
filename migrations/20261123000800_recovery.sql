-- Detections and recoveries: what was found, what was done about it and why, which hooks ran, and what is left to watch.

-- One row per detection ever registered. The active one of an instance and kind is unique because active_slot is 1 for it
-- and NULL for released ones.
CREATE TABLE IF NOT EXISTS detection (
  id            BIGINT UNSIGNED   NOT NULL AUTO_INCREMENT COMMENT 'number',
  hostname      VARCHAR(255)      NOT NULL COMMENT 'host of the instance found in trouble',
  port          SMALLINT UNSIGNED NOT NULL COMMENT 'its TCP port',
  code          VARCHAR(128)      NOT NULL COMMENT 'analysis code: DeadMaster, ...',
  cluster_name  VARCHAR(300)      NOT NULL DEFAULT '' COMMENT 'cluster of that instance then',
  cluster_alias VARCHAR(255)      NOT NULL DEFAULT '' COMMENT 'alias of that cluster then',
  is_actionable TINYINT UNSIGNED  NOT NULL COMMENT '1: there is a recovery for this code',
  active_slot   TINYINT UNSIGNED  NULL COMMENT '1 while active, NULL after: at most one per instance and is_actionable',
  replicas      LONGTEXT          NOT NULL COMMENT 'replicas it had, JSON list of keys',
  entry         LONGTEXT          NOT NULL COMMENT 'the finding, JSON',
  node          VARCHAR(255)      NOT NULL DEFAULT '' COMMENT 'node that found it',
  node_token    VARCHAR(64)       NOT NULL DEFAULT '' COMMENT 'token of that process',
  started_at    DATETIME(6)       NOT NULL COMMENT 'found',
  released_at   DATETIME(6)       NULL COMMENT 'no longer active',
  PRIMARY KEY (id),
  UNIQUE KEY detection_active (hostname, port, is_actionable, active_slot),
  KEY detection_cluster (cluster_name, id),
  KEY detection_alias (cluster_alias, id),
  KEY detection_age (started_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'troubles that were found';

-- One row per recovery ever begun. Two slots: open_slot lets one at a time be carried out per cluster and per failed
-- instance; active_slot is the active period, in which the next automatic one is held back. It outlasts a success by
-- RecoveryPeriodBlockSeconds, a failure by seconds only, and ends with the acknowledgement.
CREATE TABLE IF NOT EXISTS recovery (
  id                    BIGINT UNSIGNED   NOT NULL AUTO_INCREMENT COMMENT 'number',
  uid                   VARCHAR(128)      NOT NULL COMMENT 'name for people and hooks: nanoseconds, colon, 64 hex digits',
  kind                  VARCHAR(32)       NOT NULL COMMENT 'primary, co-primary, intermediate, group-member, non-writeable, semi-sync, takeover',
  code                  VARCHAR(128)      NOT NULL COMMENT 'analysis code that it answers',
  command_hint          VARCHAR(64)       NOT NULL DEFAULT '' COMMENT 'command word of a person who asked for it; empty: automatic, recover',
  hostname              VARCHAR(255)      NOT NULL COMMENT 'host of the failed instance, or of the one taken over from',
  port                  SMALLINT UNSIGNED NOT NULL COMMENT 'its TCP port',
  cluster_name          VARCHAR(300)      NOT NULL COMMENT 'cluster when it began; the name changes with the primary',
  cluster_alias         VARCHAR(255)      NOT NULL DEFAULT '' COMMENT 'alias of that cluster',
  open_slot             TINYINT UNSIGNED  NULL COMMENT '1 until it ended, NULL after',
  active_slot           TINYINT UNSIGNED  NULL COMMENT '1 in the active period, NULL after',
  detection_id          BIGINT UNSIGNED   NULL COMMENT 'detection that led to it; NULL: none',
  operation_id          BIGINT UNSIGNED   NOT NULL COMMENT 'operation that carries it out: runs, locks, steps',
  phase                 VARCHAR(16)       NOT NULL COMMENT 'registered, fencing, choosing, promoting, repointing, publishing, closed',
  is_forced             TINYINT UNSIGNED  NOT NULL DEFAULT 0 COMMENT '1: asked for by a person, past the gates',
  suppress_hooks        TINYINT UNSIGNED  NOT NULL DEFAULT 0 COMMENT '1: no hooks are run',
  requested_hostname    VARCHAR(255)      NOT NULL DEFAULT '' COMMENT 'host of the successor asked for; empty: none',
  requested_port        SMALLINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'its TCP port',
  successor_hostname    VARCHAR(255)      NOT NULL DEFAULT '' COMMENT 'host of the successor chosen; empty: none yet',
  successor_port        SMALLINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'its TCP port',
  successor_alias       VARCHAR(255)      NOT NULL DEFAULT '' COMMENT 'alias of the successor',
  successor_coordinates VARCHAR(300)      NOT NULL DEFAULT '' COMMENT 'its binary log coordinates at promotion, file:position',
  is_successful         TINYINT UNSIGNED  NOT NULL DEFAULT 0 COMMENT '1: the successor has taken over',
  outcome               VARCHAR(32)       NOT NULL DEFAULT '' COMMENT 'recovered, failed, refused, no_longer_needed, cancelled; empty: still going on',
  lost                  LONGTEXT          NOT NULL COMMENT 'replicas lost, JSON list of keys',
  participating         LONGTEXT          NOT NULL COMMENT 'servers that took part, JSON list of keys',
  errors                LONGTEXT          NOT NULL COMMENT 'what went wrong, JSON list of texts',
  entry                 LONGTEXT          NOT NULL COMMENT 'the finding that it answers, JSON',
  verdicts              LONGTEXT          NOT NULL COMMENT 'what every gate said, JSON',
  choice                LONGTEXT          NULL COMMENT 'successor, all who were considered, reasons, JSON',
  outage                LONGTEXT          NULL COMMENT 'how long clients could not write, as far as it can be told, JSON',
  actor                 VARCHAR(255)      NOT NULL DEFAULT '' COMMENT 'who asked; empty: the leader',
  node                  VARCHAR(255)      NOT NULL DEFAULT '' COMMENT 'node that opened it',
  node_token            VARCHAR(64)       NOT NULL DEFAULT '' COMMENT 'token of that process',
  started_at            DATETIME(6)       NOT NULL COMMENT 'opened',
  phase_at              DATETIME(6)       NOT NULL COMMENT 'this phase began',
  ended_at              DATETIME(6)       NULL COMMENT 'ended, whichever way',
  active_ended_at       DATETIME(6)       NULL COMMENT 'end of the active period',
  acknowledged_at       DATETIME(6)       NULL COMMENT 'somebody has seen it',
  acknowledged_by       VARCHAR(255)      NOT NULL DEFAULT '' COMMENT 'who',
  acknowledged_comment  TEXT              NULL COMMENT 'what he said',
  PRIMARY KEY (id),
  UNIQUE KEY recovery_uid (uid),
  UNIQUE KEY recovery_open_cluster (cluster_name, open_slot),
  UNIQUE KEY recovery_open_instance (hostname, port, open_slot),
  KEY recovery_open (open_slot, id),
  KEY recovery_active (active_slot, id),
  KEY recovery_operation (operation_id),
  KEY recovery_detection (detection_id, id),
  KEY recovery_cluster (cluster_name, id),
  KEY recovery_alias (cluster_alias, id),
  KEY recovery_successor (successor_hostname, successor_port, id),
  KEY recovery_ended (ended_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'failures and takeovers being handled, or handled';

CREATE TABLE IF NOT EXISTS recovery_event (
  id          BIGINT UNSIGNED NOT NULL AUTO_INCREMENT COMMENT 'number; grows with time',
  recovery_id BIGINT UNSIGNED NOT NULL COMMENT 'recovery',
  run         INT UNSIGNED    NOT NULL DEFAULT 0 COMMENT 'run of its operation; 0: before the first',
  worker      VARCHAR(255)    NOT NULL DEFAULT '' COMMENT 'who says so',
  kind        VARCHAR(32)     NOT NULL COMMENT 'what it is: phase, fact, choice, hook, error, ...',
  text        TEXT            NOT NULL COMMENT 'for people',
  data        LONGTEXT        NULL COMMENT 'for programs, JSON',
  noted_at    DATETIME(6)     NOT NULL COMMENT 'when',
  PRIMARY KEY (id),
  KEY recovery_event_of (recovery_id, id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'timeline of recoveries';

-- For people only: no decision reads it.
CREATE TABLE IF NOT EXISTS recovery_blocked (
  hostname     VARCHAR(255)      NOT NULL COMMENT 'host of the instance that was not recovered',
  port         SMALLINT UNSIGNED NOT NULL COMMENT 'its TCP port',
  code         VARCHAR(128)      NOT NULL COMMENT 'analysis code',
  cluster_name VARCHAR(300)      NOT NULL DEFAULT '' COMMENT 'its cluster',
  blocking_id  BIGINT UNSIGNED   NOT NULL DEFAULT 0 COMMENT 'recovery in whose active period this falls; 0: another gate',
  reason       TEXT              NOT NULL COMMENT 'which gate and setting said no',
  since        DATETIME(6)       NOT NULL COMMENT 'first held back',
  blocked_at   DATETIME(6)       NOT NULL COMMENT 'last held back; a row not refreshed for seconds is void',
  PRIMARY KEY (hostname, port),
  KEY recovery_blocked_cluster (cluster_name),
  KEY recovery_blocked_age (blocked_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'recoveries held back at the moment';

-- The row is there before the process starts and unique per place in a list: a hook runs at most once.
CREATE TABLE IF NOT EXISTS hook_run (
  id         BIGINT UNSIGNED  NOT NULL AUTO_INCREMENT COMMENT 'number',
  owner_kind VARCHAR(16)      NOT NULL COMMENT 'detection, recovery',
  owner_id   BIGINT UNSIGNED  NOT NULL COMMENT 'number of that',
  list       VARCHAR(64)      NOT NULL COMMENT 'configuration key of the list: PreFailoverProcesses, ...',
  list_index INT UNSIGNED     NOT NULL COMMENT 'place in the list, from 0',
  run        INT UNSIGNED     NOT NULL DEFAULT 0 COMMENT 'run of the operation of the recovery; 0 for detections',
  command    TEXT             NOT NULL COMMENT 'the command as configured',
  worker     VARCHAR(255)     NOT NULL COMMENT 'who runs it',
  state      VARCHAR(16)      NOT NULL COMMENT 'begun, done, failed, timed_out, unknown, detached',
  exit_code  INT              NULL COMMENT 'exit code; NULL: none, or not known',
  output     LONGTEXT         NULL COMMENT 'beginning and end of what it printed',
  begun_at   DATETIME(6)      NOT NULL COMMENT 'started a moment after',
  ended_at   DATETIME(6)      NULL COMMENT 'ended, or given up',
  PRIMARY KEY (id),
  UNIQUE KEY hook_run_once (owner_kind, owner_id, list, list_index),
  KEY hook_run_age (begun_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'every hook ever begun';

CREATE TABLE IF NOT EXISTS recovery_switch (
  id          TINYINT UNSIGNED NOT NULL COMMENT 'always 1',
  is_disabled TINYINT UNSIGNED NOT NULL COMMENT '1: nothing is recovered automatically, anywhere',
  actor       VARCHAR(255)     NOT NULL DEFAULT '' COMMENT 'who said so last',
  changed_at  DATETIME(6)      NOT NULL COMMENT 'when',
  PRIMARY KEY (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'global switch of automatic recoveries: one row';

INSERT IGNORE INTO recovery_switch (id, is_disabled, changed_at) VALUES (1, 0, NOW(6));

CREATE TABLE IF NOT EXISTS analysis_last (
  hostname     VARCHAR(255)      NOT NULL COMMENT 'host of an instance with replicas',
  port         SMALLINT UNSIGNED NOT NULL COMMENT 'its TCP port',
  cluster_name VARCHAR(300)      NOT NULL DEFAULT '' COMMENT 'its cluster',
  code         VARCHAR(128)      NOT NULL COMMENT 'what its last analysis said, NoProblem included',
  changed_at   DATETIME(6)       NOT NULL COMMENT 'said so since',
  PRIMARY KEY (hostname, port),
  KEY analysis_last_age (changed_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'last analysis of each source';

CREATE TABLE IF NOT EXISTS analysis_change (
  id           BIGINT UNSIGNED   NOT NULL AUTO_INCREMENT COMMENT 'number; grows with time',
  hostname     VARCHAR(255)      NOT NULL COMMENT 'host',
  port         SMALLINT UNSIGNED NOT NULL COMMENT 'TCP port',
  cluster_name VARCHAR(300)      NOT NULL DEFAULT '' COMMENT 'its cluster then',
  code         VARCHAR(128)      NOT NULL COMMENT 'what the analysis says from now on',
  changed_at   DATETIME(6)       NOT NULL COMMENT 'when',
  PRIMARY KEY (id),
  KEY analysis_change_of (hostname, port, id),
  KEY analysis_change_age (changed_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'changes of analyses';

CREATE TABLE IF NOT EXISTS semi_sync_sample (
  hostname      VARCHAR(255)      NOT NULL COMMENT 'host of a semi-synchronous source',
  port          SMALLINT UNSIGNED NOT NULL COMMENT 'its TCP port',
  log_file      VARCHAR(255)      NOT NULL COMMENT 'file of its binary log',
  log_position  BIGINT UNSIGNED   NOT NULL COMMENT 'position in that file',
  first_seen_at DATETIME(6)       NOT NULL COMMENT 'there since: a source that stays is locked, or idle',
  seen_at       DATETIME(6)       NOT NULL COMMENT 'last seen there; expires',
  PRIMARY KEY (hostname, port),
  KEY semi_sync_sample_age (seen_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'since when sources have not moved';

CREATE TABLE IF NOT EXISTS former_primary (
  hostname           VARCHAR(255)      NOT NULL COMMENT 'host of a primary that was replaced',
  port               SMALLINT UNSIGNED NOT NULL COMMENT 'its TCP port',
  cluster_name       VARCHAR(300)      NOT NULL COMMENT 'cluster when it was replaced',
  successor_hostname VARCHAR(255)      NOT NULL COMMENT 'host of its successor',
  successor_port     SMALLINT UNSIGNED NOT NULL COMMENT 'its TCP port',
  recovery_id        BIGINT UNSIGNED   NOT NULL COMMENT 'recovery that replaced it',
  gtid               LONGTEXT          NOT NULL COMMENT 'what the successor had executed when it was promoted',
  state              VARCHAR(16)       NOT NULL COMMENT 'lost, fenced, rejoined, errant',
  errant_gtid        LONGTEXT          NOT NULL COMMENT 'transactions that only it has; empty: none known',
  marked_at          DATETIME(6)       NOT NULL COMMENT 'replaced',
  state_at           DATETIME(6)       NOT NULL COMMENT 'in this state since',
  seen_at            DATETIME(6)       NULL COMMENT 'first contact after it was replaced; NULL: not yet',
  PRIMARY KEY (hostname, port),
  KEY former_primary_recovery (recovery_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'replaced primaries that may come back';

-- Promotion rules that hold until they are taken back. Asked first, because a migration may run again over its own remains
-- and MySQL has no ADD COLUMN IF NOT EXISTS.
SET @change = IF(
  (SELECT COUNT(*) FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'candidate' AND column_name = 'is_durable') = 0,
  'ALTER TABLE candidate ADD COLUMN is_durable TINYINT UNSIGNED NOT NULL DEFAULT 0 COMMENT ''1: does not expire''',
  'DO 0');
PREPARE change_candidate FROM @change;
EXECUTE change_candidate;
DEALLOCATE PREPARE change_candidate;
