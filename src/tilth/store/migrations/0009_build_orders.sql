-- Images that are to be built on runners. A home folder leaves it empty.

CREATE TABLE "build_order" (
    "space" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "created_at" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "project" TEXT NOT NULL,
    "state" TEXT NOT NULL,
    "runner" TEXT NOT NULL,
    "leased_until" INTEGER,
    "heard_at" INTEGER,
    "body" TEXT NOT NULL,
    PRIMARY KEY ("space", "id")
);
CREATE INDEX "build_order_by_created_at_id" ON "build_order" ("space", "created_at", "id");
CREATE INDEX "build_order_by_project_created_at_id" ON "build_order" ("space", "project", "created_at", "id");
CREATE INDEX "build_order_by_state_created_at_id" ON "build_order" ("space", "state", "created_at", "id");
