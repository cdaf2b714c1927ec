-- What the fleet looks like: one row per managed server.
-- Times are UTC on the database's clock. Text is utf8mb4_bin: names are compared exactly.

CREATE TABLE IF NOT EXISTS instance (
  id                BIGINT UNSIGNED NOT NULL AUTO_INCREMENT COMMENT 'stable number of the instance',
  hostname          VARCHAR(255)    NOT NULL COMMENT 'host as resolved',
  port              SMALLINT UNSIGNED NOT NULL COMMENT 'TCP port',
  lane              VARCHAR(64)     NOT NULL DEFAULT '' COMMENT 'datacenter whose workers probe it; empty: all workers',
  facts             LONGTEXT        NULL COMMENT 'what the server last said (JSON document); NULL: it never answered',
  facts_hash        BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'hash of facts: tells a worker whether anything changed',
  flavor            VARCHAR(16)     NOT NULL DEFAULT '' COMMENT 'MySQL, MariaDB, Percona, MaxScale, unknown',
  source_hostname   VARCHAR(255)    NOT NULL DEFAULT '' COMMENT 'host it replicates from; empty: none',
  source_port       SMALLINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'port it replicates from',
  observed_at       DATETIME(6)     NULL COMMENT 'time of the newest observation; an older one never overwrites it',
  last_attempted_at DATETIME(6)     NULL COMMENT 'a probe was begun and did not end at once',
  last_checked_at   DATETIME(6)     NULL COMMENT 'a probe last ended, well or not',
  last_seen_at      DATETIME(6)     NULL COMMENT 'the server last gave facts',
  partial_success   TINYINT(1)      NOT NULL DEFAULT 0 COMMENT 'the last check failed with a sign of life',
  failures          INT UNSIGNED    NOT NULL DEFAULT 0 COMMENT 'failed checks in a row',
  error_kind        VARCHAR(32)     NOT NULL DEFAULT '' COMMENT 'kind of the last failure',
  last_error        VARCHAR(1024)   NOT NULL DEFAULT '' COMMENT 'text of the last failure, empty after a good check',
  latency_us        BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'duration of the last complete read',
  cluster_name      VARCHAR(300)    NOT NULL DEFAULT '' COMMENT 'host:port of the (original) primary',
  suggested_alias   VARCHAR(255)    NOT NULL DEFAULT '' COMMENT 'cluster alias the servers suggest',
  depth             INT UNSIGNED    NOT NULL DEFAULT 0 COMMENT 'hops below the primary',
  is_co_primary     TINYINT(1)      NOT NULL DEFAULT 0 COMMENT 'two servers replicate from each other',
  ancestry_uuid     TEXT            NOT NULL COMMENT 'server UUIDs from the primary down to this one',
  gtid_errant       LONGTEXT        NOT NULL COMMENT 'transactions it has and its source has not',
  first_seen_at     DATETIME(6)     NOT NULL COMMENT 'row created',
  changed_at        DATETIME(6)     NOT NULL COMMENT 'anything but the seen times changed: readers fetch what is newer',
  PRIMARY KEY (id),
  UNIQUE KEY instance_name (hostname, port),
  KEY instance_cluster (cluster_name),
  KEY instance_changed (changed_at),
  KEY instance_source (source_hostname, source_port)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'managed servers';

CREATE TABLE IF NOT EXISTS forgotten_instance (
  hostname        VARCHAR(255)      NOT NULL COMMENT 'host as resolved',
  port            SMALLINT UNSIGNED NOT NULL COMMENT 'TCP port',
  forgotten_until DATETIME(6)       NOT NULL COMMENT 'not to be rediscovered before',
  PRIMARY KEY (hostname, port),
  KEY forgotten_until (forgotten_until)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'servers people told us to forget';
