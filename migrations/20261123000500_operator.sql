-- What people say about instances: downtime, maintenance, promotion rules, tags, pools.

CREATE TABLE IF NOT EXISTS downtime (
  hostname  VARCHAR(255)      NOT NULL COMMENT 'host',
  port      SMALLINT UNSIGNED NOT NULL COMMENT 'TCP port',
  owner     VARCHAR(128)      NOT NULL COMMENT 'who declared it',
  reason    TEXT              NOT NULL COMMENT 'why',
  begins_at DATETIME(6)       NOT NULL COMMENT 'begin',
  ends_at   DATETIME(6)       NOT NULL COMMENT 'end; a row past it is void',
  PRIMARY KEY (hostname, port),
  KEY downtime_ends (ends_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'do not act on this, said by people';

-- One row per maintenance ever begun; the active one of an instance is unique because active_slot is 1 for it and
-- NULL for ended ones. The id is the fencing token: it only grows.
CREATE TABLE IF NOT EXISTS maintenance (
  id          BIGINT UNSIGNED   NOT NULL AUTO_INCREMENT COMMENT 'number and fencing token',
  hostname    VARCHAR(255)      NOT NULL COMMENT 'host',
  port        SMALLINT UNSIGNED NOT NULL COMMENT 'TCP port',
  active_slot TINYINT UNSIGNED  NULL COMMENT '1 while active, NULL after: at most one active per instance',
  owner       VARCHAR(128)      NOT NULL COMMENT 'who holds it',
  reason      TEXT              NOT NULL COMMENT 'why',
  holder_node VARCHAR(64)       NOT NULL DEFAULT '' COMMENT 'process that holds it, for locks of operations; empty: people',
  begins_at   DATETIME(6)       NOT NULL COMMENT 'begin',
  expires_at  DATETIME(6)       NOT NULL COMMENT 'void after, even if nobody ended it',
  ended_at    DATETIME(6)       NULL COMMENT 'ended',
  PRIMARY KEY (id),
  UNIQUE KEY maintenance_active (hostname, port, active_slot),
  KEY maintenance_expiry (active_slot, expires_at),
  KEY maintenance_ended (ended_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'I am acting on this: locks';

CREATE TABLE IF NOT EXISTS candidate (
  hostname       VARCHAR(255)      NOT NULL COMMENT 'host',
  port           SMALLINT UNSIGNED NOT NULL COMMENT 'TCP port',
  promotion_rule VARCHAR(16)       NOT NULL COMMENT 'must, prefer, neutral, prefer_not, must_not',
  suggested_at   DATETIME(6)       NOT NULL COMMENT 'last said; expires',
  PRIMARY KEY (hostname, port),
  KEY candidate_age (suggested_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'promotion rules';

CREATE TABLE IF NOT EXISTS instance_tag (
  hostname VARCHAR(255)      NOT NULL COMMENT 'host',
  port     SMALLINT UNSIGNED NOT NULL COMMENT 'TCP port',
  name     VARCHAR(128)      NOT NULL COMMENT 'tag name',
  value    VARCHAR(255)      NOT NULL DEFAULT '' COMMENT 'tag value, may be empty',
  PRIMARY KEY (hostname, port, name),
  KEY instance_tag_name (name, value)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'tags';

CREATE TABLE IF NOT EXISTS pool_instance (
  pool          VARCHAR(128)      NOT NULL COMMENT 'pool name',
  hostname      VARCHAR(255)      NOT NULL COMMENT 'host',
  port          SMALLINT UNSIGNED NOT NULL COMMENT 'TCP port',
  registered_at DATETIME(6)       NOT NULL COMMENT 'last submitted; expires',
  PRIMARY KEY (pool, hostname, port),
  KEY pool_instance_name (hostname, port),
  KEY pool_instance_age (registered_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'pool membership';
