-- Lists that read a whole table: step runs by state, and runs of all pipelines by number.

CREATE INDEX "run_by_number_created_at_id" ON "run" ("space", "number", "created_at", "id");
CREATE INDEX "step_run_by_state_created_at_id" ON "step_run" ("space", "state", "created_at", "id");
