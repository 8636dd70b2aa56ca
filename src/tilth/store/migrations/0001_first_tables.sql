-- The first tables. Frozen: a later change is a file of its own.

CREATE TABLE "run" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "created_at" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "name" TEXT NOT NULL,
    "pipeline" TEXT NOT NULL,
    "number" INTEGER NOT NULL,
    "state" TEXT NOT NULL,
    "body" TEXT NOT NULL
);
CREATE UNIQUE INDEX "run_by_name" ON "run" ("name");
CREATE UNIQUE INDEX "run_by_pipeline_number" ON "run" ("pipeline", "number");
CREATE INDEX "run_by_created_at_id" ON "run" ("created_at", "id");
CREATE INDEX "run_by_pipeline_created_at_id" ON "run" ("pipeline", "created_at", "id");
CREATE INDEX "run_by_state_created_at_id" ON "run" ("state", "created_at", "id");

CREATE TABLE "step_run" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "created_at" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "run" TEXT NOT NULL,
    "step" TEXT NOT NULL,
    "pipeline" TEXT NOT NULL,
    "attempt" INTEGER NOT NULL,
    "index" INTEGER,
    "state" TEXT NOT NULL,
    "cache_key" TEXT NOT NULL,
    "body" TEXT NOT NULL
);
CREATE INDEX "step_run_by_created_at_id" ON "step_run" ("created_at", "id");
CREATE INDEX "step_run_by_run_created_at_id" ON "step_run" ("run", "created_at", "id");
CREATE INDEX "step_run_by_cache_key_created_at_id" ON "step_run" ("cache_key", "created_at", "id");
CREATE INDEX "step_run_by_run_index_created_at_id" ON "step_run" ("run", "index", "created_at", "id");
CREATE INDEX "step_run_by_pipeline_step_created_at_id" ON "step_run" ("pipeline", "step", "created_at", "id");

CREATE TABLE "artifact" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "created_at" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "name" TEXT NOT NULL,
    "version" INTEGER NOT NULL,
    "digest" TEXT NOT NULL,
    "run" TEXT NOT NULL,
    "step_run" TEXT NOT NULL,
    "body" TEXT NOT NULL
);
CREATE UNIQUE INDEX "artifact_by_name_version" ON "artifact" ("name", "version");
CREATE INDEX "artifact_by_created_at_id" ON "artifact" ("created_at", "id");
CREATE INDEX "artifact_by_name_created_at_id" ON "artifact" ("name", "created_at", "id");
CREATE INDEX "artifact_by_digest_created_at_id" ON "artifact" ("digest", "created_at", "id");
CREATE INDEX "artifact_by_run_created_at_id" ON "artifact" ("run", "created_at", "id");

CREATE TABLE "environment" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "created_at" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "name" TEXT NOT NULL,
    "role" TEXT NOT NULL,
    "body" TEXT NOT NULL
);
CREATE INDEX "environment_by_created_at_id" ON "environment" ("created_at", "id");
CREATE INDEX "environment_by_name_created_at_id" ON "environment" ("name", "created_at", "id");

CREATE TABLE "lock" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "created_at" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "declaration" TEXT NOT NULL,
    "body" TEXT NOT NULL
);
CREATE INDEX "lock_by_created_at_id" ON "lock" ("created_at", "id");
CREATE INDEX "lock_by_declaration_created_at_id" ON "lock" ("declaration", "created_at", "id");

CREATE TABLE "code_bundle" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "created_at" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "body" TEXT NOT NULL
);
CREATE INDEX "code_bundle_by_created_at_id" ON "code_bundle" ("created_at", "id");

CREATE TABLE counter (
    name TEXT NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE home (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
