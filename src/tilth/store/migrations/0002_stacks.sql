-- What runs are run on, by project.

CREATE TABLE "component" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "created_at" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "project" TEXT NOT NULL,
    "type" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "body" TEXT NOT NULL
);
CREATE UNIQUE INDEX "component_by_project_type_name" ON "component" ("project", "type", "name");
CREATE INDEX "component_by_created_at_id" ON "component" ("created_at", "id");
CREATE INDEX "component_by_project_created_at_id" ON "component" ("project", "created_at", "id");

CREATE TABLE "stack" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "created_at" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "project" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "body" TEXT NOT NULL
);
CREATE UNIQUE INDEX "stack_by_project_name" ON "stack" ("project", "name");
CREATE INDEX "stack_by_created_at_id" ON "stack" ("created_at", "id");
CREATE INDEX "stack_by_project_created_at_id" ON "stack" ("project", "created_at", "id");

CREATE TABLE "project" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "created_at" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "name" TEXT NOT NULL,
    "body" TEXT NOT NULL
);
CREATE UNIQUE INDEX "project_by_name" ON "project" ("name");
CREATE INDEX "project_by_created_at_id" ON "project" ("created_at", "id");
