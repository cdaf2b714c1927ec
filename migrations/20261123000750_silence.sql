-- Since when an instance gives no sign of life: evidence about it that is older is no evidence of its death.
-- Neither server family knows "add the column unless it is there" alike, and a migration may run again over its own remains.

SET @add_silent_since = (
  SELECT IF(COUNT(*) > 0, 'DO 0',
    'ALTER TABLE instance ADD COLUMN silent_since DATETIME(6) NULL COMMENT ''first failed check since the last sign of life''')
    FROM information_schema.COLUMNS
   WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'instance' AND COLUMN_NAME = 'silent_since');
PREPARE add_silent_since FROM @add_silent_since;
EXECUTE add_silent_since;
DEALLOCATE PREPARE add_silent_since;
