-- Who runs and who leads, and what was done.

CREATE TABLE IF NOT EXISTS node (
  token        VARCHAR(64)  NOT NULL COMMENT 'unique per process start',
  name         VARCHAR(255) NOT NULL COMMENT 'host name or NodeName',
  role         VARCHAR(32)  NOT NULL COMMENT 'service, worker, service+worker',
  datacenters  VARCHAR(1024) NOT NULL DEFAULT '' COMMENT 'lanes served by its worker, comma separated; empty: all',
  version      VARCHAR(64)  NOT NULL COMMENT 'program version',
  address      VARCHAR(255) NOT NULL DEFAULT '' COMMENT 'where its HTTP API listens; empty: none',
  pid          BIGINT UNSIGNED NOT NULL COMMENT 'process id on its host',
  started_at   DATETIME(6)  NOT NULL COMMENT 'process start',
  heartbeat_at DATETIME(6)  NOT NULL COMMENT 'last sign of life',
  node_load    VARCHAR(1024) NOT NULL DEFAULT '{}' COMMENT 'JSON: running jobs, open connections, memory, cpu',
  PRIMARY KEY (token),
  KEY node_heartbeat (heartbeat_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'live processes of the fleet';

CREATE TABLE IF NOT EXISTS lease (
  name        VARCHAR(32)     NOT NULL COMMENT 'what is leased: leader',
  holder      VARCHAR(64)     NOT NULL DEFAULT '' COMMENT 'token of the node that holds it; empty: nobody',
  term        BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'grows by one with every take-over',
  acquired_at DATETIME(6)     NOT NULL COMMENT 'this term began',
  expires_at  DATETIME(6)     NOT NULL COMMENT 'void after',
  acted_at    DATETIME(6)     NULL COMMENT 'last fenced act in this term',
  acted_by    BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'connection that changed this row last: holds its lock while uncommitted',
  PRIMARY KEY (name)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'the right to lead, for a while';

INSERT IGNORE INTO lease (name, acquired_at, expires_at)
VALUES ('leader', '2000-01-01 00:00:00', '2000-01-01 00:00:00');

CREATE TABLE IF NOT EXISTS lease_history (
  name          VARCHAR(32)     NOT NULL COMMENT 'what was leased',
  term          BIGINT UNSIGNED NOT NULL COMMENT 'its number',
  holder        VARCHAR(64)     NOT NULL COMMENT 'who held it',
  holder_name   VARCHAR(255)    NOT NULL DEFAULT '' COMMENT 'name of that node',
  acquired_at   DATETIME(6)     NOT NULL COMMENT 'began',
  last_acted_at DATETIME(6)     NULL COMMENT 'last fenced act, filled when the term is over',
  ended_at      DATETIME(6)     NULL COMMENT 'released or taken over; NULL: current',
  end_reason    VARCHAR(32)     NOT NULL DEFAULT '' COMMENT 'released, expired, taken',
  PRIMARY KEY (name, term)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'every term of leadership: proves there was one leader at a time';

CREATE TABLE IF NOT EXISTS audit (
  id           BIGINT UNSIGNED   NOT NULL AUTO_INCREMENT COMMENT 'number',
  audited_at   DATETIME(6)       NOT NULL COMMENT 'when',
  audit_type   VARCHAR(64)       NOT NULL COMMENT 'what: discover, forget, begin-downtime, ...',
  hostname     VARCHAR(255)      NOT NULL DEFAULT '' COMMENT 'instance concerned; empty: none',
  port         SMALLINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'its port',
  cluster_name VARCHAR(300)      NOT NULL DEFAULT '' COMMENT 'cluster concerned',
  actor        VARCHAR(255)      NOT NULL DEFAULT '' COMMENT 'who: CLI user@host, API user, or node',
  message      TEXT              NOT NULL COMMENT 'details',
  PRIMARY KEY (id),
  KEY audit_at (audited_at),
  KEY audit_instance (hostname, port, audited_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'what was done, by whom';

CREATE TABLE IF NOT EXISTS schedule_tick (
  name    VARCHAR(64) NOT NULL COMMENT 'recurring work',
  tick_at DATETIME(6) NOT NULL COMMENT 'last tick enqueued',
  PRIMARY KEY (name)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'how far each cron schedule got';

CREATE TABLE IF NOT EXISTS access_token (
  public_token VARCHAR(64)  NOT NULL COMMENT 'handed out on the command line',
  secret_token VARCHAR(64)  NOT NULL COMMENT 'set as a cookie once acquired',
  owner        VARCHAR(128) NOT NULL COMMENT 'for whom',
  generated_at DATETIME(6)  NOT NULL COMMENT 'created',
  acquired_at  DATETIME(6)  NULL COMMENT 'exchanged once',
  PRIMARY KEY (public_token),
  KEY access_token_age (generated_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'token authentication';
