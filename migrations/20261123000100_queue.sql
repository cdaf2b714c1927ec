-- The job queue. One table per state, so that no query filters by state and the claim index equals filter plus order.
-- A job keeps its id while its row moves: ready | scheduled -> claimed -> gone (done), scheduled (retry) or failed.
-- No table refers to queue_worker: a dead worker's row never takes its jobs with it.

CREATE TABLE IF NOT EXISTS job_sequence (
    block BIGINT UNSIGNED NOT NULL AUTO_INCREMENT COMMENT 'One row per enqueued batch; job ids are block * 1000 + position, so they stay below 2^53 and are unique across all job tables',
    PRIMARY KEY (block)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'Hands out blocks of job ids without a lock that lasts until commit';

CREATE TABLE IF NOT EXISTS job_ready (
    id BIGINT UNSIGNED NOT NULL COMMENT 'Job id, from job_sequence',
    kind VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'Job kind, names the code that runs it',
    lane VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'queue/datacenter; an empty datacenter is the default lane served by all workers',
    priority SMALLINT UNSIGNED NOT NULL DEFAULT 100 COMMENT 'Order within the lane, lower first',
    unique_key VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL COMMENT 'At most one waiting job has this key',
    worker_hint VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '' COMMENT 'Token of the worker that should run it; empty: anyone',
    hint_until DATETIME(6) NULL COMMENT 'From then on anyone may claim it, UTC',
    payload LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL COMMENT 'Arguments, JSON',
    attempts INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'Runs that ended in a failure so far',
    rescues INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'Times the job was taken back from a dead or stuck worker',
    max_attempts INT UNSIGNED NOT NULL COMMENT 'Failures after which the job is parked as failed',
    timeout_ms INT UNSIGNED NOT NULL COMMENT 'Longest allowed run in milliseconds',
    wants_outcome TINYINT(1) NOT NULL DEFAULT 0 COMMENT 'Somebody awaits the result: write a job_outcome row on success too',
    merges INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'Equal submissions and jobs that joined this one',
    submitted_by VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT '' COMMENT 'Who asked for it, for people',
    submitted_at DATETIME(6) NOT NULL COMMENT 'When it was enqueued, UTC',
    enqueued_term BIGINT UNSIGNED NULL COMMENT 'Lease term of the leader that enqueued it',
    ready_at DATETIME(6) NOT NULL COMMENT 'When it became ready, UTC',
    PRIMARY KEY (id),
    UNIQUE KEY unique_waiting (unique_key),
    KEY claim (lane, worker_hint, priority, id),
    KEY hints (hint_until)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'Jobs anyone may claim now';

CREATE TABLE IF NOT EXISTS job_scheduled (
    id BIGINT UNSIGNED NOT NULL COMMENT 'Job id, from job_sequence',
    kind VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'Job kind, names the code that runs it',
    lane VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'queue/datacenter; an empty datacenter is the default lane served by all workers',
    priority SMALLINT UNSIGNED NOT NULL DEFAULT 100 COMMENT 'Order within the lane, lower first',
    unique_key VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL COMMENT 'At most one waiting job has this key',
    worker_hint VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '' COMMENT 'Token of the worker that should run it; empty: anyone',
    hint_until DATETIME(6) NULL COMMENT 'From then on anyone may claim it, UTC',
    payload LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL COMMENT 'Arguments, JSON',
    attempts INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'Runs that ended in a failure so far',
    rescues INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'Times the job was taken back from a dead or stuck worker',
    max_attempts INT UNSIGNED NOT NULL COMMENT 'Failures after which the job is parked as failed',
    timeout_ms INT UNSIGNED NOT NULL COMMENT 'Longest allowed run in milliseconds',
    wants_outcome TINYINT(1) NOT NULL DEFAULT 0 COMMENT 'Somebody awaits the result: write a job_outcome row on success too',
    merges INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'Equal submissions and jobs that joined this one',
    submitted_by VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT '' COMMENT 'Who asked for it, for people',
    submitted_at DATETIME(6) NOT NULL COMMENT 'When it was enqueued, UTC',
    enqueued_term BIGINT UNSIGNED NULL COMMENT 'Lease term of the leader that enqueued it',
    run_at DATETIME(6) NOT NULL COMMENT 'Becomes ready at this time, UTC',
    last_error TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL COMMENT 'Why the last attempt failed, when this is a retry',
    PRIMARY KEY (id),
    UNIQUE KEY unique_waiting (unique_key),
    KEY due (run_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'Jobs that become ready later: delayed ones and retries';

CREATE TABLE IF NOT EXISTS job_claimed (
    id BIGINT UNSIGNED NOT NULL COMMENT 'Job id, from job_sequence',
    kind VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'Job kind, names the code that runs it',
    lane VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'queue/datacenter it was claimed from',
    priority SMALLINT UNSIGNED NOT NULL DEFAULT 100 COMMENT 'Order within the lane, lower first',
    unique_key VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL COMMENT 'Key it had while waiting; an equal job may wait meanwhile, so not unique here',
    payload LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL COMMENT 'Arguments, JSON',
    attempts INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'Runs that ended in a failure so far, this one not counted',
    rescues INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'Times the job was taken back from a dead or stuck worker',
    max_attempts INT UNSIGNED NOT NULL COMMENT 'Failures after which the job is parked as failed',
    timeout_ms INT UNSIGNED NOT NULL COMMENT 'Longest allowed run in milliseconds',
    wants_outcome TINYINT(1) NOT NULL DEFAULT 0 COMMENT 'Somebody awaits the result: write a job_outcome row on success too',
    merges INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'Equal submissions and jobs that joined this one',
    submitted_by VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT '' COMMENT 'Who asked for it, for people',
    submitted_at DATETIME(6) NOT NULL COMMENT 'When it was enqueued, UTC',
    enqueued_term BIGINT UNSIGNED NULL COMMENT 'Lease term of the leader that enqueued it',
    worker VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'Token of the worker that holds it; deliberately no foreign key',
    claim_token BIGINT UNSIGNED NOT NULL COMMENT 'Random per claim; only its holder may finish the job',
    claimed_at DATETIME(6) NOT NULL COMMENT 'When it was claimed, UTC',
    deadline_at DATETIME(6) NOT NULL COMMENT 'After this time the claim is void and the job is given to others, UTC',
    cancel_requested TINYINT(1) NOT NULL DEFAULT 0 COMMENT 'Somebody asked to stop it; its worker sees this at its next heartbeat',
    PRIMARY KEY (id),
    KEY held_by (worker),
    KEY overdue (deadline_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'Jobs being worked on';

CREATE TABLE IF NOT EXISTS job_failed (
    id BIGINT UNSIGNED NOT NULL COMMENT 'Job id, from job_sequence',
    kind VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'Job kind, names the code that runs it',
    lane VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'queue/datacenter it was claimed from',
    priority SMALLINT UNSIGNED NOT NULL DEFAULT 100 COMMENT 'Order within the lane, lower first',
    unique_key VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL COMMENT 'Key it had while waiting',
    payload LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL COMMENT 'Arguments, JSON',
    attempts INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'Runs that ended in a failure',
    rescues INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'Times the job was taken back from a dead or stuck worker',
    max_attempts INT UNSIGNED NOT NULL COMMENT 'Failures after which the job is parked as failed',
    timeout_ms INT UNSIGNED NOT NULL COMMENT 'Longest allowed run in milliseconds',
    wants_outcome TINYINT(1) NOT NULL DEFAULT 0 COMMENT 'Somebody awaited the result',
    merges INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'Equal submissions and jobs that joined this one',
    submitted_by VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT '' COMMENT 'Who asked for it, for people',
    submitted_at DATETIME(6) NOT NULL COMMENT 'When it was enqueued, UTC',
    enqueued_term BIGINT UNSIGNED NULL COMMENT 'Lease term of the leader that enqueued it',
    error TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL COMMENT 'Why it failed',
    failed_at DATETIME(6) NOT NULL COMMENT 'When it was parked, UTC',
    PRIMARY KEY (id),
    KEY age (failed_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'Jobs parked after their last attempt, kept until somebody retries or trims them';

CREATE TABLE IF NOT EXISTS job_outcome (
    id BIGINT UNSIGNED NOT NULL COMMENT 'Job id, from job_sequence',
    kind VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'Job kind',
    lane VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'queue/datacenter',
    outcome VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'done, failed, cancelled or merged',
    error TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL COMMENT 'Why it failed',
    output LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL COMMENT 'What the job returned, JSON',
    merged_into BIGINT UNSIGNED NULL COMMENT 'Id of the equal job that runs in its place; its outcome counts',
    attempts INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'Runs that ended in a failure',
    submitted_by VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT '' COMMENT 'Who asked for it, for people',
    submitted_at DATETIME(6) NOT NULL COMMENT 'When it was enqueued, UTC',
    finished_at DATETIME(6) NOT NULL COMMENT 'When it ended, UTC',
    PRIMARY KEY (id),
    KEY age (finished_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'How awaited, failed, cancelled and merged jobs ended; trimmed by age';

CREATE TABLE IF NOT EXISTS queue_worker (
    token VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'Random per worker process',
    name VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL COMMENT 'Host and pid, for people',
    lanes TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL COMMENT 'JSON array of the datacenters it serves; empty: all',
    concurrency INT UNSIGNED NOT NULL COMMENT 'Jobs it runs at once',
    running INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'Jobs it was running at its last heartbeat',
    started_at DATETIME(6) NOT NULL COMMENT 'When it registered, UTC',
    heartbeat_at DATETIME(6) NOT NULL COMMENT 'Last sign of life, UTC',
    PRIMARY KEY (token)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'Liveness of workers; says nothing about their jobs';
