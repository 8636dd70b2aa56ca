-- Every table holds the records of many stores, told apart by `space`: a project's name on a server, empty in a
-- home folder. Keys and indexes begin with it, which takes new tables.

CREATE TABLE "counter_of_space" (
    "space" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "value" INTEGER NOT NULL,
    PRIMARY KEY ("space", "name")
);
INSERT INTO "counter_of_space" SELECT '', "name", "value" FROM "counter";
DROP TABLE "counter";
ALTER TABLE "counter_of_space" RENAME TO "counter";

CREATE TABLE "run_of_space" (
    "space" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "created_at" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "name" TEXT NOT NULL,
    "pipeline" TEXT NOT NULL,
    "number" INTEGER NOT NULL,
    "state" TEXT NOT NULL,
    "body" TEXT NOT NULL,
    PRIMARY KEY ("space", "id")
);
INSERT INTO "run_of_space" ("space", "id", "created_at", "revision", "name", "pipeline", "number", "state", "body") SELECT '', "id", "created_at", "revision", "name", "pipeline", "number", "state", "body" FROM "run";
DROP TABLE "run";
ALTER TABLE "run_of_space" RENAME TO "run";
CREATE UNIQUE INDEX "run_by_name" ON "run" ("space", "name");
CREATE UNIQUE INDEX "run_by_pipeline_number" ON "run" ("space", "pipeline", "number");
CREATE INDEX "run_by_created_at_id" ON "run" ("space", "created_at", "id");
CREATE INDEX "run_by_pipeline_created_at_id" ON "run" ("space", "pipeline", "created_at", "id");
CREATE INDEX "run_by_state_created_at_id" ON "run" ("space", "state", "created_at", "id");

CREATE TABLE "step_run_of_space" (
    "space" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "created_at" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "run" TEXT NOT NULL,
    "step" TEXT NOT NULL,
    "pipeline" TEXT NOT NULL,
    "attempt" INTEGER NOT NULL,
    "index" INTEGER,
    "state" TEXT NOT NULL,
    "cache_key" TEXT NOT NULL,
    "body" TEXT NOT NULL,
    PRIMARY KEY ("space", "id")
);
INSERT INTO "step_run_of_space" ("space", "id", "created_at", "revision", "run", "step", "pipeline", "attempt", "index", "state", "cache_key", "body") SELECT '', "id", "created_at", "revision", "run", "step", "pipeline", "attempt", "index", "state", "cache_key", "body" FROM "step_run";
DROP TABLE "step_run";
ALTER TABLE "step_run_of_space" RENAME TO "step_run";
CREATE INDEX "step_run_by_created_at_id" ON "step_run" ("space", "created_at", "id");
CREATE INDEX "step_run_by_run_created_at_id" ON "step_run" ("space", "run", "created_at", "id");
CREATE INDEX "step_run_by_cache_key_created_at_id" ON "step_run" ("space", "cache_key", "created_at", "id");
CREATE INDEX "step_run_by_run_index_created_at_id" ON "step_run" ("space", "run", "index", "created_at", "id");
CREATE INDEX "step_run_by_pipeline_step_created_at_id" ON "step_run" ("space", "pipeline", "step", "created_at", "id");

CREATE TABLE "artifact_of_space" (
    "space" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "created_at" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "name" TEXT NOT NULL,
    "version" INTEGER NOT NULL,
    "digest" TEXT NOT NULL,
    "run" TEXT NOT NULL,
    "step_run" TEXT NOT NULL,
    "body" TEXT NOT NULL,
    PRIMARY KEY ("space", "id")
);
INSERT INTO "artifact_of_space" ("space", "id", "created_at", "revision", "name", "version", "digest", "run", "step_run", "body") SELECT '', "id", "created_at", "revision", "name", "version", "digest", "run", "step_run", "body" FROM "artifact";
DROP TABLE "artifact";
ALTER TABLE "artifact_of_space" RENAME TO "artifact";
CREATE UNIQUE INDEX "artifact_by_name_version" ON "artifact" ("space", "name", "version");
CREATE INDEX "artifact_by_created_at_id" ON "artifact" ("space", "created_at", "id");
CREATE INDEX "artifact_by_name_created_at_id" ON "artifact" ("space", "name", "created_at", "id");
CREATE INDEX "artifact_by_digest_created_at_id" ON "artifact" ("space", "digest", "created_at", "id");
CREATE INDEX "artifact_by_run_created_at_id" ON "artifact" ("space", "run", "created_at", "id");

CREATE TABLE "environment_of_space" (
    "space" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "created_at" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "name" TEXT NOT NULL,
    "role" TEXT NOT NULL,
    "body" TEXT NOT NULL,
    PRIMARY KEY ("space", "id")
);
INSERT INTO "environment_of_space" ("space", "id", "created_at", "revision", "name", "role", "body") SELECT '', "id", "created_at", "revision", "name", "role", "body" FROM "environment";
DROP TABLE "environment";
ALTER TABLE "environment_of_space" RENAME TO "environment";
CREATE INDEX "environment_by_created_at_id" ON "environment" ("space", "created_at", "id");
CREATE INDEX "environment_by_name_created_at_id" ON "environment" ("space", "name", "created_at", "id");

