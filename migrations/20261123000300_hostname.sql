-- Names of hosts: what they resolve to, and what replicas should call them instead.

CREATE TABLE IF NOT EXISTS hostname_resolve (
  hostname    VARCHAR(255) NOT NULL COMMENT 'name as given',
  resolved    VARCHAR(255) NOT NULL COMMENT 'name as resolved',
  resolved_at DATETIME(6)  NOT NULL COMMENT 'when',
  PRIMARY KEY (hostname),
  KEY hostname_resolved_at (resolved_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'hostname resolution cache';

CREATE TABLE IF NOT EXISTS hostname_unresolve (
  hostname      VARCHAR(255) NOT NULL COMMENT 'canonical host',
  virtual_name  VARCHAR(255) NOT NULL COMMENT 'name replicas should use to reach it',
  registered_at DATETIME(6)  NOT NULL COMMENT 'last registered; expires',
  PRIMARY KEY (hostname),
  KEY hostname_unresolve_age (registered_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'registered virtual names';
