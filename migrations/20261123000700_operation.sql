-- Operations on managed servers: what was asked, planned, done, by whom, and how far it came.

CREATE TABLE IF NOT EXISTS operation (
  id           BIGINT UNSIGNED   NOT NULL AUTO_INCREMENT COMMENT 'number',
  job_id       BIGINT UNSIGNED   NOT NULL DEFAULT 0 COMMENT 'job that carries it out; 0: none yet, or run in place',
  word         VARCHAR(64)       NOT NULL COMMENT 'command word: relocate, move-up, ...',
  hostname     VARCHAR(255)      NOT NULL COMMENT 'host of the instance it is about',
  port         SMALLINT UNSIGNED NOT NULL COMMENT 'its TCP port',
  cluster_name VARCHAR(300)      NOT NULL DEFAULT '' COMMENT 'cluster of that instance when it was asked for',
  request      LONGTEXT          NOT NULL COMMENT 'what was asked for, JSON',
  dry_run      TINYINT UNSIGNED  NOT NULL DEFAULT 0 COMMENT '1: only to be planned',
  actor        VARCHAR(255)      NOT NULL DEFAULT '' COMMENT 'who asked',
  state        VARCHAR(16)       NOT NULL COMMENT 'waiting, running, done, failed, refused, cancelled',
  run          INT UNSIGNED      NOT NULL DEFAULT 0 COMMENT 'times a worker took it up; every later write names it',
  executor     VARCHAR(255)      NOT NULL DEFAULT '' COMMENT 'worker that took it up last',
  plan         LONGTEXT          NULL COMMENT 'the plan of the run that first changed something, JSON',
  resumed_plan LONGTEXT          NULL COMMENT 'the plan of the latest run that took over from another, JSON',
  baseline     LONGTEXT          NULL COMMENT 'replication threads that ran before anything was changed, JSON',
  outcome      LONGTEXT          NULL COMMENT 'how it ended, for the one who asked, JSON',
  error        TEXT              NULL COMMENT 'why it failed, was refused or cancelled',
  created_at   DATETIME(6)       NOT NULL COMMENT 'asked for',
  started_at   DATETIME(6)       NULL COMMENT 'first taken up',
  finished_at  DATETIME(6)       NULL COMMENT 'ended, whichever way',
  PRIMARY KEY (id),
  KEY operation_job (job_id),
  KEY operation_state (state, id),
  KEY operation_cluster (cluster_name, id),
  KEY operation_finished (finished_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'changes of managed servers that were asked for';

CREATE TABLE IF NOT EXISTS operation_step (
  id           BIGINT UNSIGNED   NOT NULL AUTO_INCREMENT COMMENT 'number; grows with time',
  operation_id BIGINT UNSIGNED   NOT NULL COMMENT 'operation',
  run          INT UNSIGNED      NOT NULL COMMENT 'which run of it',
  part         VARCHAR(16)       NOT NULL COMMENT 'head, branch, restore, tail',
  branch       INT UNSIGNED      NOT NULL DEFAULT 0 COMMENT 'number of the branch, from 0, for branch and restore',
  sequence     INT UNSIGNED      NOT NULL COMMENT 'number within its part, from 0',
  hostname     VARCHAR(255)      NOT NULL COMMENT 'host of the server changed',
  port         SMALLINT UNSIGNED NOT NULL COMMENT 'its TCP port',
  step         LONGTEXT          NOT NULL COMMENT 'the step, JSON',
  text         TEXT              NOT NULL COMMENT 'the step, for people',
  state        VARCHAR(16)       NOT NULL COMMENT 'begun, done, failed',
  token        BIGINT UNSIGNED   NOT NULL COMMENT 'fencing token of the lock of that server',
  worker       VARCHAR(255)      NOT NULL COMMENT 'who does it',
  begun_at     DATETIME(6)       NOT NULL COMMENT 'allowed to begin',
  deadline_at  DATETIME(6)       NOT NULL COMMENT 'nothing is sent to the server after; whoever takes over waits for it',
  ended_at     DATETIME(6)       NULL COMMENT 'done or failed',
  error        TEXT              NULL COMMENT 'why it failed',
  PRIMARY KEY (id),
  KEY operation_step_of (operation_id, id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'every step ever begun on a managed server';

CREATE TABLE IF NOT EXISTS position_equivalence (
  id             BIGINT UNSIGNED   NOT NULL AUTO_INCREMENT COMMENT 'number',
  one_hostname   VARCHAR(255)      NOT NULL COMMENT 'host of one server',
  one_port       SMALLINT UNSIGNED NOT NULL COMMENT 'its TCP port',
  one_file       VARCHAR(255)      NOT NULL COMMENT 'file of its binary log',
  one_position   BIGINT UNSIGNED   NOT NULL COMMENT 'position in that file',
  other_hostname VARCHAR(255)      NOT NULL COMMENT 'host of the other server',
  other_port     SMALLINT UNSIGNED NOT NULL COMMENT 'its TCP port',
  other_file     VARCHAR(255)      NOT NULL COMMENT 'file of its binary log',
  other_position BIGINT UNSIGNED   NOT NULL COMMENT 'position in that file, equal to the one above',
  recorded_at    DATETIME(6)       NOT NULL COMMENT 'last seen to be so; expires',
  PRIMARY KEY (id),
  KEY position_equivalence_one (one_hostname, one_port, one_position),
  KEY position_equivalence_other (other_hostname, other_port, other_position),
  KEY position_equivalence_age (recorded_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'places in two binary logs that hold the same';

-- Which operation a lock belongs to, so that the next worker can take it over. Asked first, because a migration may run
-- again over its own remains and MySQL has no ADD COLUMN IF NOT EXISTS.
SET @change = IF(
  (SELECT COUNT(*) FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'maintenance' AND column_name = 'operation_id') = 0,
  'ALTER TABLE maintenance ADD COLUMN operation_id BIGINT UNSIGNED NULL COMMENT ''operation that holds it; NULL: a person'', ADD KEY maintenance_operation (operation_id, active_slot)',
  'DO 0');
PREPARE change_maintenance FROM @change;
EXECUTE change_maintenance;
DEALLOCATE PREPARE change_maintenance;
