-- When runs began and ended, beside their state in the indexes that lists of runs read: what succeeded and how long it
-- took is counted there, without a look at the records.

ALTER TABLE "run" ADD COLUMN "started_at" INTEGER;
ALTER TABLE "run" ADD COLUMN "finished_at" INTEGER;

-- in sqlite
UPDATE "run" SET
    "started_at" = CAST(strftime('%s', json_extract("body", '$.started_at')) AS INTEGER) * 1000000
        + COALESCE(CAST(substr(json_extract("body", '$.started_at'), 21, 6) AS INTEGER), 0),
    "finished_at" = CAST(strftime('%s', json_extract("body", '$.finished_at')) AS INTEGER) * 1000000
        + COALESCE(CAST(substr(json_extract("body", '$.finished_at'), 21, 6) AS INTEGER), 0);

-- in postgresql
UPDATE "run" SET
    "started_at" = (EXTRACT(EPOCH FROM ("body"::json ->> 'started_at')::timestamptz) * 1000000)::bigint,
    "finished_at" = (EXTRACT(EPOCH FROM ("body"::json ->> 'finished_at')::timestamptz) * 1000000)::bigint
    WHERE strpos("body", '\u0000') = 0 AND strpos("body", '\ud') = 0; -- of which PostgreSQL reads no JSON

DROP INDEX "run_by_created_at_id";
CREATE INDEX "run_by_created_at_id_state_started_at_finished_at" ON "run" ("space", "created_at", "id", "state", "started_at", "finished_at");
DROP INDEX "run_by_pipeline_created_at_id";
CREATE INDEX "run_by_pipeline_created_at_id_state_started_at_finished_at" ON "run" ("space", "pipeline", "created_at", "id", "state", "started_at", "finished_at");
