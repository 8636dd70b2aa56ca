-- Images that were made.

CREATE TABLE "build" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "created_at" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL,
    "key" TEXT NOT NULL,
    "environment" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "state" TEXT NOT NULL,
    "image" TEXT NOT NULL,
    "body" TEXT NOT NULL
);
CREATE INDEX "build_by_created_at_id" ON "build" ("created_at", "id");
CREATE INDEX "build_by_key_created_at_id" ON "build" ("key", "created_at", "id");
CREATE INDEX "build_by_environment_created_at_id" ON "build" ("environment", "created_at", "id");
CREATE INDEX "build_by_image_created_at_id" ON "build" ("image", "created_at", "id");
