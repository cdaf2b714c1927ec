-- What is known about clusters as a whole.

CREATE TABLE IF NOT EXISTS cluster_alias (
  cluster_name  VARCHAR(300) NOT NULL COMMENT 'host:port of the primary',
  alias         VARCHAR(255) NOT NULL COMMENT 'alias in use',
  registered_at DATETIME(6)  NOT NULL COMMENT 'last confirmed; expires',
  PRIMARY KEY (cluster_name),
  UNIQUE KEY cluster_alias_alias (alias),
  KEY cluster_alias_age (registered_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'aliases in use, from instances and configuration';

CREATE TABLE IF NOT EXISTS cluster_alias_override (
  cluster_name VARCHAR(300) NOT NULL COMMENT 'host:port of the primary',
  alias        VARCHAR(255) NOT NULL COMMENT 'alias set by people',
  PRIMARY KEY (cluster_name)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'aliases set by people';

CREATE TABLE IF NOT EXISTS cluster_domain (
  cluster_name  VARCHAR(300) NOT NULL COMMENT 'host:port of the primary',
  domain        VARCHAR(255) NOT NULL COMMENT 'domain name of the primary (VIP, CNAME)',
  registered_at DATETIME(6)  NOT NULL COMMENT 'last confirmed; expires',
  PRIMARY KEY (cluster_name),
  KEY cluster_domain_age (registered_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'domain names of clusters';

CREATE TABLE IF NOT EXISTS topology_snapshot (
  snapshot_at     BIGINT UNSIGNED   NOT NULL COMMENT 'unix seconds: the handle people select by',
  hostname        VARCHAR(255)      NOT NULL COMMENT 'host',
  port            SMALLINT UNSIGNED NOT NULL COMMENT 'TCP port',
  source_hostname VARCHAR(255)      NOT NULL DEFAULT '' COMMENT 'host it replicated from',
  source_port     SMALLINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'port it replicated from',
  cluster_name    VARCHAR(300)      NOT NULL COMMENT 'cluster then',
  alias           VARCHAR(255)      NOT NULL DEFAULT '' COMMENT 'instance alias then',
  PRIMARY KEY (snapshot_at, hostname, port),
  KEY topology_snapshot_cluster (cluster_name, snapshot_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'recorded topologies';
