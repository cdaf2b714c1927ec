-- What was done to a server lately, by whatever operation. Asked first, because a migration may run again over its own remains
-- and MySQL has no ADD KEY IF NOT EXISTS.
SET @change = IF(
  (SELECT COUNT(*) FROM information_schema.statistics
    WHERE table_schema = DATABASE() AND table_name = 'operation_step' AND index_name = 'operation_step_server') = 0,
  'ALTER TABLE operation_step ADD KEY operation_step_server (hostname, port, begun_at)',
  'DO 0');
PREPARE change_operation_step FROM @change;
EXECUTE change_operation_step;
DEALLOCATE PREPARE change_operation_step;