CREATE TABLE "lock_of_space" (
    "space" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "created_at" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "declaration" TEXT NOT NULL,
    "body" TEXT NOT NULL,
    PRIMARY KEY ("space", "id")
);
INSERT INTO "lock_of_space" ("space", "id", "created_at", "revision", "declaration", "body") SELECT '', "id", "created_at", "revision", "declaration", "body" FROM "lock";
DROP TABLE "lock";
ALTER TABLE "lock_of_space" RENAME TO "lock";
CREATE INDEX "lock_by_created_at_id" ON "lock" ("space", "created_at", "id");
CREATE INDEX "lock_by_declaration_created_at_id" ON "lock" ("space", "declaration", "created_at", "id");

CREATE TABLE "code_bundle_of_space" (
    "space" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "created_at" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "body" TEXT NOT NULL,
    PRIMARY KEY ("space", "id")
);
INSERT INTO "code_bundle_of_space" ("space", "id", "created_at", "revision", "body") SELECT '', "id", "created_at", "revision", "body" FROM "code_bundle";
DROP TABLE "code_bundle";
ALTER TABLE "code_bundle_of_space" RENAME TO "code_bundle";
CREATE INDEX "code_bundle_by_created_at_id" ON "code_bundle" ("space", "created_at", "id");

CREATE TABLE "build_of_space" (
    "space" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "created_at" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "key" TEXT NOT NULL,
    "environment" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "state" TEXT NOT NULL,
    "image" TEXT NOT NULL,
    "body" TEXT NOT NULL,
    PRIMARY KEY ("space", "id")
);
INSERT INTO "build_of_space" ("space", "id", "created_at", "revision", "key", "environment", "name", "state", "image", "body") SELECT '', "id", "created_at", "revision", "key", "environment", "name", "state", "image", "body" FROM "build";
DROP TABLE "build";
ALTER TABLE "build_of_space" RENAME TO "build";
CREATE INDEX "build_by_created_at_id" ON "build" ("space", "created_at", "id");
CREATE INDEX "build_by_key_created_at_id" ON "build" ("space", "key", "created_at", "id");
CREATE INDEX "build_by_environment_created_at_id" ON "build" ("space", "environment", "created_at", "id");
CREATE INDEX "build_by_image_created_at_id" ON "build" ("space", "image", "created_at", "id");

CREATE TABLE "component_of_space" (
    "space" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "created_at" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "project" TEXT NOT NULL,
    "type" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "body" TEXT NOT NULL,
    PRIMARY KEY ("space", "id")
);
INSERT INTO "component_of_space" ("space", "id", "created_at", "revision", "project", "type", "name", "body") SELECT '', "id", "created_at", "revision", "project", "type", "name", "body" FROM "component";
DROP TABLE "component";
ALTER TABLE "component_of_space" RENAME TO "component";
CREATE UNIQUE INDEX "component_by_project_type_name" ON "component" ("space", "project", "type", "name");
CREATE INDEX "component_by_created_at_id" ON "component" ("space", "created_at", "id");
CREATE INDEX "component_by_project_created_at_id" ON "component" ("space", "project", "created_at", "id");

CREATE TABLE "stack_of_space" (
    "space" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "created_at" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "project" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "body" TEXT NOT NULL,
    PRIMARY KEY ("space", "id")
);
INSERT INTO "stack_of_space" ("space", "id", "created_at", "revision", "project", "name", "body") SELECT '', "id", "created_at", "revision", "project", "name", "body" FROM "stack";
DROP TABLE "stack";
ALTER TABLE "stack_of_space" RENAME TO "stack";
CREATE UNIQUE INDEX "stack_by_project_name" ON "stack" ("space", "project", "name");
CREATE INDEX "stack_by_created_at_id" ON "stack" ("space", "created_at", "id");
CREATE INDEX "stack_by_project_created_at_id" ON "stack" ("space", "project", "created_at", "id");

CREATE TABLE "project_of_space" (
    "space" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "created_at" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "name" TEXT NOT NULL,
    "body" TEXT NOT NULL,
    PRIMARY KEY ("space", "id")
);
INSERT INTO "project_of_space" ("space", "id", "created_at", "revision", "name", "body") SELECT '', "id", "created_at", "revision", "name", "body" FROM "project";
DROP TABLE "project";
ALTER TABLE "project_of_space" RENAME TO "project";
CREATE UNIQUE INDEX "project_by_name" ON "project" ("space", "name");
CREATE INDEX "project_by_created_at_id" ON "project" ("space", "created_at", "id");
