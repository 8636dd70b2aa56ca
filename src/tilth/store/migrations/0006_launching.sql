-- What starts runs with no client present. A home folder leaves these empty, snapshots aside.

CREATE TABLE "launch" (
    "space" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "created_at" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "project" TEXT NOT NULL,
    "snapshot" TEXT NOT NULL,
    "pipeline" TEXT NOT NULL,
    "state" TEXT NOT NULL,
    "key" TEXT,
    "run" TEXT NOT NULL,
    "runner" TEXT NOT NULL,
    "leased_until" INTEGER,
    "body" TEXT NOT NULL,
    PRIMARY KEY ("space", "id")
);
CREATE UNIQUE INDEX "launch_by_key" ON "launch" ("space", "key");
CREATE INDEX "launch_by_created_at_id" ON "launch" ("space", "created_at", "id");
CREATE INDEX "launch_by_project_created_at_id" ON "launch" ("space", "project", "created_at", "id");
CREATE INDEX "launch_by_state_created_at_id" ON "launch" ("space", "state", "created_at", "id");
CREATE INDEX "launch_by_run_created_at_id" ON "launch" ("space", "run", "created_at", "id");
CREATE INDEX "launch_by_state_project_created_at_id" ON "launch" ("space", "state", "project", "created_at", "id");
CREATE INDEX "launch_by_project_snapshot_created_at_id" ON "launch" ("space", "project", "snapshot", "created_at", "id");

CREATE TABLE "schedule" (
    "space" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "created_at" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "project" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "next_at" INTEGER,
    "body" TEXT NOT NULL,
    PRIMARY KEY ("space", "id")
);
CREATE UNIQUE INDEX "schedule_by_project_name" ON "schedule" ("space", "project", "name");
CREATE INDEX "schedule_by_created_at_id" ON "schedule" ("space", "created_at", "id");
CREATE INDEX "schedule_by_project_created_at_id" ON "schedule" ("space", "project", "created_at", "id");
CREATE INDEX "schedule_by_next_at_created_at_id" ON "schedule" ("space", "next_at", "created_at", "id");

CREATE TABLE "webhook" (
    "space" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "created_at" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "project" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "body" TEXT NOT NULL,
    PRIMARY KEY ("space", "id")
);
CREATE UNIQUE INDEX "webhook_by_project_name" ON "webhook" ("space", "project", "name");
CREATE INDEX "webhook_by_created_at_id" ON "webhook" ("space", "created_at", "id");
CREATE INDEX "webhook_by_project_created_at_id" ON "webhook" ("space", "project", "created_at", "id");

CREATE TABLE "runner" (
    "space" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "created_at" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "name" TEXT NOT NULL,
    "project" TEXT NOT NULL,
    "seen_at" INTEGER,
    "body" TEXT NOT NULL,
    PRIMARY KEY ("space", "id")
);
CREATE INDEX "runner_by_created_at_id" ON "runner" ("space", "created_at", "id");
CREATE INDEX "runner_by_project_created_at_id" ON "runner" ("space", "project", "created_at", "id");

CREATE TABLE "server_secret" (
    "space" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "created_at" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "project" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "key" TEXT NOT NULL,
    "body" TEXT NOT NULL,
    PRIMARY KEY ("space", "id")
);
CREATE UNIQUE INDEX "server_secret_by_project_name" ON "server_secret" ("space", "project", "name");
CREATE INDEX "server_secret_by_created_at_id" ON "server_secret" ("space", "created_at", "id");
CREATE INDEX "server_secret_by_project_created_at_id" ON "server_secret" ("space", "project", "created_at", "id");
CREATE INDEX "server_secret_by_key_created_at_id" ON "server_secret" ("space", "key", "created_at", "id");

CREATE TABLE "snapshot" (
    "space" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "created_at" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "name" TEXT NOT NULL,
    "version" INTEGER NOT NULL,
    "pipeline" TEXT NOT NULL,
    "body" TEXT NOT NULL,
    PRIMARY KEY ("space", "id")
);
CREATE UNIQUE INDEX "snapshot_by_name_version" ON "snapshot" ("space", "name", "version");
CREATE INDEX "snapshot_by_created_at_id" ON "snapshot" ("space", "created_at", "id");
CREATE INDEX "snapshot_by_name_created_at_id" ON "snapshot" ("space", "name", "created_at", "id");
