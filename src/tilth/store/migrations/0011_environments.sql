-- What is known of environments beyond their locks, and which runs use them.

CREATE TABLE "environment_content" (
    "space" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "created_at" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "body" TEXT NOT NULL,
    PRIMARY KEY ("space", "id")
);
CREATE INDEX "environment_content_by_created_at_id" ON "environment_content" ("space", "created_at", "id");

CREATE TABLE "environment_check" (
    "space" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "created_at" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "body" TEXT NOT NULL,
    PRIMARY KEY ("space", "id")
);
CREATE INDEX "environment_check_by_created_at_id" ON "environment_check" ("space", "created_at", "id");

CREATE TABLE "environment_use" (
    "space" TEXT NOT NULL,
    "environment" TEXT NOT NULL,
    "run" TEXT NOT NULL,
    "created_at" INTEGER NOT NULL,
    PRIMARY KEY ("space", "environment", "run")
);
CREATE INDEX "environment_use_by_environment_created_at_run" ON "environment_use" ("space", "environment", "created_at", "run");
CREATE INDEX "environment_use_by_run" ON "environment_use" ("space", "run");
