-- Who may do what on a server. A home folder leaves these empty.

CREATE TABLE "user" (
    "space" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "created_at" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "name" TEXT NOT NULL,
    "subject" TEXT,
    "body" TEXT NOT NULL,
    PRIMARY KEY ("space", "id")
);
CREATE UNIQUE INDEX "user_by_name" ON "user" ("space", "name");
CREATE UNIQUE INDEX "user_by_subject" ON "user" ("space", "subject");
CREATE INDEX "user_by_created_at_id" ON "user" ("space", "created_at", "id");

CREATE TABLE "token" (
    "space" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "created_at" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "digest" TEXT NOT NULL,
    "user" TEXT NOT NULL,
    "run" TEXT NOT NULL,
    "body" TEXT NOT NULL,
    PRIMARY KEY ("space", "id")
);
CREATE UNIQUE INDEX "token_by_digest" ON "token" ("space", "digest");
CREATE INDEX "token_by_created_at_id" ON "token" ("space", "created_at", "id");
CREATE INDEX "token_by_user_created_at_id" ON "token" ("space", "user", "created_at", "id");
CREATE INDEX "token_by_run_created_at_id" ON "token" ("space", "run", "created_at", "id");

CREATE TABLE "space" (
    "space" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "created_at" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "name" TEXT NOT NULL,
    "body" TEXT NOT NULL,
    PRIMARY KEY ("space", "id")
);
CREATE UNIQUE INDEX "space_by_name" ON "space" ("space", "name");
CREATE INDEX "space_by_created_at_id" ON "space" ("space", "created_at", "id");

CREATE TABLE "member" (
    "space" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "created_at" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "project" TEXT NOT NULL,
    "user" TEXT NOT NULL,
    "body" TEXT NOT NULL,
    PRIMARY KEY ("space", "id")
);
CREATE UNIQUE INDEX "member_by_project_user" ON "member" ("space", "project", "user");
CREATE INDEX "member_by_created_at_id" ON "member" ("space", "created_at", "id");
CREATE INDEX "member_by_project_created_at_id" ON "member" ("space", "project", "created_at", "id");
CREATE INDEX "member_by_user_created_at_id" ON "member" ("space", "user", "created_at", "id");

CREATE TABLE "device_login" (
    "space" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "created_at" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "digest" TEXT NOT NULL,
    "user_code" TEXT NOT NULL,
    "body" TEXT NOT NULL,
    PRIMARY KEY ("space", "id")
);
CREATE UNIQUE INDEX "device_login_by_digest" ON "device_login" ("space", "digest");
CREATE UNIQUE INDEX "device_login_by_user_code" ON "device_login" ("space", "user_code");
CREATE INDEX "device_login_by_created_at_id" ON "device_login" ("space", "created_at", "id");

CREATE TABLE "audit_entry" (
    "space" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "created_at" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "project" TEXT NOT NULL,
    "user" TEXT NOT NULL,
    "action" TEXT NOT NULL,
    "subject" TEXT NOT NULL,
    "body" TEXT NOT NULL,
    PRIMARY KEY ("space", "id")
);
CREATE INDEX "audit_entry_by_created_at_id" ON "audit_entry" ("space", "created_at", "id");
CREATE INDEX "audit_entry_by_project_created_at_id" ON "audit_entry" ("space", "project", "created_at", "id");
CREATE INDEX "audit_entry_by_user_created_at_id" ON "audit_entry" ("space", "user", "created_at", "id");
CREATE INDEX "audit_entry_by_action_created_at_id" ON "audit_entry" ("space", "action", "created_at", "id");
