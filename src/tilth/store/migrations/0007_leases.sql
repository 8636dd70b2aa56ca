-- Who drives runs whose records are on a server. A home folder has file locks instead.

CREATE TABLE "run_lease" (
    "space" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "created_at" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "body" TEXT NOT NULL,
    PRIMARY KEY ("space", "id")
);
CREATE INDEX "run_lease_by_created_at_id" ON "run_lease" ("space", "created_at", "id");
